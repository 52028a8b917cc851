"""Segment files: prewritten, laid over with records, read back, and used again.

One thread at a time. What is durable when, and in which order names and bytes are
synced, is decided here; who waits for it is in `local`. See `spec/journal.md`.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from micwire.core.errors import MicwireError
from micwire.core.interfaces import Files
from micwire.core.recording import Ledger, LogContradictionError, RecordingState
from micwire.core.records import HEADER, NO_RECORDING, Kind, Record, encode_header, read_records
from micwire.core.storage import is_no_room, sync_or_fail, write_all

SEGMENT_BYTES = 16 << 20
MAX_SPARES = 16
"""How many used segments are kept to be written over: prewriting one costs a pause."""
_ZEROS = bytes(1 << 20)
_SUFFIX = ".segment"
_SPARE = "spare"


class JournalDamagedError(MicwireError):
    """The journal contradicts itself: something other than micwire has altered it."""

    code = "journal-damaged"


@dataclass(slots=True)
class Segment:
    """One file of the journal; `pins` are the recordings whose frames still need it."""

    number: int
    path: str
    capacity: int
    used: int = 0
    pins: dict[bytes, int] = field(default_factory=dict)

    def pin(self, record: Record) -> None:
        """Note that the segment holds frames of a recording."""
        if record.is_audio:
            self.pins[record.recording] = record.end


class SegmentStore:
    """The directory of segments: scan it once, then write batches and rotate.

    Args:
        directory: Where segments live; created if it is missing.
        files: The file system.
        segment_bytes: Size of a segment; larger where the states alone need more.
    """

    def __init__(self, directory: Path, files: Files, segment_bytes: int) -> None:
        self._directory = str(directory)
        self._files = files
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._spares: list[str] = []
        self._pins_lock = threading.Lock()
        self.segments: list[Segment] = []
        """The log, oldest first; the last one is being written."""
        self.ledger = Ledger()
        """All that is durable, record by record."""

    # ---- reading ---------------------------------------------------------------

    def scan(self) -> None:
        """Read every segment up to its first bad record, into `segments` and `ledger`.

        Raises:
            JournalDamagedError: Durable frames are missing between two segments.
            OSError: The file system failed.
        """
        self._files.make_directory(self._directory)
        names = self._files.names(self._directory)
        self._spares = [f"{self._directory}/{name}" for name in names if name.startswith(_SPARE)]
        for number, name in self._contiguous(names):
            self.segments.append(self._read(number, name))

    def _contiguous(self, names: list[str]) -> list[tuple[int, str]]:
        # Segments are removed from the oldest on. One that stands before a hole was
        # removed once; its name came back because the directory was not synced yet.
        found = sorted((int(name[:-8]), name) for name in names if _is_segment(name))
        first = len(found) - 1
        while first > 0 and found[first - 1][0] == found[first][0] - 1:
            first -= 1
        for _, name in found[: max(first, 0)]:
            self._files.unlink(f"{self._directory}/{name}")
        return found[max(first, 0) :]

    def _read(self, number: int, name: str) -> Segment:
        path = f"{self._directory}/{name}"
        data = self._bytes(path)
        records = read_records(data, number, google_crc32c.value, google_crc32c.extend)
        states = _head_states(records)
        if states is None:
            # The process died before this segment's first commit: nothing in it counts.
            return Segment(number, path, len(data))
        self._compare(number, states)
        self.ledger.states = states
        segment = Segment(number, path, len(data))
        for record in records:
            try:
                self.ledger.apply(record)
            except LogContradictionError as error:
                raise JournalDamagedError(f"{path} is damaged: {error}") from error
            segment.pin(record)
        return segment

    def _compare(self, number: int, states: dict[bytes, RecordingState]) -> None:
        # Each segment is synced before the next begins, so the states at the head of
        # one are what the segments before it add up to.
        for recording, state in states.items():
            before = self.ledger.states.get(recording)
            if before is not None and before.frames < state.frames:
                raise JournalDamagedError(
                    f"journal segment {number - 1} is damaged: recording {state.about.recording}"
                    f" had {state.frames} durable frames, and only {before.frames} are readable."
                    " Nothing was changed; keep a copy of the data directory"
                )

    def _bytes(self, path: str) -> bytes:
        descriptor = self._files.open(path)
        try:
            return self._files.read(descriptor, self._files.size(descriptor), 0)
        finally:
            self._files.close(descriptor)

    def frames(self) -> Iterator[Record]:
        """Yield the FRAMES and GAP records of all segments, in order."""
        for segment in self.segments:
            data = self._bytes(segment.path)
            for record in read_records(
                data, segment.number, google_crc32c.value, google_crc32c.extend
            ):
                if record.is_audio:
                    yield record

    # ---- writing ---------------------------------------------------------------

    def write(self, records: Sequence[Record]) -> None:
        """Write records and sync them, over as many segments as it takes.

        Raises:
            OSError: The disk failed. What was written may or may not be there.
            NoRoomError: A further segment was needed and there is no room for it. The
                records before `error.written` are durable; the rest may be tried again.
        """
        start = 0
        while start < len(records):
            segment = self.segments[-1]
            end = _fitting(records, start, segment.capacity - segment.used)
            if end > start:
                self._lay(segment, records[start:end])
                sync_or_fail(self._files, self._descriptor)
                self._apply(segment, records[start:end])
                start = end
            if start < len(records):
                try:
                    self.rotate(records[start].size)
                except OSError as error:
                    if not is_no_room(error):
                        raise
                    raise NoRoomError(start) from error

    def _lay(self, segment: Segment, records: Sequence[Record]) -> None:
        buffers: list[bytes | memoryview] = []
        for record in records:
            buffers.append(
                encode_header(record, segment.number, google_crc32c.value, google_crc32c.extend)
            )
            buffers.append(record.payload)
        segment.used = write_all(self._files, self._descriptor, buffers, segment.used)

    def _apply(self, segment: Segment, records: Sequence[Record]) -> None:
        for record in records:
            self.ledger.apply(record)
        with self._pins_lock:
            for record in records:
                segment.pin(record)

    def rotate(self, room: int = 0) -> None:
        """Begin the next segment: its head and every state are durable when this returns.

        Raises:
            OSError: No segment could be made; the one before is untouched.
        """
        states = [state.record() for state in self.ledger.states.values()]
        needed = HEADER.size + sum(record.size for record in states) + room
        capacity = max(self._segment_bytes, 2 * needed)
        number = self.segments[-1].number + 1 if self.segments else 1
        path = f"{self._directory}/{number:012}{_SUFFIX}"
        self._files.rename(self._prepare(capacity), path)
        self._spares.pop()
        # Before a byte is written: if the rename were forgotten, the bytes would lie in
        # a file that goes by an older segment's name.
        self._files.sync_directory(self._directory)
        segment = Segment(number, path, capacity)
        descriptor = self._files.open(path)
        previous, self._descriptor = self._descriptor, descriptor
        head = Record(Kind.HEAD, NO_RECORDING, frames=len(states))
        self._lay(segment, [head, *states])
        sync_or_fail(self._files, descriptor)
        with self._pins_lock:
            self.segments.append(segment)
        if previous >= 0:
            self._files.close(previous)

    def _prepare(self, capacity: int) -> str:
        """Return the path of a spare file of at least `capacity` prewritten, durable bytes."""
        path = self._spares[-1] if self._spares else f"{self._directory}/{_SPARE}0"
        descriptor = self._files.open(path, create=True)
        try:
            size = self._files.size(descriptor)
            if size < capacity:
                while size < capacity:
                    zeros = memoryview(_ZEROS)[: min(len(_ZEROS), capacity - size)]
                    size = write_all(self._files, descriptor, [zeros], size)
                sync_or_fail(self._files, descriptor)
        finally:
            self._files.close(descriptor)
        if not self._spares:
            self._spares.append(path)
        return path

    def release(self, recording: bytes, end: int | None) -> bool:
        """Drop the pins of a recording before `end`; True if a segment can go. Any thread."""
        with self._pins_lock:
            for segment in self.segments:
                pinned = segment.pins.get(recording)
                if pinned is not None and (end is None or pinned <= end):
                    del segment.pins[recording]
            return self._has_released()

    def oldest_pins(self) -> list[bytes]:
        """Return the recordings that keep the oldest segment in the log. Any thread."""
        with self._pins_lock:
            return list(self.segments[0].pins) if len(self.segments) > 1 else []

    def _has_released(self) -> bool:
        return len(self.segments) > 1 and not self.segments[0].pins

    def remove_released(self) -> None:
        """Take the oldest segments out of the log as long as nothing pins them."""
        while True:
            with self._pins_lock:
                if not self._has_released():
                    return
                segment = self.segments.pop(0)
            self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        # The file becomes a spare unless there are enough.
        if len(self._spares) < MAX_SPARES:
            taken = {path[len(self._directory) + 1 :] for path in self._spares}
            free = next(name for i in range(MAX_SPARES) if (name := f"{_SPARE}{i}") not in taken)
            self._files.rename(segment.path, f"{self._directory}/{free}")
            self._spares.insert(0, f"{self._directory}/{free}")
        else:
            self._files.unlink(segment.path)
        # Names leave the log oldest first, and durably so, or an old segment could come
        # back behind a hole.
        self._files.sync_directory(self._directory)

    def close(self) -> None:
        """Close the open file."""
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1


class NoRoomError(MicwireError):
    """There is no room for a further segment; the first `written` records are durable."""

    code = "storage-full"

    def __init__(self, written: int) -> None:
        super().__init__("no room for a further journal segment")
        self.written = written


def _is_segment(name: str) -> bool:
    return name.endswith(_SUFFIX) and name[: -len(_SUFFIX)].isdigit()


def _fitting(records: Sequence[Record], start: int, room: int) -> int:
    end = start
    while end < len(records) and records[end].size <= room:
        room -= records[end].size
        end += 1
    return end


def _head_states(records: Iterator[Record]) -> dict[bytes, RecordingState] | None:
    """Read a segment's head; None unless it is whole."""
    head = next(records, None)
    if head is None or head.kind is not Kind.HEAD:
        return None
    states: dict[bytes, RecordingState] = {}
    while len(states) < head.frames:
        record = next(records, None)
        if record is None or record.kind is not Kind.STATE:
            return None
        states[record.recording] = RecordingState.from_record(record)
    return states
