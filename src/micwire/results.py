"""The results of a recording: a file beside its WAV, a line each, and whoever reads them.

The file is the log, connections are its readers. A result is sent only once its line is
in the file, so a killed server neither loses nor doubles one. Nothing waits here for a
connection but the latest few: one that is behind reads the file, at its own pace.
`ResultFile` belongs to threads, `Results` and `Reader` to the event loop.
"""

import asyncio
import contextlib
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence

from micwire.core.errors import BadMessageError
from micwire.core.interfaces import Files
from micwire.core.storage import sync_directory_or_fail, sync_or_fail, write_all
from micwire.core.wire import MAX_NESTING, Result, decode_server, encode_server

MAX_RESULT_BYTES = 64 << 10
RECENT_BYTES = 16 << 10
"""So much of the latest results stays in memory while a connection reads them."""
MAX_SKIP = 1_000_000
"""What a client may say it has seen beyond the file; such a loss is a power cut's."""
_CHUNK_BYTES = 64 << 10
_LINE = re.compile(
    rb'\{"type":"result","analyzer":"([^"\\\x00]+)","seq":(\d+),"first_frame":(\d+),'
    rb'"frames":(\d+),[^\n\x00]*\}\n'
)

Line = tuple[int, str]
"""A result's number, and the message as it is sent."""


class ResultFile:
    """The results of one recording on disk, numbered from 1 in the order of the file.

    Args:
        files: The file system.
        path: Where the file is or will be.
        tell: Called with what has been written, in order; must not block.
    """

    def __init__(self, files: Files, path: str, tell: Callable[[Sequence[Line]], None]) -> None:
        self.last_seq = 0
        self._files = files
        self._path = path
        self._tell = tell
        self._size = 0
        self._is_there = False
        self._deleted = threading.Event()
        self._unwritten: list[Line] = []
        self._lock = threading.Lock()

    def load(self, seen: int) -> dict[str, int]:
        """Read what an earlier process left and cut off what its end has torn.

        Args:
            seen: The last number that a client has seen: it is never given again.

        Returns:
            For each analyzer the end of the frames it has spoken of.

        Raises:
            OSError: The file can't be read or cut.
            StorageFailedError: The disk failed.
        """
        ends: dict[str, int] = {}
        with self._lock:
            with contextlib.suppress(FileNotFoundError):
                descriptor = self._files.open(self._path)
                try:
                    self._is_there = True
                    self._scan(descriptor, ends)
                    if self._files.size(descriptor) > self._size:
                        self._files.truncate(descriptor, self._size)
                        # Or a power cut could mix its bytes with those that come next.
                        sync_or_fail(self._files, descriptor)
                finally:
                    self._files.close(descriptor)
            self.last_seq = max(self.last_seq, min(seen, self.last_seq + MAX_SKIP))
        return ends

    def _scan(self, descriptor: int, ends: dict[str, int]) -> None:
        while True:
            data = self._files.read(descriptor, _CHUNK_BYTES + MAX_RESULT_BYTES, self._size)
            position = 0
            while (line := _LINE.match(data, position)) and int(line[2]) > self.last_seq:
                self.last_seq = int(line[2])
                ends[line[1].decode()] = int(line[3]) + int(line[4])
                position = line.end()
            if not position:
                return
            self._size += position

    def add(self, analyzer: str, first_frame: int, frames: int, data: object) -> None:
        """Take a result; it is written by the next `write`.

        Raises:
            ValueError: It is too large, or the wire can't carry it: NaN, infinities.
            TypeError: JSON can't say it.
        """
        with self._lock:
            seq = self.last_seq + 1
            text = encode_server(Result(analyzer, seq, first_frame, frames, True, data))
            if len(text.encode()) > MAX_RESULT_BYTES:
                raise ValueError(f"a result of more than {MAX_RESULT_BYTES} bytes")
            if text.count("{") + text.count("[") > MAX_NESTING:
                try:
                    decode_server(text)
                except BadMessageError as error:
                    raise ValueError(str(error)) from None
            self.last_seq = seq
            self._unwritten.append((seq, text))

    def write(self) -> None:
        """Write what was taken, then tell of it.

        Raises:
            OSError: It can't be written; nothing more should be added.
        """
        with self._lock:
            lines, self._unwritten = self._unwritten, []
            if not lines or self._deleted.is_set():
                return
            data = "".join([f"{text}\n" for _, text in lines]).encode()
            try:
                descriptor = self._open()
            except FileNotFoundError:
                if self._deleted.is_set():  # since we looked
                    return
                raise
            try:
                if self._deleted.is_set():  # and perhaps before we created it
                    self._files.unlink(self._path)
                    return
                self._size = write_all(self._files, descriptor, [data], self._size)
            finally:
                self._files.close(descriptor)
            self._tell(lines)

    def _open(self) -> int:
        if self._is_there:
            return self._files.open(self._path)
        try:
            descriptor = self._files.open(self._path, create=True)
        except FileNotFoundError:  # the library, which makes the directory too, comes later
            self._files.make_directory(os.path.dirname(self._path))
            descriptor = self._files.open(self._path, create=True)
        self._is_there = True
        return descriptor

    def sync(self) -> None:
        """Make the file durable.

        Raises:
            OSError: It is gone.
            StorageFailedError: The disk failed.
        """
        with self._lock:
            if not self._is_there or self._deleted.is_set():
                return
            descriptor = self._files.open(self._path)
            try:
                sync_or_fail(self._files, descriptor)
            finally:
                self._files.close(descriptor)
            sync_directory_or_fail(self._files, os.path.dirname(self._path))

    def delete(self) -> None:
        """Write nothing more. What is there is unlinked later, with the WAV. Never blocks."""
        self._deleted.set()

    def read(self, since: int, offset: int) -> tuple[list[Line], int]:
        """Return some lines numbered above `since`, and the offset to go on from.

        Raises:
            OSError: The file can't be read.
        """
        lines: list[Line] = []
        descriptor = self._files.open(self._path)
        try:
            while not lines:
                data = self._files.read(descriptor, _CHUNK_BYTES + MAX_RESULT_BYTES, offset)
                position = 0
                while position < _CHUNK_BYTES and (line := _LINE.match(data, position)):
                    position = line.end()
                    if int(line[2]) > since:
                        lines.append((int(line[2]), line[0].decode().rstrip("\n")))
                if not position:
                    break
                offset += position
        finally:
            self._files.close(descriptor)
        return lines, offset


