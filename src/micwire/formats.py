"""Sound in other formats: frames in, FLAC, Opus or MP3 out, a piece at a time.

What PyAV (FFmpeg) does, which is an extra: `pip install 'micwire[formats]'`. Nothing is
sought and little is held, so that a client hears the beginning while the rest is encoded.
FLAC holds integers exactly; floats become 24 bits. All calls block.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from micwire.core.audio import Encoding, Format
from micwire.core.errors import MicwireError

INSTALL = "pip install 'micwire[formats]'"
PIECE_BYTES = 256 << 10
"""So much sound is encoded at a time; it comes out as a few KiB to as much again."""
_OPUS_RATE = 48_000
_FULL_SCALE_24 = 1 << 23
_STREAMINFO_COUNT = 21
"""Where the low four bytes of a FLAC's count of frames are; the byte before has four bits more."""
_MAX_FLAC_FRAMES = 2**36 - 1


class FormatsMissingError(MicwireError):
    """PyAV is not installed."""

    code = "formats-missing"

    def __init__(self) -> None:
        super().__init__(f"FLAC, Opus and MP3 need an extra: {INSTALL}")


class UnfitFormatError(MicwireError):
    """This sound can't be put into that format; the text says why."""

    code = "unfit-format"


@dataclass(frozen=True, slots=True)
class _Facts:
    muxer: str
    codec: str
    max_channels: int
    rates: frozenset[int] | None
    """None: all of them."""
    bits_per_second: int | None
    """Of each channel; None where the sound decides."""


class Compressed(Enum):
    """A format that is encoded; the value is the suffix of its files."""

    FLAC = "flac"
    OPUS = "opus"
    MP3 = "mp3"

    @property
    def media_type(self) -> str:
        """Return the media type (RFC 9639, RFC 7845, RFC 3003)."""
        return {"flac": "audio/flac", "opus": "audio/ogg", "mp3": "audio/mpeg"}[self.value]


