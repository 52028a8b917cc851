"""What becomes of recordings that are over: they are edited, and they are deleted.

The sidecar of such a recording is the truth about it and is replaced whole. A deletion is
noted in a folder of its own before anything is touched: from then on it happens, if need
be at the next start. Files that the server may not remove stay noted and are tried again;
no route reads them meanwhile. Everything here blocks; one edit or deletion of a recording
at a time.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from micwire.core.audio import Format
from micwire.core.edits import Change, Editable, GoneError, LockedError
from micwire.core.errors import RegisterDamagedError
from micwire.core.interfaces import Files
from micwire.core.recording import Closed
from micwire.core.storage import (
    is_no_room,
    is_not_allowed,
    is_out_of_descriptors,
    sync_directory_or_fail,
    write_all,
)
from micwire.library.closed import ClosedRegister, replace_file, write_file
from micwire.library.folders import DELETING

SUFFIXES = (".wav", ".json", ".jsonl")
"""What lies in the data directory for one recording: sound, sidecar, results."""
KEPT_HEADER = ".wav.header."
"""Between its name and `bak`: a header as it was before somebody had it mended."""

RESERVE_BYTES = 64 << 10
"""What a deletion writes before it removes anything has room in this."""


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
        self._deleting = f"{data}/{DELETING}"
        self._reserve = f"{data}/.micwire/reserve"
        self._log = structlog.get_logger("micwire")
        self._left: dict[str, Closed] = {}
        """Deleted recordings of which something is still there."""
        self._alone = threading.Lock()
        """Held while files are removed: a further try may come from another thread."""

    def edit(self, closed: Closed, change: Change) -> None:
        """Change what is said of a recording; see `Library.edit`."""
        facts, before = self._facts(closed)
        after = change(before)
        if after == before:
            return
        path = self._path(closed, ".json")
        text = json.dumps(facts | after.fields(), ensure_ascii=False, indent=2)
        scratch = f"{self._scratch}/{closed.recording}.edit"
        folder = path.rpartition("/")[0]
        # Written among our own files, where a refusal is no matter of this recording alone.
        write_file(self._sidecar, scratch, f"{text}\n")
        try:
            self._sidecar.names(folder)  # a folder that can't be opened can't be synced
            self._sidecar.rename(scratch, path)
        except OSError as error:
            self._sidecar.unlink(scratch)
            raise _own(error) from error
        sync_directory_or_fail(self._sidecar, folder)

    def delete(self, closed: Closed) -> None:
        """Delete a recording; see `Library.delete`."""
        gone = gone_as(closed.recording, closed.format, closed.path, closed.epoch)
        try:
            self._begin(gone)
        except OSError as error:
            if not is_no_room(error) or is_out_of_descriptors(error):
                raise
            self._closed.unlink(self._reserve)  # somebody deletes to make room
            self._begin(gone)
        self._vanish(gone)
        self.keep_reserve()

    def keep_reserve(self) -> None:
        """Keep some room for deletions on a full disk, as far as there is any."""
        try:
            descriptor = self._closed.open(self._reserve, create=True)
            try:
                if self._closed.size(descriptor) < RESERVE_BYTES:
                    write_all(self._closed, descriptor, [bytes(RESERVE_BYTES)], 0)
            finally:
                self._closed.close(descriptor)
        except OSError as error:
            if not is_no_room(error):
                raise
            self._closed.unlink(self._reserve)  # a part of it would only take what others need

    def _begin(self, gone: Closed) -> None:
        self._note(gone)
        try:
            self._register.put(replace(gone, path=""))
        except OSError:  # no room: nothing was touched, and nothing is to be touched later
            self._forget(gone.recording)
            raise

    def delete_unfinished(self, gone: Closed) -> None:
        """Remove the files of a recording that never came to an end; the log says so already.

        Args:
            gone: What remains of it, and where its files are.

        Raises:
            OSError: There is no room for that, or a file can't be removed.
            StorageFailedError: A sync failed.
        """
        self._register.put(replace(gone, path=""))
        if not self._remove(gone):
            self._note(gone)  # the log forgets it now
            self._left[gone.recording] = gone

    def complete_deletions(self) -> None:
        """Complete the deletions that an earlier process had begun; called before it is served.

        Raises:
            OSError: The disk fails.
            StorageFailedError: A sync failed.
        """
        for name in self._closed.names(self._deleting):
            gone = self._noted(name)
            if gone is None:
                continue
            try:
                self._register.put(replace(gone, path=""))
            except OSError as error:
                if not is_no_room(error):
                    raise
                known = self._register.get(gone.recording)
                if known is None or known.status != "deleted":
                    self._forget(gone.recording)  # it was not answered, and has not happened
                    continue
                # The entry may have been on no disk: the note stays until it can be written.
                self._remove(gone)
                self._left[gone.recording] = gone
            else:
                self._vanish(gone)

    def try_again(self) -> None:
        """Remove what could not be removed before, as far as that goes now.

        Raises:
            OSError: The disk fails.
            StorageFailedError: A sync failed.
        """
        for gone in tuple(self._left.values()):
            try:
                self._register.put(replace(gone, path=""))
                self._vanish(gone)
            except OSError as error:
                if not is_no_room(error):
                    raise

    def _vanish(self, gone: Closed) -> None:
        """Remove what is noted and entered as deleted; the note stays while something does."""
        if self._remove(gone):
            self._forget(gone.recording)
            self._left.pop(gone.recording, None)
        else:
            self._left[gone.recording] = gone

    def _remove(self, gone: Closed) -> bool:
        """Remove a recording's files; False if the server may not remove all of them."""
        is_told = gone.recording in self._left
        with self._alone:
            refusal = self._refusal(gone)
        if refusal is not None and not is_told:
            self._log.warning(
                "files of a deleted recording can't be removed, and nobody can read them here:"
                " allow the server to write in their folder, and it removes them",
                recording=gone.recording,
                reason=refusal,
            )
        return refusal is None

    def _refusal(self, gone: Closed) -> str | None:
        """Remove what there is; return why something remains."""
        refusal: str | None = None
        folder, _, stem = self._path(gone, "").rpartition("/")
        try:
            names = self._wav.names(folder)
            kept = [name for name in names if name.startswith(f"{stem}{KEPT_HEADER}")]
            for name in [*(f"{stem}{suffix}" for suffix in SUFFIXES), *kept]:
                files = self._wav if name.endswith(".wav") else self._sidecar
                try:
                    files.unlink(f"{folder}/{name}")
                except OSError as error:  # the others go nevertheless
                    refusal = _refused(error)
            sync_directory_or_fail(self._wav, folder)
        except FileNotFoundError:  # somebody has removed the whole folder
            pass
        except OSError as error:
            refusal = _refused(error)
        try:
            self._on_deleted(gone.recording)
        except Exception as error:  # it is gone for everybody, whatever was derived from it
            refusal = repr(error)
        return refusal

    def _note(self, gone: Closed) -> None:
        note = f"{self._deleting}/{gone.recording}"
        replace_file(
            self._closed, note, f"{self._scratch}/{gone.recording}.deleting", gone.to_json()
        )
        sync_directory_or_fail(self._closed, self._deleting)

    def _noted(self, name: str) -> Closed | None:
        """Return what a note says; None, and tell it, if it says nothing."""
        try:
            gone = Closed.from_json(self._read(self._closed, f"{self._deleting}/{name}"))
            if gone.recording == name:
                return gone
            reason = "it is of another recording"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = repr(error)
        except OSError as error:
            reason = _refused(error)
        self._log.warning(
            "a note of a deletion can't be read, and is left alone: remove it from"
            " .micwire/deleting, and delete its recording again",
            note=name,
            reason=reason,
        )
        return None

    def _forget(self, recording: str) -> None:
        self._closed.unlink(f"{self._deleting}/{recording}")
        sync_directory_or_fail(self._closed, self._deleting)

    def _facts(self, closed: Closed) -> tuple[dict[str, Any], Editable]:
        try:
            facts = json.loads(self._read(self._sidecar, self._path(closed, ".json")))
            return facts, Editable.parse(facts, closed.marks)
        except (FileNotFoundError, NotADirectoryError):
            raise GoneError("the recording's sidecar is gone") from None
        except OSError as error:
            raise _own(error) from error
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


def gone_as(recording: str, audio_format: Format, path: str, epoch: int) -> Closed:
    """Return what remains of a recording: that it was deleted, and for now where its files are."""
    return Closed(recording, "deleted", "", audio_format, path, epoch, 0, "")


def _own(error: OSError) -> OSError | LockedError:
    """Return what to raise for an error at one recording's files."""
    if is_not_allowed(error):
        return LockedError(
            f"the server may not use the recording's files ({error.strerror}): allow it to"
            " write in their folder"
        )
    return error


def _refused(error: OSError) -> str:
    """Return why something can't be done now; raise what a failing disk says."""
    if not (is_not_allowed(error) or is_no_room(error)):
        raise error
    return error.strerror or str(error)