class Results:
    """What the event loop knows of one recording's results, and who reads them.

    Args:
        read: Reads the file beside the loop, then calls back; see `ResultFile.read`.
    """

    def __init__(self, read: "Read") -> None:
        self.read = read
        self.last_seq = 0
        """The latest result that may be read."""
        self.older_seq = 0
        """Up to this number, results are only in the file."""
        self.recent: deque[Line] = deque()
        self.notices: list[str] = []
        self.is_over = False
        """Nothing more will come, or not soon."""
        self._readers: set[Reader] = set()
        self._recent_bytes = 0

    def reader(self, since: int, wake: Callable[[], None], notices: Sequence[str] = ()) -> "Reader":
        """Return a reader of what comes after number `since`, with news of its own first.

        `wake` is called when there is something to take.
        """
        reader = Reader(self, since, wake, notices)
        self._readers.add(reader)
        return reader

    def leave(self, reader: "Reader") -> None:
        """Forget a reader."""
        self._readers.discard(reader)
        if not self._readers:
            self._forget_recent(0)

    def loaded(self, last_seq: int) -> None:
        """So many results are in the file from before."""
        self.last_seq = self.older_seq = last_seq
        self._wake()

    def written(self, lines: Sequence[Line]) -> None:
        """These are in the file now."""
        self.last_seq = lines[-1][0]
        self.recent.extend(lines)
        self._recent_bytes += sum(len(text) for _, text in lines)
        self._forget_recent(RECENT_BYTES if self._readers else 0)
        self._wake()

    def notice(self, text: str) -> None:
        """There is news for the person."""
        self.notices.append(text)
        self._wake()

    def over(self) -> None:
        """Nothing more will come."""
        self.is_over = True
        self._wake()

    def _forget_recent(self, limit: int) -> None:
        while self._recent_bytes > limit:
            self.older_seq, text = self.recent.popleft()
            self._recent_bytes -= len(text)

    def _wake(self) -> None:
        for reader in tuple(self._readers):
            reader.wake()


Read = Callable[[int, int, Callable[[list[Line], int], None]], None]


class Reader:
    """The results as one connection reads them, each once and in order."""

    def __init__(
        self, results: Results, since: int, wake: Callable[[], None], notices: Sequence[str]
    ) -> None:
        self._results = results
        self._wake = wake
        self._own_notices = list(notices)
        self._seq = since
        self._notices = 0
        self._offset = 0
        self._chunk: list[Line] = []
        self._is_reading = False
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """There may be something to take."""
        self._changed.set()
        self._wake()

    def take(self) -> list[str]:
        """Return the next texts to send, some tens of KiB at most."""
        news = self._results.notices[self._notices :]
        self._notices += len(news)
        own, self._own_notices = self._own_notices, []
        lines = self._next_lines()
        if lines:
            self._seq = lines[-1][0]
        self._changed.set()
        return [*own, *news, *(text for _, text in lines)]

    def _next_lines(self) -> list[Line]:
        results = self._results
        if self._seq >= results.last_seq:
            return []
        if self._seq >= results.older_seq:
            return [line for line in results.recent if line[0] > self._seq]
        if not self._chunk:
            if not self._is_reading:
                self._is_reading = True
                results.read(self._seq, self._offset, self._has_read)
            return []
        lines, self._chunk = self._chunk, []
        asyncio.get_running_loop().call_soon(self.wake)
        return lines

    def _has_read(self, lines: list[Line], offset: int) -> None:
        self._is_reading = False
        self._chunk, self._offset = lines, offset
        if not lines:  # they are not in the file, whatever became of it
            self._seq = max(self._seq, self._results.older_seq)
        self.wake()

    async def all_taken(self) -> None:
        """Wait until nothing more will come and all has been taken."""
        while not self._has_all():
            self._changed.clear()
            await self._changed.wait()

    def _has_all(self) -> bool:
        results = self._results
        is_told = not self._own_notices and self._notices == len(results.notices)
        return results.is_over and is_told and self._seq >= results.last_seq

    def close(self) -> None:
        """Read no more."""
        self._results.leave(self)
