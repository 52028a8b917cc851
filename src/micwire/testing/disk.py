"""A disk that forgets: a file system in memory that loses what was not synced.

Killing a process can't show a missing sync, for the kernel keeps what a dead process
wrote. Here nothing is safe but what was synced, names included.
"""

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""


class PowerCut(OSError):  # noqa: N818 (it is what happens, not a mistake)
    """The power is gone: every call fails from here on, until `cut_power` or `kill`."""

    def __init__(self) -> None:
        super().__init__(errno.EIO, "the power is gone")


class Survivors(Enum):
    """What of the things that were not synced is there after a power cut."""

    RANDOM = "random"
    """Each sector, each length and each name by its own luck."""
    NOTHING = "nothing"
    EVERYTHING = "everything"
    METADATA = "metadata"
    """Names and lengths, and zeros or old bytes where the data was."""


@dataclass(slots=True)
class _File:
    """One file: as programs see it, and as it lies on the disk."""

    seen: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    dirty: set[int] = field(default_factory=set)
    """Sectors that a sync would write."""

    def resize(self, length: int) -> None:
        first, end = sorted((len(self.seen), length))
        self.dirty.update(range(first // SECTOR_BYTES, -(-end // SECTOR_BYTES)))
        del self.seen[length:]
        self.seen.extend(bytes(length - len(self.seen)))

    def write(self, data: bytes | memoryview, offset: int) -> None:
        end = offset + len(data)
        if len(self.seen) < end:
            self.resize(end)
        self.seen[offset:end] = data
        self.dirty.update(range(offset // SECTOR_BYTES, -(-end // SECTOR_BYTES)))

    def keep(self, sectors: set[int], length: int) -> None:
        """Bring sectors to the disk, and give the file a length there."""
        kept = self.kept
        kept.extend(bytes(max(0, len(self.seen) - len(kept))))
        for sector in sectors:
            first = sector * SECTOR_BYTES
            data = self.seen[first : first + SECTOR_BYTES]
            kept[first : first + SECTOR_BYTES] = data.ljust(SECTOR_BYTES, b"\0")
        del kept[length:]
        kept.extend(bytes(length - len(kept)))


@dataclass(slots=True)
class _Directory:
    """One directory: names as programs see them, as they lie on the disk, and the way there."""

    seen: dict[str, "_File | _Directory"] = field(default_factory=dict)
    kept: dict[str, "_File | _Directory"] = field(default_factory=dict)
    changes: list[dict[str, "_File | _Directory | None"]] = field(default_factory=list)
    """What is not synced, oldest first; None removes a name."""

    def change(self, names: dict[str, "_File | _Directory | None"]) -> None:
        self.changes.append(names)
        _alter(self.seen, names)


def _alter(
    names: dict[str, _File | _Directory], change: dict[str, _File | _Directory | None]
) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


@dataclass(slots=True)
class Fault:
    """An error, or a short write, for the `first`-th to `last`-th call of a kind."""

    call: str
    where: Callable[[str], bool]
    first: int
    last: float
    error: int = 0
    short: Callable[[int], int] | None = None
    calls: int = 0
    """How many such calls there were."""
    strikes: int = 0
    """How many of them it struck."""

    def hits(self, call: str, path: str) -> bool:
        """Count a call; tell whether it is one that goes wrong."""
        if call != self.call or not self.where(path):
            return False
        self.calls += 1
        is_hit = self.first <= self.calls <= self.last
        self.strikes += is_hit
        return is_hit


CALLS = (
    "create",
    "write",
    "sync",
    "sync_directory",
    "truncate",
    "rename",
    "unlink",
    "make_directory",
)
"""The calls that change the disk: these are counted. `open`, `read` and `names` can fail too."""


class ForgetfulFiles:
    """A file system in memory which forgets what was not synced; see `Files`.

    Bytes are safe after `sync` of their file, names (a file created, renamed, removed, a
    directory made) after `sync_directory` of the directory they are in. All else may or may
    not be there after `cut_power`, sector by sector and name by name. A `rename` within
    one directory happens whole or not at all; between two, each of them has its own luck. A
    sync that fails drops what it was to write, and the next one succeeds, as ext4 does.

    Any thread may call it.

    Args:
        directory: The path of the root directory; it exists, durably.
        room_bytes: What all files may hold together; beyond it there is `ENOSPC`.

    >>> files = ForgetfulFiles("/data")
    >>> name = files.open("/data/name", create=True)
    >>> files.write(name, [b"synced"], 0), files.sync(name), files.write(name, [b"lost"], 0)
    (6, None, 4)
    >>> files.sync_directory("/data")
    >>> files.cut_power(survivors=Survivors.NOTHING)
    >>> files.read(files.open("/data/name"), 100, 0)
    b'synced'
    """

    def __init__(self, directory: str, room_bytes: float = float("inf")) -> None:
        self.operations = 0
        """How many calls that change the disk were made."""
        self.calls: dict[str, int] = dict.fromkeys(CALLS, 0)
        """The same, by kind."""
        self.last_call = ""
        """The kind and the path of the latest of them, for messages of tests."""
        self.room_bytes = room_bytes
        self._root_path = directory
        self._root = _Directory()
        self._descriptors: dict[int, tuple[_File, str]] = {}
        self._next_descriptor = 3
        self._faults: list[Fault] = []
        self._stop_at = float("inf")
        self._is_stopped = False
        self._lock = threading.RLock()

    # ---- what may go wrong ---------------------------------------------------------

    def stop_at(self, operation: int) -> None:
        """Cut the power in the `operation`-th change from the start; 1 is the first.

        That call still does its work, unless it is a sync, but nobody hears of it: it and
        all further ones raise `PowerCut`.
        """
        self._stop_at = operation

    def stop(self) -> None:
        """Cut the power now: all further calls raise `PowerCut`."""
        with self._lock:
            self._is_stopped = True

    def fail(
        self,
        call: str,
        error: int,
        *,
        at: int = 1,
        times: float = float("inf"),
        where: Callable[[str], bool] = lambda path: True,
    ) -> Fault:
        """Let calls of a kind raise `OSError(error)` from the `at`-th on, `times` times.

        Counted from now on, and only where `where` holds for the path (of a `rename`: for
        the new name). A call that fails changes nothing; but a sync drops what was to be
        written.
        """
        return self._add(Fault(call, where, at, at + times - 1, error))

    def shorten(
        self,
        short: Callable[[int], int],
        *,
        at: int = 1,
        times: float = float("inf"),
        where: Callable[[str], bool] = lambda path: True,
    ) -> Fault:
        """Let writes take only `short(bytes)` of the bytes they are given, at least one."""
        return self._add(Fault("write", where, at, at + times - 1, short=short))

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Let all calls succeed again. What was lost meanwhile stays lost."""
        with self._lock:
            self._faults.clear()

    @property
    def is_stopped(self) -> bool:
        """Tell whether the power is gone."""
        return self._is_stopped

    def cut_power(self, seed: int = 0, survivors: Survivors = Survivors.RANDOM) -> None:
        """Forget what was not synced, or what luck (`seed`) takes of it; then start again."""
        with self._lock:
            self._forget(self._root, random.Random(seed), survivors)
            self._restart()

    def kill(self, *, evict: bool = False) -> None:
        """Let the process die and another one begin: the kernel keeps what was written.

        With `evict` the kernel drops pages that it believes to be on the disk: behind a
        sync that failed, that shows what the disk really has.
        """
        with self._lock:
            if evict:
                self._evict(self._root)
            self._restart()

    def _restart(self) -> None:
        self._descriptors.clear()
        self._faults.clear()
        self._is_stopped, self._stop_at = False, float("inf")

    def _forget(self, directory: _Directory, dice: random.Random, survivors: Survivors) -> None:
        for change in directory.changes:
            if survivors is Survivors.RANDOM:
                is_kept = dice.random() < 0.5
            else:
                is_kept = survivors is not Survivors.NOTHING
            if is_kept:
                _alter(directory.kept, change)
        directory.changes.clear()
        directory.seen = dict(directory.kept)
        for node in directory.seen.values():
            if isinstance(node, _Directory):
                self._forget(node, dice, survivors)
            else:
                _forget_bytes(node, dice, survivors)

    def _evict(self, directory: _Directory) -> None:
        for node in directory.seen.values():
            if isinstance(node, _Directory):
                self._evict(node)
                continue
            for sector in range(-(-len(node.seen) // SECTOR_BYTES)):
                if sector not in node.dirty:
                    first = sector * SECTOR_BYTES
                    size = len(node.seen[first : first + SECTOR_BYTES])
                    kept = node.kept[first : first + size].ljust(size, b"\0")
                    node.seen[first : first + size] = kept

    # ---- looking at the disk -------------------------------------------------------

    def paths(self) -> list[str]:
        """Return the paths of all files, as programs see them."""
        with self._lock:
            return sorted(path for path, _ in _walk(self._root, self._root_path))

    def content(self, path: str) -> bytes:
        """Return a file's bytes as programs see them; works without power too."""
        with self._lock:
            return bytes(self._file(path).seen)

    def durable_content(self, path: str) -> bytes | None:
        """Return the bytes that a file surely has after a power cut; None if its name may go."""
        with self._lock:
            node: _File | _Directory = self._root
            for name in self._names_to(path):
                inner = node.kept.get(name) if isinstance(node, _Directory) else None
                if inner is None:
                    return None
                node = inner
            return bytes(node.kept) if isinstance(node, _File) else None

    # ---- the calls -----------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> int:
        with self._lock:
            directory, name = self._place(path)
            is_new = create and name not in directory.seen
            with self._call("create" if is_new else "open", path):
                if is_new:
                    directory.change({name: _File()})
            self._next_descriptor += 1
            self._descriptors[self._next_descriptor] = self._file(path), path
            return self._next_descriptor

    def close(self, descriptor: int) -> None:
        with self._lock:
            if self._descriptors.pop(descriptor, None) is None and not self._is_stopped:
                raise OSError(errno.EBADF, "not an open descriptor")

    @property
    def open_descriptors(self) -> int:
        """How many files are open."""
        return len(self._descriptors)

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        with self._lock:
            file, path = self._opened(descriptor)
            with self._call("read", path):
                return bytes(file.seen[offset : offset + count])

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        with self._lock:
            file, path = self._opened(descriptor)
            data = b"".join(buffers)
            with self._call("write", path) as fault:
                if fault is not None and fault.short is not None:
                    data = data[: max(1, fault.short(len(data)))]
                room = max(0, self._room())
                if offset + len(data) - len(file.seen) > room:
                    taken = int(len(file.seen) + room - offset)
                    if taken <= 0:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                    data = data[:taken]
                file.write(data, offset)
            return len(data)

    def sync(self, descriptor: int) -> None:
        with self._lock:
            file, path = self._opened(descriptor)
            try:
                with self._call("sync", path):
                    if not self._is_stopped:
                        file.keep(file.dirty, len(file.seen))
                        file.dirty.clear()
            except PowerCut:
                raise
            except OSError:
                file.dirty.clear()
                raise

    def sync_directory(self, path: str) -> None:
        with self._lock:
            directory = self._directory(path)
            with self._call("sync_directory", path):
                if not self._is_stopped:
                    directory.kept = dict(directory.seen)
                    directory.changes.clear()

    def truncate(self, descriptor: int, length: int) -> None:
        with self._lock:
            file, path = self._opened(descriptor)
            with self._call("truncate", path):
                file.resize(length)

    def size(self, descriptor: int) -> int:
        with self._lock:
            return len(self._opened(descriptor)[0].seen)

    def rename(self, source: str, target: str) -> None:
        with self._lock:
            old, old_name = self._place(source)
            new, new_name = self._place(target)
            node = self._file(source)
            with self._call("rename", target):
                if old is new:
                    new.change({old_name: None, new_name: node})
                else:
                    new.change({new_name: node})
                    old.change({old_name: None})

    def unlink(self, path: str) -> None:
        with self._lock:
            directory, name = self._place(path)
            with self._call("unlink", path):
                if name in directory.seen:
                    directory.change({name: None})

    def make_directory(self, path: str) -> bool:
        with self._lock:
            directory, name = self._place(path)
            with self._call("make_directory", path):
                if name in directory.seen:
                    return False
                directory.change({name: _Directory()})
                return True

    def names(self, path: str) -> list[str]:
        with self._lock, self._call("names", path):
            return list(self._directory(path).seen)

    def free_bytes(self, path: str) -> int:
        with self._lock, self._call("free_bytes", path):
            return int(min(self._room(), 1 << 62))

    # ---- inside --------------------------------------------------------------------

    @contextmanager
    def _call(self, call: str, path: str) -> Iterator[Fault | None]:
        """Let a call happen, or not."""
        if self._is_stopped:
            raise PowerCut
        if call in self.calls:
            self.operations += 1
            self.calls[call] += 1
            self.last_call = f"{call} {path}"
            self._is_stopped = self.operations >= self._stop_at
        fault = None
        for candidate in self._faults:  # each one counts
            if candidate.hits(call, path):
                fault = fault or candidate
        if fault is not None and fault.error:
            raise OSError(fault.error, os.strerror(fault.error), path)
        yield fault
        if self._is_stopped:
            raise PowerCut

    def _room(self) -> float:
        if self.room_bytes == float("inf"):
            return self.room_bytes
        return self.room_bytes - sum(
            len(file.seen) for _, file in _walk(self._root, self._root_path)
        )

    def _opened(self, descriptor: int) -> tuple[_File, str]:
        if self._is_stopped:
            raise PowerCut
        if descriptor not in self._descriptors:
            raise OSError(errno.EBADF, "not an open descriptor")
        return self._descriptors[descriptor]

    def _names_to(self, path: str) -> list[str]:
        inner = path.removeprefix(self._root_path)
        if inner and (inner == path or not inner.startswith("/")):
            raise ValueError(f"{path} is not below {self._root_path}")
        return inner.split("/")[1:]

    def _directory(self, path: str) -> _Directory:
        node: _File | _Directory = self._root
        for name in self._names_to(path):
            inner = node.seen.get(name) if isinstance(node, _Directory) else None
            if inner is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            node = inner
        if isinstance(node, _File):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return node

    def _place(self, path: str) -> tuple[_Directory, str]:
        directory, _, name = path.rpartition("/")
        return self._directory(directory), name

    def _file(self, path: str) -> _File:
        directory, name = self._place(path)
        node = directory.seen.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if isinstance(node, _Directory):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return node


def _walk(directory: _Directory, path: str) -> Iterator[tuple[str, _File]]:
    for name, node in directory.seen.items():
        if isinstance(node, _Directory):
            yield from _walk(node, f"{path}/{name}")
        else:
            yield f"{path}/{name}", node


def _forget_bytes(file: _File, dice: random.Random, survivors: Survivors) -> None:
    lengths = sorted((len(file.kept), len(file.seen)))
    match survivors:
        case Survivors.RANDOM:
            # What a file system writes back by itself grows the file step by step.
            between = dice.randint(*lengths) // SECTOR_BYTES * SECTOR_BYTES
            length = dice.choice([*lengths, max(lengths[0], between)])
            sectors = {sector for sector in sorted(file.dirty) if dice.random() < 0.5}
        case Survivors.NOTHING:
            length, sectors = len(file.kept), set()
        case Survivors.EVERYTHING:
            length, sectors = len(file.seen), file.dirty
        case Survivors.METADATA:
            length, sectors = len(file.seen), set()
    file.keep(sectors, length)
    file.seen = bytearray(file.kept)
    file.dirty.clear()
