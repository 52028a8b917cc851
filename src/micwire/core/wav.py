"""The bytes of a WAV header, written and read.

A header of ours has the same length for any number of frames, so it is rewritten in
place while the file grows: RIFF with a `JUNK` chunk while every size fits 32 bits, RF64
with `ds64` in its place beyond (EBU Tech 3306). Every chunk before `data` has an even
payload: libsndfile does not open an RF64 file otherwise. Nothing here touches a file.

`wave` of the standard library reads neither RF64 nor, up to Python 3.14, float; and up
to Python 3.11 no more than two channels, since WAVE_FORMAT_EXTENSIBLE is then due.
"""

from dataclasses import dataclass
from struct import Struct

from micwire.core.audio import Encoding, Format
from micwire.core.errors import UnsupportedFormatError, WavError

MAX_RIFF_BYTES = 2**32 - 2
"""The largest size field of a RIFF header: sizes are even, and 2^32 - 1 says "unknown"."""
UNKNOWN = 2**32 - 1
"""In a 32-bit size: look into `ds64`, or, without one, "nobody knew yet"."""
DS64_BYTES = 28
HEAD_BYTES = 64 * 1024
"""How much of a file's beginning holds the header of nearly every WAV."""

RIFF = Struct("<4sI4s")
CHUNK = Struct("<4sI")
DS64 = Struct("<QQQI")
SIZES_BYTES = RIFF.size + CHUNK.size + DS64_BYTES
"""How much of a header of ours holds every size but that in the `data` chunk."""
_FMT = Struct("<HHIIHH")
_EXTENSION = Struct("<HHI16s")
_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_GUID_TAIL = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")
_OTHER_ENCODINGS = {
    0x0002: "Microsoft ADPCM",
    0x0006: "A-law",
    0x0007: "mu-law",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0055: "MP3",
}


# ---- writing ---------------------------------------------------------------------


def header_bytes(audio_format: Format) -> int:
    """Return the size of the header before the first frame: it depends on the format only."""
    return len(header(audio_format, 0))


def padding(audio_format: Format, frames: int) -> int:
    """Return how many zero bytes (0 or 1) end a finished file after its last frame.

    Only an odd number of 3-byte samples needs one. The header counts it from the start,
    the writer appends it at the finish; readers don't mind that it is missing till then.
    """
    return frames * audio_format.frame_bytes % 2


def header(audio_format: Format, frames: int, tags: bytes = b"") -> bytes:
    """Return the header of a file that holds `frames` frames, RF64 if it must be.

    Args:
        audio_format: The format of the samples.
        frames: How many there are.
        tags: Further chunks, whole, to stand before the sound.

    Raises:
        ValueError: `frames` is negative, or the size of `tags` is odd.
    """
    if len(tags) % 2:
        raise ValueError("a chunk of an odd size before the sound spoils an RF64")
    fmt = _fmt_chunk(audio_format)
    fact_bytes = 12 if audio_format.encoding.is_float else 0
    data_bytes = _data_bytes(audio_format, frames)
    length = RIFF.size + CHUNK.size + DS64_BYTES + len(fmt) + fact_bytes + len(tags) + CHUNK.size
    riff_bytes = length - 8 + data_bytes + data_bytes % 2
    if riff_bytes <= MAX_RIFF_BYTES:
        start = RIFF.pack(b"RIFF", riff_bytes, b"WAVE")
        start += CHUNK.pack(b"JUNK", DS64_BYTES) + bytes(DS64_BYTES)
        fact = _fact_chunk(audio_format, frames)
        return start + fmt + fact + tags + CHUNK.pack(b"data", data_bytes)
    start = RIFF.pack(b"RF64", UNKNOWN, b"WAVE")
    start += CHUNK.pack(b"ds64", DS64_BYTES) + DS64.pack(riff_bytes, data_bytes, frames, 0)
    fact = _fact_chunk(audio_format, UNKNOWN)
    return start + fmt + fact + tags + CHUNK.pack(b"data", UNKNOWN)


def plain_header(audio_format: Format, frames: int) -> bytes:
    """Return the shortest header that is right, for naive readers.

    44 bytes for integers in one or two channels. The same padding as for `header` is due.

    Raises:
        ValueError: `frames` is negative.
        WavError: The file would be larger than a RIFF header can say.
    """
    chunks = _fmt_chunk(audio_format) + _fact_chunk(audio_format, min(frames, UNKNOWN))
    data_bytes = _data_bytes(audio_format, frames)
    riff_bytes = 4 + len(chunks) + CHUNK.size + data_bytes + data_bytes % 2
    if riff_bytes > MAX_RIFF_BYTES:
        raise WavError(f"{data_bytes} bytes of sound are too many for a plain header (4 GiB)")
    return RIFF.pack(b"RIFF", riff_bytes, b"WAVE") + chunks + CHUNK.pack(b"data", data_bytes)


