"""The file system, call by call. The only calls that change audio on disk go through here.

`LocalFiles` is the real thing. `FailpointFiles` wraps another layer and dies at a named
place: that is how tests kill a server between any two calls.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

from micwire.core.interfaces import Files

_MAX_READ = 1 << 30
_MAX_BUFFERS = 512  # below every system's IOV_MAX


class LocalFiles:
    """The operating system's calls, as `Files` describes them."""

    def open(self, path: str, *, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return os.open(path, flags, 0o644)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        # Linux gives at most 2 GiB a call.
        parts = []
        while count > 0 and (part := os.pread(descriptor, min(count, _MAX_READ), offset)):
            parts.append(part)
            count -= len(part)
            offset += len(part)
        return b"".join(parts)

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        return os.pwritev(descriptor, buffers[:_MAX_BUFFERS], offset)

    def sync(self, descriptor: int) -> None:
        os.fdatasync(descriptor)

    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def truncate(self, descriptor: int, length: int) -> None:
        os.ftruncate(descriptor, length)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def make_directory(self, path: str) -> bool:
        try:
            os.mkdir(path)
        except FileExistsError:
            return False
        return True

    def names(self, path: str) -> list[str]:
        return os.listdir(path)

    def free_bytes(self, path: str) -> int:
        facts = os.statvfs(path)
        return facts.f_bavail * facts.f_frsize


class FailpointFiles:
    """A layer that calls `hit` with a name before and after each call that changes the disk.

    Names are `AREA.CALL.before` and `AREA.CALL.after`, such as `journal.sync.before`.
    """

    def __init__(self, inner: Files, area: str, hit: Callable[[str], None]) -> None:
        self._inner = inner
        self._area = area
        self._hit = hit

    @contextlib.contextmanager
    def _around(self, call: str) -> Iterator[None]:
        self._hit(f"{self._area}.{call}.before")
        yield
        self._hit(f"{self._area}.{call}.after")

    def open(self, path: str, *, create: bool = False) -> int:
        if not create:
            return self._inner.open(path)
        with self._around("create"):
            return self._inner.open(path, create=True)

    def close(self, descriptor: int) -> None:
        self._inner.close(descriptor)

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        return self._inner.read(descriptor, count, offset)

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        with self._around("write"):
            return self._inner.write(descriptor, buffers, offset)

    def sync(self, descriptor: int) -> None:
        with self._around("sync"):
            self._inner.sync(descriptor)

    def sync_directory(self, path: str) -> None:
        with self._around("sync_directory"):
            self._inner.sync_directory(path)

    def truncate(self, descriptor: int, length: int) -> None:
        with self._around("truncate"):
            self._inner.truncate(descriptor, length)

    def size(self, descriptor: int) -> int:
        return self._inner.size(descriptor)

    def rename(self, source: str, target: str) -> None:
        with self._around("rename"):
            self._inner.rename(source, target)

    def unlink(self, path: str) -> None:
        with self._around("unlink"):
            self._inner.unlink(path)

    def make_directory(self, path: str) -> bool:
        with self._around("make_directory"):
            return self._inner.make_directory(path)

    def names(self, path: str) -> list[str]:
        return self._inner.names(path)

    def free_bytes(self, path: str) -> int:
        return self._inner.free_bytes(path)


FAILPOINT_AREAS = ("journal", "wav", "sidecar", "closed")
"""The parts of the disk that have failpoints of their own."""
FAILPOINT_CALLS = (
    "create",
    "write",
    "sync",
    "sync_directory",
    "truncate",
    "rename",
    "unlink",
    "make_directory",
)
