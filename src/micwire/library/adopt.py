"""Takes in recordings that came as files: copied in by hand, restored, or moved by somebody.

A recording is served by its id, so each needs an entry in the register, and a sidecar. Both
are added where they are missing; sound is never altered, and a file's name only to end with
`.wav`. Every step stands by itself: one
that is broken off is done the next time. For a data directory that no server is using.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from micwire.core.catalogue import filing_of
from micwire.core.digest import PIECE_BYTES, PieceDigest
from micwire.core.errors import RegisterDamagedError, UnsupportedFormatError, WavError
from micwire.core.interfaces import Files
from micwire.core.recording import About, Closed, MarkEntry, RecordingState, sidecar_fields
from micwire.core.storage import is_not_allowed, sync_directory_or_fail
from micwire.core.wav import WavInfo, parse
from micwire.library.closed import ClosedRegister, replace_file
from micwire.library.folders import DELETING, Folder, Problem, folders, look, noted
from micwire.library.inspect import read_head

_OUR_NAME = re.compile(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d_[0-9a-f]{8}(_\d+)?")


class Adoption:
    """Looks through a data directory once.

    Args:
        data: The data directory, locked by this process.
        files: The file system.
        on_problem: Told what can't be taken in, and how to mend it.
        on_progress: Told how many files of how many have been looked at.
        utc_now: The wall clock.
    """

    def __init__(
        self,
        data: Path,
        files: Files,
        on_problem: Callable[[Problem], None],
        on_progress: Callable[[int, int], None],
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._data = data
        self._files = files
        self._on_problem = on_problem
        self._on_progress = on_progress
        self._utc_now = utc_now
        self._scratch = f"{data}/.micwire/scratch"
        self.register = ClosedRegister(f"{data}/.micwire/closed", self._scratch, files)
        self._has_journal = False
        self._leaving: set[str] = set()
        """Paths of deleted recordings, files of which could not be removed."""

    def run(self) -> int:
        """Take in what is there; return how many recordings these were. Blocks.

        Raises:
            OSError: The disk has no room, or failed.
            StorageFailedError: A sync failed.
        """
        for name in ("scratch", "closed"):
            self._files.make_directory(f"{self._data}/.micwire/{name}")
        sync_directory_or_fail(self._files, f"{self._data}/.micwire")
        journal = self._data / ".micwire" / "journal"
        self._has_journal = journal.is_dir() and any(journal.iterdir())
        self._leaving = set(self._paths_of_deleted())
        names = folders(self._data)
        total = sum(len(self._files_of(look(self._data, name))) for name in names)
        done = taken = 0
        for name in names:
            folder = look(self._data, name)
            for path in self._files_of(folder):
                taken += self._take_in(path, folder)
                done += 1
                self._on_progress(done, total)
        return taken

    def _paths_of_deleted(self) -> Iterator[str]:
        for recording in noted(self._data):
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OSError):
                yield Closed.from_json((self._data / DELETING / recording).read_bytes()).path

    @staticmethod
    def _files_of(folder: Folder) -> list[str]:
        return sorted({*folder.sidecars, *folder.wavs})

    def _take_in(self, path: str, folder: Folder) -> bool:
        try:
            if path in folder.sidecars:
                return self._take_sidecar(path, folder.wavs.get(path))
            return self._take_wav(path, folder.wavs[path])
        except FileNotFoundError:
            return False  # somebody removes it right now
        except OSError as error:
            if not is_not_allowed(error):
                raise
            self._on_problem(
                Problem(f"{path}.wav", f"{error.strerror}: let micwire write in its folder")
            )
            return False
        except (RegisterDamagedError, UnsupportedFormatError, WavError) as error:
            self._on_problem(Problem(f"{path}.wav", f"{error}: it is left out"))
            return False

    # ---- with a sidecar ----------------------------------------------------------------

    def _take_sidecar(self, path: str, wav: str | None) -> bool:
        try:
            fields = json.loads((self._data / f"{path}.json").read_bytes())
            entry = filing_of(fields, path).entry
        except (ValueError, AttributeError):
            return False  # the comparison with the catalogue tells of it
        closed = self.register.get(entry.recording)
        if closed is not None:
            if wav is not None and closed.status != "deleted":
                self._rename(path, wav)
            return self._follow(closed, path)
        if entry.status == "recording":
            if self._has_journal:
                return False  # it is not over: the next server goes on with it
            if wav is None:
                self._on_problem(
                    Problem(f"{path}.json", "its WAV is missing: put it beside, or remove this")
                )
                return False
            fields = self._interrupted(fields, path, wav)
        offset = fields.get("data_offset")
        if wav is not None:
            with contextlib.suppress(WavError, UnsupportedFormatError):  # `repair` may help it
                offset = self._head(path, wav).data_offset
            self._rename(path, wav)
        marks = tuple(MarkEntry(mark["frame"], mark["label"]) for mark in fields["marks"])
        self.register.put(
            Closed(
                recording=entry.recording,
                status=fields["status"],
                key_hash="",  # nobody can go on with it
                format=entry.format,
                path=path,
                epoch=1,
                frames=fields["frames"],
                digest=fields.get("digest") or "",
                marks=marks,
                owner=entry.owner,
                data_offset=offset if type(offset) is int else 0,
            )
        )
        return True

    def _follow(self, closed: Closed, path: str) -> bool:
        """Note where a recording lies now, if somebody has moved it."""
        is_elsewhere = closed.status != "deleted" and closed.path != path
        if not is_elsewhere or (self._data / f"{closed.path}.json").exists():
            return False
        self.register.put(replace(closed, path=path))
        return True

    def _interrupted(self, fields: dict[str, Any], path: str, wav: str) -> dict[str, Any]:
        """End a recording whose journal is gone: what its WAV says is all there is."""
        info, digest = self._read_wav(path, wav)
        gaps = [
            gap | {"frames": min(gap["frames"], info.frames - gap["first_frame"])}
            for gap in fields["gaps"]
            if gap["first_frame"] < info.frames
        ]
        facts = {"status": "interrupted", "frames": info.frames, "digest": digest, "gaps": gaps}
        self._write_sidecar(path, fields | facts)
        return fields | facts

    # ---- without -----------------------------------------------------------------------

    def _take_wav(self, path: str, wav: str) -> bool:
        if path in self._leaving:
            return False
        if self._has_journal and _OUR_NAME.fullmatch(path):
            self._on_problem(
                Problem(
                    f"{path}.wav",
                    "it has no sidecar, and may belong to a recording that is not over: start"
                    " `micwire serve` once",
                )
            )
            return False
        info, digest = self._read_wav(path, wav)
        modified = datetime.fromtimestamp(
            (self._data / path).parent.joinpath(wav).stat().st_mtime, UTC
        )
        about = About(
            recording=str(uuid4()),
            key_hash="",
            format=info.format,
            path=path,
            created_at=self._utc_now().isoformat(timespec="milliseconds"),
            title=path.rpartition("/")[2],
            started_at=modified.isoformat(timespec="milliseconds"),
            data_offset=info.data_offset,
        )
        state = RecordingState(about, epoch=1, frames=info.frames)
        self._rename(path, wav)
        self._write_sidecar(path, sidecar_fields(state, "finished", digest))
        self.register.put(
            Closed(
                recording=about.recording,
                status="finished",
                key_hash="",
                format=info.format,
                path=path,
                epoch=1,
                frames=info.frames,
                digest=digest,
                data_offset=info.data_offset,
            )
        )
        return True

    def _rename(self, path: str, wav: str) -> None:
        """Let a WAV's name end as the names of all that are served."""
        if not wav.endswith(".wav"):
            folder = f"{self._data}/{path}".rpartition("/")[0]
            self._files.rename(f"{folder}/{wav}", f"{self._data}/{path}.wav")
            sync_directory_or_fail(self._files, folder)

    def _head(self, path: str, wav: str) -> WavInfo:
        with (self._data / path).parent.joinpath(wav).open("rb") as file:
            return parse(*read_head(file))

    def _read_wav(self, path: str, wav: str) -> tuple[WavInfo, str]:
        with (self._data / path).parent.joinpath(wav).open("rb") as file:
            info = parse(*read_head(file))
            file.seek(info.data_offset)
            digest = PieceDigest()
            left = info.frames * info.format.frame_bytes
            while left and (piece := file.read(min(PIECE_BYTES, left))):
                digest.update(piece)
                left -= len(piece)
        return info, digest.hexdigest()

    def _write_sidecar(self, path: str, fields: dict[str, Any]) -> None:
        target = f"{self._data}/{path}.json"
        text = json.dumps(fields, ensure_ascii=False, indent=2)
        replace_file(self._files, target, f"{self._scratch}/{uuid4()}.json", f"{text}\n")
        sync_directory_or_fail(self._files, os.path.dirname(target))