def stream_header(audio_format: Format) -> bytes:
    """Return the header of a stream whose length nobody knows: every size is all ones."""
    fact = _fact_chunk(audio_format, UNKNOWN)
    start = RIFF.pack(b"RIFF", UNKNOWN, b"WAVE")
    return start + _fmt_chunk(audio_format) + fact + CHUNK.pack(b"data", UNKNOWN)


def _data_bytes(audio_format: Format, frames: int) -> int:
    if frames < 0:
        raise ValueError(f"{frames} frames are fewer than none")
    return frames * audio_format.frame_bytes


def _fmt_chunk(audio_format: Format) -> bytes:
    is_float, channels = audio_format.encoding.is_float, audio_format.channels
    tag = _FLOAT if is_float else _PCM
    bits = audio_format.encoding.sample_bytes * 8
    # Two channels of 24 bits stay plain PCM, which every reader takes. Beyond two the
    # standard wants the extensible form; a mask of 0 assigns no loudspeakers.
    payload = _FMT.pack(
        tag if channels <= 2 else _EXTENSIBLE,
        channels,
        audio_format.sample_rate,
        audio_format.sample_rate * audio_format.frame_bytes,
        audio_format.frame_bytes,
        bits,
    )
    if channels > 2:
        payload += _EXTENSION.pack(22, bits, 0, tag.to_bytes(2, "little") + _GUID_TAIL)
    elif is_float:
        payload += bytes(2)  # all but plain PCM carry the size of an extension: none
    return CHUNK.pack(b"fmt ", len(payload)) + payload


def _fact_chunk(audio_format: Format, frames: int) -> bytes:
    if not audio_format.encoding.is_float:
        return b""
    return CHUNK.pack(b"fact", 4) + frames.to_bytes(4, "little")


