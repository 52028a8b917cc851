"""What the streams carry: message sizes, sample values, and the WAV data they must become."""

import hashlib
import math
import struct
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Kind:
    """One way to send mono sound: `frames` per message at `sample_rate`."""

    name: str
    encoding: str
    frames: int
    sample_rate: int = 48_000

    @property
    def is_float(self) -> bool:
        """Tell float32 from int16."""
        return self.encoding == "pcm_f32le"

    @property
    def frame_bytes(self) -> int:
        """Return the size of one frame on the wire."""
        return 4 if self.is_float else 2

    @property
    def interval_s(self) -> float:
        """Return how long one message sounds."""
        return self.frames / self.sample_rate

    @cached_property
    def block(self) -> bytes:
        """Return the sound of one message: a 440 Hz sine at 0.7 of full scale."""
        sine = [math.sin(math.tau * 440 * n / 48_000) for n in range(self.frames)]
        if self.is_float:
            return struct.pack(f"<{self.frames}f", *(0.7 * value for value in sine))
        return struct.pack(f"<{self.frames}h", *(round(32_000 * value) for value in sine))

    @cached_property
    def block_as_int16(self) -> bytes:
        """Return `block` as a recording with `store=pcm_s16le` must hold it."""
        if not self.is_float:
            return self.block
        samples = struct.unpack(f"<{self.frames}f", self.block)
        scaled = (max(-32768, min(32767, round(value * 32768))) for value in samples)
        return struct.pack(f"<{self.frames}h", *scaled)


KINDS = {
    kind.name: kind
    for kind in (Kind("f32-1024", "pcm_f32le", 1024), Kind("s16-100ms", "pcm_s16le", 4800))
}


class Route(Enum):
    """How streams reach a server, and what they may expect of it."""

    STREAM = "stream"
    """micwire's own wire: numbered frames, acks, `finished`."""
    PLAIN = "plain"
    """micwire's plain socket: bare frames, acks, `finished`."""
    SINK = "sink"
    """A peer: bare frames, and no word back."""

    def target(self, kind: Kind) -> str:
        """Return the path and query to ask for."""
        if self is Route.STREAM:
            return "/v1/stream"
        query = f"encoding={kind.encoding}&sample_rate={kind.sample_rate}&channels=1"
        return f"/websocket?{query}&store=pcm_s16le{'&events=1' if self is Route.PLAIN else ''}"


def digest(block: bytes, blocks: int) -> str:
    """Return the digest, as the wire defines it, of `block` repeated `blocks` times."""
    # A stretch of whole blocks is sliced, so that ten hours never stand in memory.
    stretch = block * (_PIECE_BYTES // len(block) + 2)
    pieces, total = hashlib.sha256(), len(block) * blocks
    for start in range(0, total, _PIECE_BYTES):
        size, shift = min(_PIECE_BYTES, total - start), start % len(block)
        pieces.update(hashlib.sha256(stretch[shift : shift + size]).digest())
    return pieces.hexdigest()
