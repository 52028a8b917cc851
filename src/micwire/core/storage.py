"""How bytes get into files, whole or not at all, over any `Files` layer.

Which errors mean what is decided here once: no room may come back, a failed sync is final.
"""

import errno
from collections.abc import Sequence

from micwire.core.errors import StorageFailedError
from micwire.core.interfaces import Files

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE})
_NOT_ALLOWED = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EXDEV,
        errno.EBUSY,
        errno.ELOOP,
        errno.ETXTBSY,
    }
)


def is_no_room(error: OSError) -> bool:
    """Tell 'no room', which may come back, from a failing disk, which ends the process."""
    return error.errno in _NO_ROOM


def is_not_allowed(error: OSError) -> bool:
    """Tell what the system does not allow with this path from a failing disk.

    Somebody has made a folder read-only, mounted another disk there, or put something else
    in its place. Where one recording's files are concerned that is this recording's
    trouble alone; a sync never fails with these.
    """
    return error.errno in _NOT_ALLOWED


def is_out_of_descriptors(error: OSError) -> bool:
    """Tell whether it is not the disk that is full: waiting helps, and costs nobody else."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def write_all(
    files: Files, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int
) -> int:
    """Write all buffers one behind the other, however little a call takes; return the end.

    Raises:
        OSError: As the call does; what was written before is not told.
    """
    left, size = buffers, sum(map(len, buffers))
    while size:
        taken = files.write(descriptor, left, offset)
        if taken <= 0:
            raise OSError(errno.EIO, "the file system takes no bytes and gives no reason")
        offset += taken
        size -= taken
        if size:
            left = _behind(left, taken)
    return offset


def _behind(buffers: Sequence[bytes | memoryview], taken: int) -> list[bytes | memoryview]:
    """Return what is left of buffers behind the first `taken` bytes."""
    for number, buffer in enumerate(buffers):
        if taken < len(buffer):
            return [memoryview(buffer)[taken:], *buffers[number + 1 :]]
        taken -= len(buffer)
    return []


def sync_directory_or_fail(files: Files, path: str) -> None:
    """Sync the names in a directory; a failure is final, as with a file.

    Raises:
        StorageFailedError: The sync failed.
        OSError: The directory could not be opened, for want of descriptors: nothing was
            tried and nothing is lost, so it may be tried again.
    """
    try:
        files.sync_directory(path)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise StorageFailedError(f"a sync of a directory failed: {error}") from error


def sync_or_fail(files: Files, descriptor: int) -> None:
    """Sync a file; whatever goes wrong ends the use of this disk by this process.

    A second try would succeed though the bytes are gone (measured on ext4), so even 'no
    room' is final here.

    Raises:
        StorageFailedError: The sync failed.
    """
    try:
        files.sync(descriptor)
    except OSError as error:
        raise StorageFailedError(f"a sync failed: {error}") from error
