"""What becomes of recordings that are over: they are edited, and they are deleted.

The sidecar of such a recording is the truth about it and is replaced whole. A deletion is
noted in a folder of its own before anything is touched: from then on it happens, if need
be at the next start. Everything here blocks; one edit or deletion of a recording at a time.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from micwire.core.edits import Change, Editable, GoneError
from micwire.core.errors import RegisterDamagedError
from micwire.core.interfaces import Files
from micwire.core.recording import Closed
from micwire.core.storage import sync_directory_or_fail
from micwire.library.closed import ClosedRegister, replace_file

SUFFIXES = (".wav", ".json", ".jsonl")
"""What lies in the data directory for one recording: sound, sidecar, results."""


class Over:
    """The recordings of a data directory that are over.

    Args:
        data: The data directory.
        scratch: A directory on the same file system for files being written.
        register: Knows them all.
        wav: The file system, as it is for sound.
        sidecar: The file system, as it is for sidecars.
        closed: The file system, as it is for the register.
        on_deleted: Removes what was derived from a recording, and lies elsewhere.
    """

    def __init__(
        self,
        data: str,
        scratch: str,
        register: ClosedRegister,
        *,
        wav: Files,
        sidecar: Files,
        closed: Files,
        on_deleted: Callable[[str], None],
    ) -> None:
        self._data = data
        self._scratch = scratch
        self._register = register
        self._wav = wav
        self._sidecar = sidecar
        self._closed = closed
        self._on_deleted = on_deleted
        self._deleting = f"{data}/.micwire/deleting"

    def edit(self, closed: Closed, change: Change) -> None:
        """Change what is said of a recording; see `Library.edit`."""
        facts, before = self._facts(closed)
        after = change(before)
        if after == before:
            return
        path = self._path(closed, ".json")
        text = json.dumps(facts | after.fields(), ensure_ascii=False, indent=2)
        scratch = f"{self._scratch}/{closed.recording}.edit"
        replace_file(self._sidecar, path, scratch, f"{text}\n")
        sync_directory_or_fail(self._sidecar, path.rpartition("/")[0])

    def delete(self, closed: Closed) -> None:
        """Delete a recording; see `Library.delete`."""
        # What remains of it is that it was deleted, and nothing that was in it but, until
        # they are gone, where its files are.
        gone = Closed(
            closed.recording, "deleted", "", closed.format, closed.path, closed.epoch, 0, ""
        )
        note = f"{self._deleting}/{closed.recording}"
        replace_file(
            self._closed, note, f"{self._scratch}/{closed.recording}.deleting", gone.to_json()
        )
        sync_directory_or_fail(self._closed, self._deleting)
        self._vanish(gone, note)

    def complete_deletions(self) -> None:
        """Complete the deletions that an earlier process had begun; called before it is served.

        Raises:
            OSError: A file can't be removed.
            StorageFailedError: A sync failed.
        """
        for name in self._closed.names(self._deleting):
            note = f"{self._deleting}/{name}"
            self._vanish(Closed.from_json(self._read(self._closed, note)), note)

    def _vanish(self, gone: Closed, note: str) -> None:
        try:
            self._register.put(replace(gone, path=""))
        except OSError:  # no room: nothing was touched, and nothing is to be touched later
            self._forget(note)
            raise
        folder = self._path(gone, "").rpartition("/")[0]
        with contextlib.suppress(FileNotFoundError):  # somebody has removed the whole folder
            self._wav.names(folder)
            self._wav.unlink(self._path(gone, SUFFIXES[0]))
            for suffix in SUFFIXES[1:]:
                self._sidecar.unlink(self._path(gone, suffix))
            sync_directory_or_fail(self._wav, folder)
        self._on_deleted(gone.recording)
        self._forget(note)

    def _forget(self, note: str) -> None:
        self._closed.unlink(note)
        sync_directory_or_fail(self._closed, self._deleting)

    def _facts(self, closed: Closed) -> tuple[dict[str, Any], Editable]:
        try:
            facts = json.loads(self._read(self._sidecar, self._path(closed, ".json")))
            return facts, Editable.parse(facts)
        except FileNotFoundError:
            raise GoneError("the recording's sidecar is gone") from None
        except ValueError as error:
            raise RegisterDamagedError(f"{closed.path}.json is no sidecar ({error})") from None

    @staticmethod
    def _read(files: Files, path: str) -> bytes:
        descriptor = files.open(path)
        try:
            return files.read(descriptor, files.size(descriptor), 0)
        finally:
            files.close(descriptor)

    def _path(self, closed: Closed, suffix: str) -> str:
        return f"{self._data}/{closed.path}{suffix}"
