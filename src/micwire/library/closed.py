"""The register of recordings that are over: one small file each, found by id.

It answers a late `open` after any number of restarts: finished, interrupted, deleted.
"""

import itertools
import threading
from dataclasses import replace

from micwire.core.errors import RegisterDamagedError
from micwire.core.interfaces import Files
from micwire.core.recording import Closed
from micwire.core.storage import sync_directory_or_fail, sync_or_fail, write_all


class ClosedRegister:
    """A directory of entries, spread over 256 directories by the id's first two digits.

    Args:
        directory: Where the entries live; it must exist.
        scratch: A directory on the same file system for files being written.
        files: The file system.
    """

    def __init__(self, directory: str, scratch: str, files: Files) -> None:
        self._directory = directory
        self._scratch = scratch
        self._numbers = itertools.count()
        self._files = files
        self._locks = [threading.Lock() for _ in range(256)]
        """One for each directory: two that alter an entry don't pass each other."""
        self._made: set[str] = set()
        """Directories whose names are durable, as far as this process knows."""

    def get(self, recording: str) -> Closed | None:
        """Return the entry of a recording; None if it is not over."""
        _, path = self._place(recording)
        try:
            descriptor = self._files.open(path)
        except FileNotFoundError:
            return None
        try:
            return Closed.from_json(self._files.read(descriptor, self._files.size(descriptor), 0))
        except (ValueError, KeyError, TypeError) as error:
            raise RegisterDamagedError(
                f"{path} is no entry of the register ({error}): put it back as it was"
            ) from error
        finally:
            self._files.close(descriptor)

    def put(self, closed: Closed) -> None:
        """Write an entry, durably, in the place of an earlier one."""
        with self._lock(closed.recording):
            self._put(closed)

    def reopen(self, closed: Closed) -> Closed:
        """Grant a further epoch, durably, and return the entry; unaltered if it was deleted.

        Args:
            closed: The entry as somebody has read it, perhaps long ago.
        """
        with self._lock(closed.recording):
            newest = self.get(closed.recording) or closed
            if newest.status == "deleted":
                return newest
            further = replace(newest, epoch=newest.epoch + 1)
            self._put(further)
            return further

    def _lock(self, recording: str) -> threading.Lock:
        return self._locks[int(recording[:2], 16)]

    def _put(self, closed: Closed) -> None:
        directory, path = self._place(closed.recording)
        if directory not in self._made:
            # One that is there may have been made by a process that died before the sync.
            self._files.make_directory(directory)
            sync_directory_or_fail(self._files, self._directory)
            self._made.add(directory)
        replace_file(
            self._files,
            path,
            f"{self._scratch}/{closed.recording}.{next(self._numbers)}",
            closed.to_json(),
        )
        sync_directory_or_fail(self._files, directory)

    def _place(self, recording: str) -> tuple[str, str]:
        directory = f"{self._directory}/{recording[:2]}"
        return directory, f"{directory}/{recording}.json"


def replace_file(
    files: Files, path: str, scratch: str, text: str, *, is_synced: bool = True
) -> None:
    """Put `text` where `path` is, whole or not at all; the caller syncs the directory."""
    write_file(files, scratch, text, is_synced=is_synced)
    files.rename(scratch, path)


def write_file(files: Files, path: str, text: str, *, is_synced: bool = True) -> None:
    """Write a file of our own, in the place of what is in it; its name is not synced."""
    descriptor = files.open(path, create=True)
    try:
        data = text.encode()
        files.truncate(descriptor, 0)
        write_all(files, descriptor, [data], 0)
        if is_synced:
            sync_or_fail(files, descriptor)
    finally:
        files.close(descriptor)
