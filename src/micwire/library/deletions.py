"""The log of deletions: what was deleted, when, why and by whom, and nothing of what was in it.

A line is durable before the deletion that it tells of, so nothing vanishes without one. A
deletion that a crash cuts short is done at the next start; then its line may come twice.
"""

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from micwire.core.interfaces import Files
from micwire.core.storage import sync_directory_or_fail, sync_or_fail, write_all

FILE = ".micwire/deletions.jsonl"


class DeletionLog:
    """The file of a data directory; made with the first line.

    Args:
        path: The file.
        files: The file system.
        utc_now: The wall clock; it decides nothing.
    """

    def __init__(
        self, path: str, files: Files, utc_now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = path
        self._files = files
        self._utc_now = utc_now
        self._alone = threading.Lock()
        self._is_name_synced = False

    def append(self, recording: str, *, owner: str, why: str, by: str) -> None:
        """Write a line, durably. Blocks; any thread.

        Args:
            recording: Its id.
            owner: The id of the person whose recording it is; empty for nobody's.
            why: `asked`, `discarded` or `expired`.
            by: The id of who deletes it; empty where nobody signs in.

        Raises:
            OSError: There is no room, and no line.
            StorageFailedError: The sync failed.
        """
        line = {
            "recording": recording,
            "owner": owner,
            "at": self._utc_now().isoformat(timespec="milliseconds"),
            "why": why,
            "by": by,
        }
        with self._alone:
            descriptor = self._files.open(self._path, create=True)
            try:
                end = self._files.size(descriptor)
                # A line that a power cut has torn stays what it is, and spoils no other.
                is_torn = end > 0 and self._files.read(descriptor, 1, end - 1) != b"\n"
                text = ("\n" if is_torn else "") + json.dumps(line, ensure_ascii=False) + "\n"
                write_all(self._files, descriptor, [text.encode()], end)
                sync_or_fail(self._files, descriptor)
            finally:
                self._files.close(descriptor)
            if not self._is_name_synced:
                sync_directory_or_fail(self._files, os.path.dirname(self._path))
                self._is_name_synced = True
