"""What audio is here: encodings, formats and the sizes that follow from them.

*sample*: one number. *frame*: one sample per channel at one instant. Nothing here
touches sample values: micwire's own path moves bytes and never converts them.
"""

from dataclasses import dataclass
from enum import StrEnum

from micwire.core.errors import UnsupportedFormatError

MIN_SAMPLE_RATE = 8_000
MAX_SAMPLE_RATE = 384_000
MAX_CHANNELS = 64


class Encoding(StrEnum):
    """How one sample is written, little endian; named as in FFmpeg."""

    S16 = "pcm_s16le"
    S24 = "pcm_s24le"
    F32 = "pcm_f32le"

    @property
    def sample_bytes(self) -> int:
        """Return the size of one sample: 2, 3 or 4 bytes."""
        return _SAMPLE_BYTES[self]

    @property
    def is_float(self) -> bool:
        """Tell IEEE float from integer PCM."""
        return self is Encoding.F32


_SAMPLE_BYTES = {Encoding.S16: 2, Encoding.S24: 3, Encoding.F32: 4}


@dataclass(frozen=True, slots=True)
class Format:
    """The one format a recording has from its first frame to its last.

    Args:
        encoding: How samples are written.
        sample_rate: Frames per second, 8,000 to 384,000 Hz.
        channels: 1 to 64.

    Raises:
        UnsupportedFormatError: A value is outside its range.

    >>> Format(Encoding.S16, 48_000, 2).frame_bytes
    4
    """

    encoding: Encoding
    sample_rate: int
    channels: int

    def __post_init__(self) -> None:
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise UnsupportedFormatError(
                f"sample rate {self.sample_rate} Hz is not within"
                f" {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
            )
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise UnsupportedFormatError(
                f"{self.channels} channels are not within 1 to {MAX_CHANNELS}"
            )

    @property
    def frame_bytes(self) -> int:
        """Return the size of one frame in bytes."""
        return self.encoding.sample_bytes * self.channels

    def seconds(self, frames: int) -> float:
        """Return how long `frames` last, in seconds."""
        return frames / self.sample_rate

    @staticmethod
    def parse(encoding: str, sample_rate: int, channels: int) -> "Format":
        """Make a format from the words of the wire.

        Raises:
            UnsupportedFormatError: The encoding is unknown or a number is out of range.
        """
        try:
            known = Encoding(encoding)
        except ValueError:
            raise UnsupportedFormatError(
                f"encoding {encoding[:40]!r} is none of {', '.join(Encoding)}"
            ) from None
        return Format(known, sample_rate, channels)
