"""One server per data directory: a lock that the kernel frees when the process dies."""

import errno
import fcntl
import os
from pathlib import Path

from micwire.core.errors import DataDirectoryError

_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL})


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
            _sync_names(path.parent)
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


def _sync_names(directory: Path) -> None:
    """Make the names of a directory and of all above it durable.

    Without this a power cut could take a new data directory away, journal and all.
    """
    for parent in directory.absolute().parents:
        try:
            descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno in _NOT_OURS:
                return  # so it was there before
            raise
