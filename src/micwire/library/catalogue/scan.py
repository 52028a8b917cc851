"""The catalogue, compared with what lies in the data directory, and made to agree with it.

Recordings are never touched. The comparison goes folder by folder, so that its
memory does not grow with the library, and each step stands by itself: one that is broken
off has done no harm, and the next one goes on where it was.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from micwire.core.catalogue import Filing
from micwire.core.errors import RegisterDamagedError
from micwire.core.recording import Closed
from micwire.library.catalogue.store import Store
from micwire.library.folders import Folder, Problem, folders, look, noted, read_filing

BATCH = 200
"""So many sidecars are read and put at once."""


@dataclass(slots=True)
class Tally:
    """What a comparison has done so far."""

    seen: int = 0
    total: int = 0
    put: int = 0
    removed: int = 0
    problems: int = 0
    unknown: int = 0
    """Sidecars of recordings that no register knows: no route would serve them."""


class Comparison:
    """Makes a catalogue agree with a data directory.

    Args:
        store: The catalogue.
        data: The data directory.
        closed: Returns what the register says of an id; blocks.
        is_live: Whether a recording is not over, and so written by somebody else.
        on_problem: Told what can't be put into the catalogue.
        between: Awaited between two steps.
        is_forced: Read every sidecar, whether it looks altered or not.
    """

    def __init__(
        self,
        store: Store,
        data: Path,
        closed: Callable[[str], Closed | None],
        *,
        is_live: Callable[[str], bool] = lambda recording: False,
        on_problem: Callable[[Problem], None],
        between: Callable[[Tally], Awaitable[None]],
        is_forced: bool = False,
    ) -> None:
        self._store = store
        self._data = data
        self._closed = closed
        self._is_live = is_live
        self._on_problem = on_problem
        self._between = between
        self._is_forced = is_forced
        self.tally = Tally()
        self._leaving: set[str] = set()
        """Deleted recordings, files of which could not be removed: they look as they did."""

    async def run(self) -> Tally:
        """Compare everything; return what was done.

        Raises:
            CatalogueUnavailableError: The catalogue failed; what was done stays done.
        """
        self._leaving = set(await to_thread.run_sync(noted, self._data))
        names = await to_thread.run_sync(folders, self._data)
        self.tally.total = await to_thread.run_sync(self._count, names)
        for name in sorted({*names, *await self._store.folders()}):
            await self._compare(name)
        if self.tally.put > BATCH:
            await self._store.settle()
        return self.tally

    def _count(self, names: Iterable[str]) -> int:
        return sum(len(look(self._data, name).sidecars) for name in names)

    async def _compare(self, name: str) -> None:
        known = await self._store.known(name)
        folder = await to_thread.run_sync(look, self._data, name)
        altered = [
            path
            for path, stamp in folder.sidecars.items()
            if self._is_forced or path not in known or known[path].stamp != stamp
        ]
        self.tally.seen += len(folder.sidecars) - len(altered)
        put: set[str] = set()
        displaced: set[str] = set()
        """Recordings in whose places others lie now."""
        for first in range(0, len(altered), BATCH):
            paths = altered[first : first + BATCH]
            filings, unknown = await to_thread.run_sync(self._read, paths, folder)
            self.tally.unknown += sum(not self._is_live(recording) for recording in unknown)
            filings = await self._without_copies(filings)
            # Looked up now: one that began or ended meanwhile is somebody else's to write.
            filings = [one for one in filings if not self._is_live(one.entry.recording)]
            await self._store.put(filings)
            self.tally.seen += len(paths)
            self.tally.put += len(filings)
            for entry in (one.entry for one in filings):
                put.add(entry.recording)
                if entry.path in known and known[entry.path].recording != entry.recording:
                    displaced.add(known[entry.path].recording)
            await self._between(self.tally)
        gone = [
            one.recording
            for path, one in known.items()
            if path not in folder.sidecars and not self._is_live(one.recording)
        ]
        gone += displaced - put
        doubtful = {known[path].recording for path in altered if path in known}
        doubtful |= self._leaving & {one.recording for one in known.values()}
        gone += await to_thread.run_sync(self._deleted, doubtful)
        if gone:
            await self._store.remove(gone)
            self.tally.removed += len(gone)
            await self._between(self.tally)

    def _deleted(self, ids: Iterable[str]) -> list[str]:
        """Return those that the register calls deleted, whatever still lies about."""
        found = []
        for recording in ids:
            with contextlib.suppress(RegisterDamagedError, OSError):
                closed = self._closed(recording)
                if closed is not None and closed.status == "deleted":
                    found.append(recording)
        return found

    def _read(self, paths: Iterable[str], folder: Folder) -> tuple[list[Filing], list[str]]:
        """Return what is over, and the ids of what no register knows."""
        filings: list[Filing] = []
        unknown: list[str] = []
        for path in paths:
            try:
                filing = read_filing(self._data, path)
                closed = self._closed(filing.entry.recording)
            except FileNotFoundError:
                continue  # deleted meanwhile
            except (OSError, ValueError) as error:
                if path in folder.wavs:  # else it is nothing of ours
                    self._report(
                        f"{path}.json",
                        f"it can't be read as a sidecar ({error}): put back a copy, or remove it"
                        " and run `micwire reindex`, which makes one from the WAV",
                    )
                continue
            except RegisterDamagedError as error:
                self._report(f"{path}.json", str(error))
                continue
            if closed is None:
                unknown.append(filing.entry.recording)
            elif closed.status != "deleted":
                filings.append(filing)
        return filings, unknown

    async def _without_copies(self, filings: list[Filing]) -> list[Filing]:
        """Leave out sidecars that somebody copied: of one recording there is one."""
        paths = await self._store.paths([one.entry.recording for one in filings])
        kept: list[Filing] = []
        for filing in filings:
            entry = filing.entry
            other = paths.setdefault(entry.recording, entry.path)
            if other != entry.path:
                sidecar = self._data / f"{other}.json"
                if await to_thread.run_sync(sidecar.exists):
                    self._report(
                        f"{entry.path}.json",
                        f"it is a copy of {other}.json: remove it, and `micwire reindex` takes the"
                        " WAV beside it as a recording of its own",
                    )
                    continue
            kept.append(filing)
        return kept

    def _report(self, path: str, sentence: str) -> None:
        self.tally.problems += 1
        self._on_problem(Problem(path, sentence))
