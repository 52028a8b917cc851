"""What an analyzer is given, and what makes a function one.

An analyzer is a plain function: a block of sound in, what it says of it out. Nothing here
runs one, or knows where sound comes from.

    @micwire.analyzer(block_ms=100)
    def loudest(block: micwire.AudioBlock) -> dict[str, float]:
        return {"peak": float(abs(block.samples).max())}
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from micwire.core.audio import Encoding, Format

MIN_BLOCK_MS, MAX_BLOCK_MS = 5, 10_000
MAX_BLOCK_BYTES = 16 << 20
"""The largest block as float32: many channels at a high rate get shorter blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class AudioBlock:
    """Frames in a row of one recording, in its own sample rate and channels.

    Frames that were lost are in no block: one ends where a gap begins, and the next
    begins behind it. So a block, as the last of a recording, may be shorter than asked for.
    """

    samples: NDArray[np.float32]
    """Shape (frames, channels), float32, full scale at -1.0 and 1.0. A float recording may
    hold what is beyond, NaN and infinities too. Not writable in part of the encodings."""
    first_frame: int
    """Index of the first frame in the recording."""
    sample_rate: int
    """Frames per second."""
    recording: str
    """The recording's id."""

    @property
    def frames(self) -> int:
        """How many frames the block has; at least one."""
        return len(self.samples)

    @property
    def channels(self) -> int:
        """How many samples a frame has."""
        return int(self.samples.shape[1])


Function = Callable[[AudioBlock], Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class Analyzer:
    """A function that analyses blocks, and how long it wants them; made by `analyzer`."""

    function: Function
    block_ms: float

    def __call__(self, block: AudioBlock) -> Mapping[str, object] | None:
        """Return what the function says of a block."""
        return self.function(block)

    def block_frames(self, audio_format: Format) -> int:
        """Return how many frames a whole block of such a recording has; at least one."""
        wanted = round(self.block_ms * audio_format.sample_rate / 1000)
        return max(1, min(wanted, MAX_BLOCK_BYTES // (4 * audio_format.channels)))


def analyzer(*, block_ms: float = 100) -> Callable[[Function], Analyzer]:
    """Make a function an analyzer, to be named in the setting `analyzers`.

    The function is called with the blocks of a recording in order, each frame once but
    for a restart of the server, on a thread of its own analyzer: of several recordings at
    the same time, so it keeps nothing between calls. It returns a dict that JSON can say
    (no NaN, no infinities), which is sent to the client as a `result`, or None. If it
    raises, it is stopped for this recording, and the client is told by a `notice`.

    Args:
        block_ms: How long a block is, 5 to 10,000 ms.

    Raises:
        ValueError: `block_ms` is out of range.
        TypeError: What is decorated is no plain function, but async or a generator.

    >>> @analyzer(block_ms=20)
    ... def frames(block: AudioBlock) -> dict[str, object]:
    ...     return {"frames": block.frames}
    >>> frames.block_frames(Format(Encoding.S16, 48_000, 2))
    960
    """
    if not MIN_BLOCK_MS <= block_ms <= MAX_BLOCK_MS:
        raise ValueError(f"block_ms={block_ms} is not within {MIN_BLOCK_MS} to {MAX_BLOCK_MS}")

    def decorate(function: Function) -> Analyzer:
        kinds = (
            inspect.iscoroutinefunction,
            inspect.isasyncgenfunction,
            inspect.isgeneratorfunction,
            inspect.isclass,
        )
        if not callable(function) or any(is_kind(function) for is_kind in kinds):
            raise TypeError(f"{function!r} is no plain function from a block to a dict or None")
        return Analyzer(function, block_ms)

    return decorate


def decode_samples(data: bytes | memoryview, audio_format: Format) -> NDArray[np.float32]:
    """Return whole frames of a format as floats: shape (frames, channels), exact.

    >>> decode_samples(bytes([0, 0x40, 0, 0x80]), Format(Encoding.S16, 48_000, 2)).tolist()
    [[0.5, -1.0]]
    """
    match audio_format.encoding:
        case Encoding.F32:
            samples = np.frombuffer(data, dtype="<f4")
        case Encoding.S16:
            samples = np.frombuffer(data, dtype="<i2") * np.float32(2**-15)
        case Encoding.S24:
            # As the upper three bytes of 32 bits: the sign is right, and 24 bits fit a float.
            wide = np.zeros((len(data) // 3, 4), dtype=np.uint8)
            wide[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
            samples = wide.view("<i4")[:, 0] * np.float32(2**-31)
    return samples.astype(np.float32, copy=False).reshape(-1, audio_format.channels)
