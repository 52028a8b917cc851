"""The bytes of the journal: records, and how a segment of them is read back.

A segment is a file of prewritten bytes that records are laid over, one behind the other.
It begins with a HEAD record and the states it counts; whatever follows the last good
record is rubbish from the file's earlier life. See `spec/journal.md`.

The checksum (CRC-32C) is handed in: the fast one is not in the standard library.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from uuid import UUID

Checksum = Callable[[bytes], int]
"""CRC-32C (Castagnoli) of some bytes."""
Extend = Callable[[int, bytes], int]
"""CRC-32C of earlier bytes, continued over further ones."""

MAGIC = b"mwj1"
HEADER = Struct("<4sIIB3xQ16sQQIII4x")
"""Magic, length, checksum, kind, segment, recording, first frame, frames, epoch, clipped,
nonfinite: 72 bytes, and behind them `length` bytes of payload. The checksum is over header
(with itself as zero) and payload."""
_CRC = Struct("<I")
_CRC_AT = 8
NO_RECORDING = bytes(16)


class Kind(IntEnum):
    """What a record says. The numbers are on disk: never reuse one."""

    HEAD = 1
    """A segment begins; `frames` counts the STATE records that follow at once."""
    STATE = 2
    """All that is known of one recording at this point of the log, as JSON."""
    FRAMES = 3
    """Audio: `frames` frames from `first_frame` on, interleaved."""
    GAP = 4
    """Frames lost before us; the payload is JSON: cause, exact."""
    MARK = 5
    """A cue point at `first_frame`; the payload is the label."""
    FINISH = 6
    """No more frames will come; the payload is JSON: status and the client's digest."""
    DELETE = 7
    """The recording is to vanish."""
    CLOSED = 8
    """The recording is in the library for good; the journal forgets it."""


# On Python 3.11 `Kind.FRAMES` is a slow look-up, and these are compared for every message.
_FRAMES = Kind.FRAMES
_GAP = Kind.GAP


@dataclass(slots=True)
class Record:
    """One entry of the log. `clipped` and `nonfinite` count samples of this record."""

    kind: Kind
    recording: bytes
    first_frame: int = 0
    frames: int = 0
    epoch: int = 0
    payload: bytes | memoryview = b""
    clipped: int = 0
    nonfinite: int = 0

    @property
    def is_audio(self) -> bool:
        """Tell whether the record moves the recording's end: frames or a gap."""
        return self.kind is _FRAMES or self.kind is _GAP

    @property
    def is_gap(self) -> bool:
        """Tell whether the record declares frames lost."""
        return self.kind is _GAP

    @property
    def end(self) -> int:
        """Return the frame behind the last one of this record."""
        return self.first_frame + self.frames

    @property
    def size(self) -> int:
        """Return how many bytes the record takes in a segment."""
        return HEADER.size + len(self.payload)


def recording_bytes(recording: str) -> bytes:
    """Return the 16 bytes of a recording's id."""
    return UUID(recording).bytes


def recording_id(raw: bytes) -> str:
    """Return the id of a recording as the wire writes it."""
    return str(UUID(bytes=raw))


def encode_header(record: Record, segment: int, checksum: Checksum, extend: Extend) -> bytes:
    """Return the header to write before `record.payload` in segment number `segment`."""
    payload = record.payload
    header = HEADER.pack(
        MAGIC,
        len(payload),
        0,
        record.kind,
        segment,
        record.recording,
        record.first_frame,
        record.frames,
        record.epoch,
        record.clipped,
        record.nonfinite,
    )
    crc = extend(checksum(header), payload if type(payload) is bytes else bytes(payload))
    return b"%b%b%b" % (header[:_CRC_AT], _CRC.pack(crc), header[_CRC_AT + 4 :])


def read_records(
    data: bytes | memoryview, segment: int, checksum: Checksum, extend: Extend
) -> Iterator[Record]:
    """Yield the records of a segment up to the first bad one.

    Bad is: no magic, another segment's number, a length beyond the file, an unknown
    kind, or a wrong checksum. What lies behind a bad record is never looked at.
    """
    view, offset = memoryview(data), 0
    while offset + HEADER.size <= len(view):
        magic, length, crc, kind, number, *rest = HEADER.unpack_from(view, offset)
        end = offset + HEADER.size + length
        if magic != MAGIC or number != segment or end > len(view) or kind not in _KINDS:
            return
        header = bytearray(view[offset : offset + HEADER.size])
        _CRC.pack_into(header, _CRC_AT, 0)
        payload = view[offset + HEADER.size : end]
        if extend(checksum(bytes(header)), bytes(payload)) != crc:
            return
        recording, first_frame, frames, epoch, clipped, nonfinite = rest
        yield Record(Kind(kind), recording, first_frame, frames, epoch, payload, clipped, nonfinite)
        offset = end


_KINDS = frozenset(Kind)
