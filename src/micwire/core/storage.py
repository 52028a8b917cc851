"""How bytes get into files, whole or not at all, over any `Files` layer.

Which errors mean what is decided here once: no room may come back, a failed sync is final.
"""

import errno
from collections.abc import Sequence

from micwire.core.errors import StorageFailedError
from micwire.core.interfaces import Files

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE})


def is_no_room(error: OSError) -> bool:
    """Tell 'no room', which may come back, from a failing disk, which ends the process."""
    return error.errno in _NO_ROOM


def write_all(
    files: Files, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int
) -> int:
    """Write all buffers one behind the other, however little a call takes; return the end.

    Raises:
        OSError: As the call does; what was written before is not told.
    """
    left = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
    while left:
        taken = files.write(descriptor, left, offset)
        if taken <= 0:
            raise OSError(errno.EIO, "the file system takes no bytes and gives no reason")
        offset += taken
        done = 0
        while done < len(left) and taken >= len(left[done]):
            taken -= len(left[done])
            done += 1
        left = left[done:]
        if taken:
            left[0] = left[0][taken:]
    return offset


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
