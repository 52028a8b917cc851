"""Segment files: prewritten, laid over with records, read back, and used again.

One thread at a time. What is durable when, and in which order names and bytes are
synced, is decided here; who waits for it is in `local`. See `spec/journal.md`.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import google_crc32c

from micwire.core.errors import MicwireError
from micwire.core.interfaces import Files
from micwire.core.recording import Ledger, LogContradictionError, RecordingState
from micwire.core.records import (
    HEADER,
    NO_RECORDING,
    Kind,
    Record,
    encode_header,
    read_records,
    recording_id,
)
from micwire.core.storage import is_no_room, sync_directory_or_fail, sync_or_fail, write_all

SEGMENT_BYTES = 16 << 20
_LARGE_HEAD_BYTES = 256 << 10
_LARGE_SEGMENT_BYTES = 48 << 20
MAX_SPARES = 16
"""How many used segments are kept to be written over: prewriting one costs a pause."""
_ADVICE = "Nothing was changed; keep a copy of the data directory"
_ZEROS = bytes(1 << 20)
_SUFFIX = ".segment"
_SPARE = "spare"
_COMING = "-coming"  # one that is prewritten beside the commits


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
        self._first = 0
        """Number of the oldest segment that is needed: what was before is in the library."""
        self._spares: list[str] = []
        self._is_name_unsynced = False
        """The last removal of a segment may be undone by a power cut."""
        self._spares_lock = threading.Lock()
        self._pins_lock = threading.Lock()
        self.segments: list[Segment] = []
        """The log, oldest first; the last one is being written."""
        self.ledger = Ledger()
        """All that is durable, record by record."""

    # ---- reading ---------------------------------------------------------------

    def scan(self) -> None:
        """Read every segment up to its first bad record, into `segments` and `ledger`.

        Raises:
            JournalDamagedError: Durable records are missing between two segments.
            OSError: The file system failed.
        """
        self._files.make_directory(self._directory)
        self._files.sync_directory(self._directory.rpartition("/")[0])
        names = self._files.names(self._directory)
        self._spares = [f"{self._directory}/{name}" for name in names if name.startswith(_SPARE)]
        found = self._contiguous(names)
        if found and self._oldest_needed(found[-1]) is None:
            # The process died while it began this one: nothing in it counts, and the next
            # segment takes its number and its place.
            torn = found.pop()
            if not found and torn.number > 1:
                raise JournalDamagedError(f"{torn.path} is damaged: it has no head. {_ADVICE}")
        if found:
            self._first = max(self._oldest_needed(found[-1]) or 0, found[0].number)
        for segment in found:
            if segment.number >= self._first:
                self._read(segment, is_last=segment is found[-1])
            self.segments.append(segment)

    def _contiguous(self, names: list[str]) -> list[Segment]:
        # Segments are removed from the oldest on. One that stands before a hole was
        # removed once; its name came back because the directory was not synced yet.
        found = sorted((int(name[:-8]), name) for name in names if _is_segment(name))
        first = len(found) - 1
        while first > 0 and found[first - 1][0] == found[first][0] - 1:
            first -= 1
        for _, name in found[: max(first, 0)]:
            self._files.unlink(f"{self._directory}/{name}")
        return [
            Segment(number, path := f"{self._directory}/{name}", self._size(path))
            for number, name in found[max(first, 0) :]
        ]

    def _oldest_needed(self, segment: Segment) -> int | None:
        """Return which segment the log began with as this one was; None if its head is torn."""
        opened = _opened(self._records(segment))
        return None if opened is None else opened[0]

    def _read(self, segment: Segment, *, is_last: bool) -> None:
        records = self._records(segment)
        opened = _opened(records)
        if opened is None:
            raise JournalDamagedError(f"{segment.path} is damaged: it has no head. {_ADVICE}")
        head = opened[1]
        if segment.number > self._first and not is_last:
            # Read in passing, for a thousand states are slow to parse: the last head is
            # compared whole, and what was lost on the way to it shows there.
            self._compare_ends(segment.number - 1, head)
        else:
            states = {key: RecordingState.from_record(record) for key, record in head.items()}
            if segment.number > self._first:
                self._compare(segment.number - 1, states)
            self.ledger.states = states
        for record in records:
            try:
                self.ledger.apply(record)
            except LogContradictionError as error:
                raise JournalDamagedError(
                    f"{segment.path} is damaged: {error}. {_ADVICE}"
                ) from error
            segment.pin(record)

    def _compare_ends(self, number: int, head: Mapping[bytes, Record]) -> None:
        read = {key: (state.frames, state.epoch) for key, state in self.ledger.states.items()}
        told = {key: (record.first_frame, record.epoch) for key, record in head.items()}
        if read != told:
            states = {key: RecordingState.from_record(record) for key, record in head.items()}
            self._compare(number, states)

    def _compare(self, number: int, states: dict[bytes, RecordingState]) -> None:
        # Each segment is synced before the next begins, so the states at the head of
        # one are what the segments before it add up to.
        read = self.ledger.states
        for key in read.keys() | states.keys():
            if read.get(key) != states.get(key):
                raise JournalDamagedError(
                    f"journal segment {number} is damaged: durable records of recording"
                    f" {recording_id(key)} can't be read from it. {_ADVICE}"
                )

    def _records(self, segment: Segment) -> Iterator[Record]:
        descriptor = self._files.open(segment.path)
        try:
            data = self._files.read(descriptor, segment.capacity, 0)
        finally:
            self._files.close(descriptor)
        return read_records(data, segment.number, google_crc32c.value, google_crc32c.extend)

    def _size(self, path: str) -> int:
        descriptor = self._files.open(path)
        try:
            return self._files.size(descriptor)
        finally:
            self._files.close(descriptor)

    def frames(self) -> Iterator[Record]:
        """Yield the FRAMES and GAP records that are not surely in the library, in order."""
        for segment in self.segments:
            if segment.number >= self._first:
                for record in self._records(segment):
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
            try:
                start = self._write_some(records, start)
                if start < len(records):
                    self._rotate(records[start].size)
            except OSError as error:
                if not is_no_room(error):
                    raise
                raise NoRoomError(start) from error

    def _write_some(self, records: Sequence[Record], start: int) -> int:
        """Write what fits into the open segment; return where the rest starts."""
        if self._descriptor < 0:
            return start  # what an earlier process wrote is read, never written to
        segment = self.segments[-1]
        end = _fitting(records, start, segment.capacity - segment.used)
        if end > start:
            self._lay(self._descriptor, segment, records[start:end])
            sync_or_fail(self._files, self._descriptor)
            self._apply(segment, records[start:end])
        return end

    def _lay(self, descriptor: int, segment: Segment, records: Sequence[Record]) -> None:
        buffers: list[bytes | memoryview] = []
        for record in records:
            buffers.append(
                encode_header(record, segment.number, google_crc32c.value, google_crc32c.extend)
            )
            buffers.append(record.payload)
        segment.used = write_all(self._files, descriptor, buffers, segment.used)

    def _apply(self, segment: Segment, records: Sequence[Record]) -> None:
        for record in records:
            self.ledger.apply(record)
        with self._pins_lock:
            for record in records:
                segment.pin(record)

    def _rotate(self, room: int) -> None:
        """Begin the next segment: its head and every state are durable when this returns.

        Raises:
            OSError: No segment could be made; the one before is untouched.
        """
        is_first = self._descriptor < 0
        states = [state.record() for state in self.ledger.states.values()]
        head_bytes = HEADER.size + sum(record.size for record in states)
        capacity = max(self._segment_bytes, 2 * (head_bytes + room))
        if head_bytes > _LARGE_HEAD_BYTES:  # so that a thousand states are not written too often
            capacity = max(capacity, _LARGE_SEGMENT_BYTES)
        number = self.segments[-1].number + 1 if self.segments else 1
        path = f"{self._directory}/{number:012}{_SUFFIX}"
        spare = self._prepare(capacity)
        self._files.rename(spare, path)
        with self._spares_lock:
            self._spares.remove(spare)
        # Before a byte is written: if the rename were forgotten, the bytes would lie in
        # a file that goes by an older segment's name.
        sync_directory_or_fail(self._files, self._directory)
        # This process began once all that older ones left was in the library. Only this
        # head says so: what older segments hold need not even be on the disk, if the
        # kernel alone remembered it.
        first = number if is_first else self._first
        segment = Segment(number, path, capacity)
        descriptor = self._files.open(path)
        try:
            head = Record(Kind.HEAD, NO_RECORDING, first, len(states))
            self._lay(descriptor, segment, [head, *states])
            sync_or_fail(self._files, descriptor)
        except BaseException:
            self._files.close(descriptor)
            raise
        self.close()
        self._descriptor, self._first = descriptor, first
        with self._pins_lock:
            if is_first:
                for old in self.segments:
                    old.pins.clear()
            self.segments.append(segment)

    def _prepare(self, capacity: int) -> str:
        """Return the path of a spare file of at least `capacity` prewritten, durable bytes."""
        with self._spares_lock:
            if not self._spares:
                self._spares.append(f"{self._directory}/{_SPARE}{self._free_number()}")
            path = self._spares[-1]
            self._prewrite(path, capacity)
            return path

    def wants_spare(self) -> bool:
        """Tell whether the next rotation would have to prewrite a segment, and wait for it."""
        return not self._spares and self._descriptor >= 0

    def make_spare(self) -> None:
        """Prewrite a segment beside the commits. Any thread.

        Raises:
            OSError: As the disk does.
        """
        path = f"{self._directory}/{_SPARE}{_COMING}"
        self._prewrite(path, self.segments[-1].capacity)
        with self._spares_lock:
            self._spares.insert(0, path)

    def drop_coming(self) -> None:
        """Give back the room of a spare that could not be made. Only after `make_spare`."""
        self._files.unlink(f"{self._directory}/{_SPARE}{_COMING}")

    def _prewrite(self, path: str, capacity: int) -> None:
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

    def _free_number(self) -> int:
        taken = {path[len(self._directory) + 1 :] for path in self._spares}
        return next(i for i in range(len(taken) + 1) if f"{_SPARE}{i}" not in taken)

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
        # What was scanned may be on no disk yet: only the head of a segment says that all
        # before it was synced. Until this process has written one, two are kept.
        needed = 1 if self._descriptor >= 0 else 2
        return len(self.segments) > needed and not self.segments[0].pins

    def remove_released(self) -> None:
        """Take the oldest segments out of the log as long as nothing pins them.

        Where that needs room that is not there, it goes on at the next call.
        """
        try:
            while self._remove_one():
                pass
        except OSError as error:
            if not is_no_room(error):
                raise

    def _remove_one(self) -> bool:
        # Names leave the log oldest first, and durably so, or an old segment could come
        # back behind a hole.
        if self._is_name_unsynced:
            sync_directory_or_fail(self._files, self._directory)
            self._is_name_unsynced = False
        with self._pins_lock:
            if not self._has_released():
                return False
        self._rename_away(self.segments[0])
        self._is_name_unsynced = True
        with self._pins_lock:
            del self.segments[0]
        return True

    def _rename_away(self, segment: Segment) -> None:
        # The file becomes a spare unless there are enough.
        with self._spares_lock:
            if len(self._spares) < MAX_SPARES:
                spare = f"{self._directory}/{_SPARE}{self._free_number()}"
                self._files.rename(segment.path, spare)
                self._spares.insert(0, spare)
            else:
                self._files.unlink(segment.path)

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


def _opened(records: Iterator[Record]) -> tuple[int, dict[bytes, Record]] | None:
    """Read a segment's head: the oldest segment needed, and all states; None unless whole."""
    head = next(records, None)
    if head is None or head.kind is not Kind.HEAD:
        return None
    states: dict[bytes, Record] = {}
    while len(states) < head.frames:
        record = next(records, None)
        if record is None or record.kind is not Kind.STATE:
            return None
        states[record.recording] = record
    return head.first_frame, states