_MP3_RATES = frozenset({8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
_FACTS = {
    Compressed.FLAC: _Facts("flac", "flac", 8, None, None),
    Compressed.OPUS: _Facts("ogg", "libopus", 8, None, 64_000),
    Compressed.MP3: _Facts("mp3", "libmp3lame", 2, _MP3_RATES, 96_000),
}
_LAYOUTS = {1: "mono", 2: "stereo"}


def check_fit(kind: Compressed, audio_format: Format) -> None:
    """Tell whether a format can hold this sound.

    Raises:
        FormatsMissingError: PyAV is not installed.
        UnfitFormatError: It can't.
    """
    if find_spec("av") is None:
        raise FormatsMissingError
    facts = _FACTS[kind]
    name = kind.name
    if audio_format.channels > facts.max_channels:
        raise UnfitFormatError(
            f"{name} holds up to {facts.max_channels} channels here; this has"
            f" {audio_format.channels}: take wav"
        )
    if facts.rates is not None and audio_format.sample_rate not in facts.rates:
        known = ", ".join(str(rate) for rate in sorted(facts.rates))
        raise UnfitFormatError(
            f"{name} can't hold {audio_format.sample_rate} Hz, only {known} Hz: take flac or wav"
        )


def sample_encoding(kind: Compressed, audio_format: Format) -> Encoding | None:
    """Return how exact the samples of the encoded sound are; None where they are only alike."""
    if kind is not Compressed.FLAC:
        return None
    return Encoding.S24 if audio_format.encoding is Encoding.F32 else audio_format.encoding


def encode(
    kind: Compressed,
    audio_format: Format,
    frames: int,
    read: Callable[[int, int], bytes],
    tags: Mapping[str, str],
) -> Generator[bytes]:
    """Yield the encoded sound, some of it empty; each step takes some milliseconds.

    Args:
        kind: The format wanted.
        audio_format: That of the sound.
        frames: How many there are.
        read: Returns so many frames from the frame given first.
        tags: What players show, such as `title`.

    Raises:
        FormatsMissingError: PyAV is not installed.
        UnfitFormatError: The format can't hold this sound.
    """
    check_fit(kind, audio_format)
    encoder = _Encoder(kind, audio_format, frames, tags)
    step = max(1, PIECE_BYTES // audio_format.frame_bytes)
    try:
        for first in range(0, frames, step):
            yield encoder.feed(read(first, min(step, frames - first)))
        yield encoder.finish()
    finally:
        encoder.close()


class _Sink:
    """A file that can only be written, in order."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class _Encoder:
    def __init__(
        self, kind: Compressed, audio_format: Format, frames: int, tags: Mapping[str, str]
    ) -> None:
        import av  # not before it is needed: it takes a while

        facts = _FACTS[kind]
        self._kind = kind
        self._format = audio_format
        self._frames = frames
        self._done = 0
        self._is_begun = False
        self._layout = _LAYOUTS.get(audio_format.channels, f"{audio_format.channels} channels")
        self._sample_format = _sample_format(kind, audio_format.encoding)
        self._sink = _Sink()
        # A header that is mended at the end would need a file that can be sought.
        options = {"write_xing": "0"} if kind is Compressed.MP3 else {}
        self._container = av.open(self._sink, "w", format=facts.muxer, options=options)
        self._container.metadata.update(tags)
        is_discrete = kind is Compressed.OPUS and audio_format.channels > 2
        stream = self._container.add_stream(
            facts.codec,
            rate=_OPUS_RATE if kind is Compressed.OPUS else audio_format.sample_rate,
            layout=self._layout,
            options={"mapping_family": "255"} if is_discrete else {},
        )
        if not isinstance(stream, av.AudioStream):
            raise TypeError("an audio codec makes an audio stream")
        self._stream = stream
        self._new_frame = av.AudioFrame
        if facts.bits_per_second is not None:
            stream.bit_rate = facts.bits_per_second * audio_format.channels
        if kind is Compressed.FLAC:
            stream.codec_context.format = av.AudioFormat(self._sample_format)

    def feed(self, data: bytes) -> bytes:
        samples = _samples(data, self._format.encoding, self._sample_format)
        count = samples.size // self._format.channels
        frame = self._new_frame(self._sample_format, self._layout, count)
        frame.sample_rate = self._format.sample_rate
        frame.pts = self._done
        plane = frame.planes[0]
        plane.update(samples.tobytes().ljust(plane.buffer_size, b"\0"))
        self._container.mux(self._stream.encode(frame))
        self._done += count
        return self._take()

    def finish(self) -> bytes:
        if self._done:
            self._container.mux(self._stream.encode(None))
        else:
            self._container.start_encoding()
        self.close()
        return self._take()

    def close(self) -> None:
        self._container.close()

    def _take(self) -> bytes:
        data = self._sink.take()
        if data and not self._is_begun:
            self._is_begun = True
            if self._kind is Compressed.FLAC:
                return _with_count(data, self._frames)
        return data


def _sample_format(kind: Compressed, encoding: Encoding) -> str:
    if encoding is Encoding.S16:
        return "s16"
    return "flt" if encoding is Encoding.F32 and kind is not Compressed.FLAC else "s32"


def _samples(
    data: bytes, encoding: Encoding, sample_format: str
) -> NDArray[np.int16 | np.int32 | np.float32]:
    samples: NDArray[np.int16 | np.int32 | np.float32]
    if encoding is Encoding.S16:
        samples = np.frombuffer(data, "<i2")
    elif encoding is Encoding.S24:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = padded.reshape(-1).view("<i4")
    else:
        # NaN is silence, what is beyond full scale is clipped: as where integers are stored.
        floats = np.nan_to_num(np.frombuffer(data, "<f4"), nan=0.0, posinf=1.0, neginf=-1.0)
        if sample_format == "flt":
            samples = np.clip(floats, np.float32(-1), np.float32(1))
        else:
            scaled = np.rint(floats.astype(np.float64) * _FULL_SCALE_24)
            samples = np.clip(scaled, -_FULL_SCALE_24, _FULL_SCALE_24 - 1).astype("<i4") << 8
    return samples


def _with_count(data: bytes, frames: int) -> bytes:
    """Write how many frames there will be into the STREAMINFO that begins a FLAC (RFC 9639)."""
    if not data.startswith(b"fLaC") or frames > _MAX_FLAC_FRAMES:
        return data
    high, at = frames >> 32, _STREAMINFO_COUNT + 1
    first = bytes([data[_STREAMINFO_COUNT] & 0xF0 | high])
    low = (frames & 0xFFFF_FFFF).to_bytes(4, "big")
    return data[:_STREAMINFO_COUNT] + first + low + data[at + 4 :]