# ---- reading ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a WAV header lie and what it claims, whatever the encoding.

    Args:
        form: `RIFF`, `RF64` or `BW64`.
        tag: The encoding's number; the extensible form is already looked through.
        container_bytes: Size of one sample as it lies in the file.
        claimed_bytes: Size of the sound as the header says it; None where it says that
            it does not know (all ones in a RIFF).
        riff_bytes: The size of the whole as the header says it; None likewise.
        ds64_offset: Where the `ds64` chunk lies, or a `JUNK` that can become one.
        fact_offset: Where the payload of the `fact` chunk lies.
        data_offset: Where the sound begins.
    """

    form: bytes
    tag: int
    channels: int
    sample_rate: int
    container_bytes: int
    claimed_bytes: int | None
    riff_bytes: int | None
    ds64_offset: int | None
    fact_offset: int | None
    data_offset: int

    @property
    def frame_bytes(self) -> int:
        """Return the size of one frame in bytes."""
        return self.container_bytes * self.channels


@dataclass(frozen=True, slots=True)
class WavInfo:
    """What the header of a WAV says, and what of it the file holds.

    Args:
        format: The format of the samples.
        data_offset: Where the sound begins, in bytes from the start of the file.
        data_bytes: Size of the whole frames that can be read from there.
        frames: How many these are.
        claimed_bytes: Size of the sound as the header says it; None where it says that
            it does not know.
        is_rf64: RF64 or BW64, with sizes of 64 bits.
        truncated: The header claims more sound than the file holds.
    """

    format: Format
    data_offset: int
    data_bytes: int
    frames: int
    claimed_bytes: int | None
    is_rf64: bool
    truncated: bool


def parse(head: bytes, file_bytes: int) -> WavInfo:
    """Read the header of a WAV of any common program, leniently as to its sizes.

    A size of "unknown", and a size of zero that the file contradicts, mean the rest of
    the file; a size beyond the file means what is there.

    Args:
        head: The beginning of the file, up to its sound at least; `HEAD_BYTES` nearly
            always suffice.
        file_bytes: Size of the whole file; for a stream of unknown length any number
            that is large enough.

    Raises:
        WavError: It is no WAV, its encoding is not one of ours, or `head` is too short.
    """
    found = layout(head, file_bytes)
    room = max(0, file_bytes - found.data_offset)
    data_bytes = room if is_unfinished(found, file_bytes) else min(found.claimed_bytes or 0, room)
    audio_format = format_of(found)
    frames = data_bytes // audio_format.frame_bytes
    return WavInfo(
        format=audio_format,
        data_offset=found.data_offset,
        data_bytes=frames * audio_format.frame_bytes,
        frames=frames,
        claimed_bytes=found.claimed_bytes,
        is_rf64=found.form != b"RIFF",
        truncated=(found.claimed_bytes or 0) > room,
    )


def is_unfinished(found: Layout, file_bytes: int) -> bool:
    """Tell whether the sizes were never filled in, so that the sound is all the rest.

    A claim of no sound at all is believed where the whole's size counts what follows it.
    """
    if found.claimed_bytes is None:
        return True
    end = 0 if found.riff_bytes is None else found.riff_bytes + 8
    return found.claimed_bytes == 0 and not found.data_offset < end <= file_bytes


def layout(head: bytes, file_bytes: int) -> Layout:
    """Find the parts of a WAV header; chunks that are not listed there are skipped.

    Raises:
        WavError: It is no WAV, its header is broken, or `head` is too short.
    """
    if len(head) < RIFF.size:
        raise WavError(f"{len(head)} bytes are too few for a WAV")
    form, riff_bytes, kind = RIFF.unpack_from(head)
    if form not in (b"RIFF", b"RF64", b"BW64") or kind != b"WAVE":
        raise WavError(f"not a WAV: it begins with {head[:4]!r} and {kind!r}, not RIFF and WAVE")
    fmt: bytes | None = None
    ds64_offset: int | None = None
    fact_offset: int | None = None
    sizes: tuple[int, int] | None = None
    offset = RIFF.size
    while offset + CHUNK.size <= len(head):
        name, size = CHUNK.unpack_from(head, offset)
        payload = offset + CHUNK.size
        if name == b"data":
            riff, data = sizes or (None, None)
            return Layout(
                form,
                *_fmt_fields(fmt),
                claimed_bytes=data if size == UNKNOWN else size,
                riff_bytes=riff if riff_bytes == UNKNOWN else riff_bytes,
                ds64_offset=ds64_offset,
                fact_offset=fact_offset,
                data_offset=payload,
            )
        if name == b"fmt ":
            fmt = head[payload : payload + size]
        elif name == b"fact":
            fact_offset = payload
        elif name in (b"ds64", b"JUNK") and offset == RIFF.size and size >= DS64_BYTES:
            ds64_offset = offset
            if name == b"ds64" and form != b"RIFF" and len(head) >= payload + DS64_BYTES:
                sizes = DS64.unpack_from(head, payload)[:2]
        offset = payload + size + size % 2
    if offset + CHUNK.size <= file_bytes:
        raise WavError(
            f"no data chunk in the first {len(head)} bytes; the next chunk begins at byte {offset}"
        )
    raise WavError("it has no data chunk")


def _fmt_fields(fmt: bytes | None) -> tuple[int, int, int, int]:
    """Return the tag, channels, sample rate and container size that a `fmt ` payload gives."""
    if fmt is None:
        raise WavError("it has no fmt chunk before its data")
    if len(fmt) < _FMT.size:
        raise WavError(f"its fmt chunk has {len(fmt)} bytes, not {_FMT.size} or more")
    tag, channels, sample_rate, _, frame_bytes, _ = _FMT.unpack_from(fmt)
    if tag == _EXTENSIBLE:
        if len(fmt) < _FMT.size + _EXTENSION.size:
            raise WavError(f"its extensible fmt chunk has only {len(fmt)} bytes")
        guid = _EXTENSION.unpack_from(fmt, _FMT.size)[3]
        if guid[2:] != _GUID_TAIL:
            raise WavError(f"unknown encoding: SubFormat {guid.hex()}")
        tag = int.from_bytes(guid[:2], "little")
    if channels == 0 or sample_rate == 0 or frame_bytes == 0 or frame_bytes % channels:
        raise WavError(
            f"its fmt chunk is broken: {channels} channels, {sample_rate} Hz,"
            f" {frame_bytes} bytes a frame"
        )
    return tag, channels, sample_rate, frame_bytes // channels


def format_of(found: Layout) -> Format:
    """Return the format of the samples, if it is one of ours.

    The container decides: 20 bits in 3 bytes are left-justified, so they are 24.

    Raises:
        WavError: It is not; the text names the encoding, or the number out of range.
    """
    encoding = _ENCODINGS.get((found.tag, found.container_bytes))
    if encoding is None:
        raise WavError(f"micwire does not read {_encoding_name(found)}, but {', '.join(Encoding)}")
    try:
        return Format(encoding, found.sample_rate, found.channels)
    except UnsupportedFormatError as error:
        raise WavError(str(error)) from None


_ENCODINGS = {(_PCM, 2): Encoding.S16, (_PCM, 3): Encoding.S24, (_FLOAT, 4): Encoding.F32}


def _encoding_name(found: Layout) -> str:
    bits = found.container_bytes * 8
    if found.tag in (_PCM, _FLOAT):
        return f"{bits}-bit {'PCM' if found.tag == _PCM else 'float'}"
    return _OTHER_ENCODINGS.get(found.tag, f"encoding 0x{found.tag:04x}")
