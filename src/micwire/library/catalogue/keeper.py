"""Keeps the catalogue in step with the recordings, beside them and never in their way.

Whoever alters a recording says its id, no more; what is put into the catalogue is read
from the recording then. So the order of news does not matter, none is lost by a database
that is away, and a catalogue that is damaged is thrown away and made anew. Only one task
writes. Until a comparison with the disk is through, the register is asked before anything
is shown, so that what was deleted stays unseen.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import structlog
from anyio import to_thread

from micwire.core.catalogue import (
    CatalogueDamagedError,
    CatalogueUnavailableError,
    Entry,
    Filing,
    Page,
    Query,
    Usage,
    filing_of,
)
from micwire.core.errors import RegisterDamagedError
from micwire.core.people import Person
from micwire.core.recording import Closed, RecordingState, sidecar_fields
from micwire.library.folders import Problem, read_filing

if TYPE_CHECKING:
    from micwire.library.catalogue.scan import Tally
    from micwire.library.catalogue.store import Store

FILE = ".micwire/catalogue.sqlite"
START_DELAY_S = 2.0
"""A server that has just begun has other things to do, unless somebody asks for a list."""
COMPLETE_WAIT_S = 1.0
"""So long a list waits to be complete."""
OPEN_WAIT_S = 10.0
"""So long a list waits for a catalogue that is being opened."""
NEWS_S = 0.25
"""News is gathered for so long: what comes together is written together."""
BATCH = 200
MAX_NEWS = 20_000
"""Beyond it a comparison with the disk is less work."""
RETRY_S = (1.0, 30.0)
PROGRESS_S = 5.0

T = TypeVar("T")


class Unfinished(Protocol):
    """Knows the recordings that are not over."""

    def states(self) -> Iterable[RecordingState]:
        """Return them all."""
        ...

    def state(self, recording: str) -> RecordingState | None:
        """Return one of them, by its id."""
        ...

    def was_deleted(self, recording: str) -> bool:
        """Tell whether a recording was deleted since the server began."""
        ...


class CatalogueKeeper:
    """The catalogue of a running server; see `Catalogue` for what it can be asked.

    Args:
        data: The data directory.
        address: The database's address; empty for a file in the data directory.
        unfinished: Returns what knows the recordings that are not over.
        closed: Returns what the register says of an id; blocks.
    """

    def __init__(
        self,
        data: Path,
        address: str,
        unfinished: Callable[[], Unfinished],
        closed: Callable[[str], Closed | None],
    ) -> None:
        self._data = data
        self._address = address
        self._unfinished = unfinished
        self._closed = closed
        self._log = structlog.get_logger("micwire")
        self._store: Store | None = None
        self._error: CatalogueUnavailableError | None = None
        """Why there are no lists, or why they are not up to date."""
        self._damage: CatalogueDamagedError | None = None
        """What somebody has met who asked for a list."""
        self._news: dict[str, None] = {}
        self._must_compare = True
        self._complete = asyncio.Event()
        """All that was on the disk at the start is in the database."""
        self._is_wanted = asyncio.Event()
        self._is_opened = asyncio.Event()
        """Opening has succeeded or failed at least once."""
        self._has_news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._last_progress = self._last_step = 0.0

    # ---- life ------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin, a little later.

        Raises:
            CatalogueUrlError: The address can't be used.
        """
        if self._address:
            await to_thread.run_sync(_url, self._address, self._data)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Let the database go; what was not written is found by the next comparison."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._close_store()

    # ---- news ------------------------------------------------------------------------

    def changed(self, recording: str) -> None:
        """Something of a recording is different now. Never blocks or raises."""
        self._news[recording] = None
        if len(self._news) > MAX_NEWS:
            self._news.clear()
            self._must_compare = True
            self._complete.clear()
        self._has_news.set()

    # ---- questions -------------------------------------------------------------------

    async def page(self, query: Query, person: Person) -> Page:
        """Return a page of what a person sees; see `Catalogue`."""
        store = await self._opened()
        with contextlib.suppress(TimeoutError):  # a small library is through at once
            async with asyncio.timeout(COMPLETE_WAIT_S):
                await self._complete.wait()
        is_complete = self._complete.is_set()
        page = await self._asked(store, store.page(query, person))
        ids = [entry.recording for entry in page.entries]
        gone = set() if is_complete else await to_thread.run_sync(self._deleted_of, ids)
        # The database hears of a deletion a little later than it is true.
        gone.update(filter(self._unfinished().was_deleted, ids))
        kept = tuple(entry for entry in page.entries if entry.recording not in gone)
        return Page(kept, page.next, is_complete)

    async def tags(self, person: Person) -> list[tuple[str, int]]:
        """Return the tags that a person sees; see `Catalogue`."""
        store = await self._opened()
        return await self._asked(store, store.tags(person))

    async def usage(self, owner: str) -> Usage:
        """Return how much a person's recordings take; see `Catalogue`."""
        store = await self._opened()
        return await self._asked(store, store.usage(owner))

    async def old(self, before_us: int, behind: tuple[int, str], limit: int) -> list[Entry]:
        """Return what was created before a time, is over and not on hold, the oldest first.

        Args:
            before_us: The time.
            behind: `created_us` and id of the last one seen.
            limit: How many at most.

        Raises:
            CatalogueUnavailableError: The catalogue can't answer, or is not complete.
        """
        store = await self._opened()
        if not self._complete.is_set():
            raise CatalogueUnavailableError("the catalogue is being brought up to date")
        return await self._asked(store, store.old(before_us, behind, limit))

    async def _opened(self) -> "Store":
        self._is_wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_WAIT_S):
                await self._is_opened.wait()
        if self._store is None:
            raise self._error or CatalogueUnavailableError(
                "the catalogue is being opened; try again in a moment"
            )
        return self._store

    async def _asked(self, store: "Store", question: Coroutine[Any, Any, T]) -> T:
        try:
            return await question
        except CatalogueDamagedError as error:
            if store is self._store:  # else it is being made anew already
                self._damage = error
                self._has_news.set()
            raise

    def _deleted_of(self, ids: Iterable[str]) -> set[str]:
        return {recording for recording in ids if self._is_deleted(recording)}

    def _is_deleted(self, recording: str) -> bool:
        try:
            closed = self._closed(recording)
        except (RegisterDamagedError, OSError):
            return False
        return closed is not None and closed.status == "deleted"

    # ---- the one that writes -----------------------------------------------------------

    async def _run(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_DELAY_S):
                await self._is_wanted.wait()
        pause = RETRY_S[0]
        while True:
            try:
                await self._follow()
            except CatalogueUnavailableError as error:
                await self._fail(error)
            except Exception as error:  # a mistake of ours costs lists, and nothing else
                await self._fail(CatalogueUnavailableError(f"the catalogue failed: {error!r}"))
            else:
                pause = RETRY_S[0]
                continue
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_S[1])

    async def _follow(self) -> None:
        """Write what is new, once; raise what is wrong with the catalogue."""
        damage, self._damage = self._damage, None
        if damage is not None:
            raise damage
        if self._store is None:
            self._store = await self._open()
        if self._must_compare:
            await self._compare(self._store)
        await self._write_news(self._store)
        if self._error is not None:
            self._error = None
            self._log.info("the catalogue is there again")
        self._is_opened.set()
        if self._damage is None and not self._must_compare:
            await self._has_news.wait()
            await asyncio.sleep(NEWS_S)

    async def _open(self) -> "Store":
        url = await to_thread.run_sync(_url, self._address, self._data)
        from micwire.library.catalogue.store import Store

        return await Store.open(url)

    async def _fail(self, error: CatalogueUnavailableError) -> None:
        if str(error) != str(self._error) or isinstance(error, CatalogueDamagedError):
            self._log.warning("the catalogue can't be used", reason=str(error))
        self._error = error
        if isinstance(error, CatalogueDamagedError):
            await self._close_store()
            self._must_compare = True
            self._complete.clear()
            url = await to_thread.run_sync(_url, self._address, self._data)
            if url.get_backend_name() == "sqlite":
                await to_thread.run_sync(move_aside, str(url.database))
                self._error = CatalogueUnavailableError("the catalogue is being made anew")
        self._is_opened.set()

    async def _close_store(self) -> None:
        self._damage = None
        store, self._store = self._store, None
        if store is not None:
            await store.close()

    async def _write_news(self, store: "Store") -> None:
        self._has_news.clear()
        while self._news:
            ids = list(islice(self._news, BATCH))
            for recording in ids:  # before they are read: what changes from here on is news again
                del self._news[recording]
            try:
                states = self._live_states(ids)
                rest = [recording for recording in ids if recording not in states]
                live = await to_thread.run_sync(_live_filings, states)
                closed = await to_thread.run_sync(self._closed_filings, rest)
                filings = live + closed
                gone = set(ids) - {filing.entry.recording for filing in filings}
                await store.put(filings)
                await store.remove(gone)
            except BaseException:
                self._news |= dict.fromkeys(ids)
                raise

    def _live_states(self, ids: Iterable[str]) -> dict[str, RecordingState]:
        unfinished = self._unfinished()
        found = ((recording, unfinished.state(recording)) for recording in ids)
        return {recording: state.copy() for recording, state in found if state is not None}

    def _closed_filings(self, ids: Iterable[str]) -> list[Filing]:
        """Return what is known of recordings that are over; blocks."""
        filings = []
        for recording in ids:
            try:
                closed = self._closed(recording)
                if closed is not None and closed.status != "deleted":
                    filings.append(read_filing(self._data, closed.path))
            except FileNotFoundError:
                pass
            except (RegisterDamagedError, OSError, ValueError) as error:
                self._log.warning(
                    "a recording is left out of the catalogue",
                    recording=recording,
                    reason=str(error),
                )
        return filings

    # ---- comparison with the disk --------------------------------------------------------

    async def _compare(self, store: "Store") -> None:
        from micwire.library.catalogue.scan import Comparison

        self._news |= dict.fromkeys(state.about.recording for state in self._unfinished().states())
        began = self._last_progress = self._last_step = time.monotonic()
        comparison = Comparison(
            store,
            self._data,
            self._closed,
            is_live=lambda recording: self._unfinished().state(recording) is not None,
            on_problem=self._tell_problem,
            between=self._between,
        )
        self._is_opened.set()  # lists may show what there is so far
        self._must_compare = False  # unless too much happens meanwhile
        try:
            tally = await comparison.run()
        except BaseException:
            self._must_compare = True
            raise
        if not self._must_compare:
            self._complete.set()
        if tally.unknown:
            self._log.warning(
                "recordings came as files: stop the server and run `micwire reindex`",
                recordings=tally.unknown,
            )
        if self._last_progress > began:
            self._log.info(
                "the catalogue is up to date",
                recordings=tally.seen,
                seconds=round(time.monotonic() - began, 1),
            )

    async def _between(self, tally: "Tally") -> None:
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_S:
            self._last_progress = now
            self._log.info("the catalogue is being made", done=tally.seen, of=tally.total)
        if self._store is not None:
            await self._write_news(self._store)
        # Half of the time is left to the recordings.
        await asyncio.sleep(min(now - self._last_step, 1.0))
        self._last_step = time.monotonic()

    def _tell_problem(self, problem: Problem) -> None:
        self._log.warning(
            "a recording is left out of the catalogue", path=problem.path, reason=problem.sentence
        )


def _live_filings(states: Mapping[str, RecordingState]) -> list[Filing]:
    """Return what is known of recordings that go on; of 100,000 gaps it takes a while."""
    return [
        filing_of(sidecar_fields(state, "recording", None), state.about.path)
        for state in states.values()
    ]


def _url(address: str, data: Path) -> Any:
    from micwire.library.catalogue.store import database_url

    return database_url(address, data / FILE)


def move_aside(database: str) -> None:
    """Give a damaged SQLite file another name, in the place of an earlier one. Blocks."""
    with contextlib.suppress(FileNotFoundError):
        os.replace(database, f"{database}.damaged")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{database}{suffix}")
