"""One server per data directory: a lock that the kernel frees when the process dies."""

import fcntl
import os
from pathlib import Path

from micwire.core.errors import DataDirectoryError


class DataLock:
    """The lock of a data directory.

    Args:
        data: The data directory; made if it is missing.

    Raises:
        DataDirectoryError: It can't be used, or another server has it.
    """

    def __init__(self, data: Path) -> None:
        path = data / ".micwire" / "lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DataDirectoryError(
                f"{data} can't be used for recordings: {error.strerror}."
                " Name a directory that you may write to, with --data"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise DataDirectoryError(
                f"another micwire (process {owner or 'unknown'}) is using {data}."
                " Stop it, or give this one a directory of its own with --data"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another server have the directory."""
        os.close(self._descriptor)
