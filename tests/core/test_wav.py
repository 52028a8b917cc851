"""WAV headers against the vectors, against themselves, and against other programs.

The vectors were computed apart from this code. The files of more than 4 GiB are holes
but for their ends, so they cost no room.
"""

import io
import json
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, cast

import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.errors import WavError

VECTORS = Path(__file__).parents[2] / "spec" / "vectors" / "wav.json"
HEADERS = [
    (Format.parse(**vector["format"]), vector)
    for vector in json.loads(VECTORS.read_text())["headers"]
]
FORMATS = st.builds(
    Format, st.sampled_from(Encoding), st.integers(8_000, 384_000), st.integers(1, 64)
)
FRAMES = st.integers(0, 2**53 - 1) | st.integers(0, 100_000)
EVERY_FORMAT = [
    Format(encoding, rate, channels)
    for encoding in Encoding
    for rate, channels in ((8_000, 1), (44_100, 2), (48_000, 3), (96_000, 64))
]


def named(value: object) -> str | None:
    if isinstance(value, Format):
        return f"{value.encoding}-{value.channels}ch"
    if isinstance(value, dict):
        return f"{value['frames']}-frames"
    return getattr(value, "__name__", None)


# ---- the bytes -------------------------------------------------------------------


@pytest.mark.parametrize(("audio_format", "vector"), HEADERS, ids=named)
def test_the_header_is_that_of_the_vectors(audio_format: Format, vector: dict[str, object]) -> None:
    frames = cast("int", vector["frames"])
    assert wav.header(audio_format, frames).hex() == vector["header"]
    assert wav.padding(audio_format, frames) == vector["padding"]


@pytest.mark.parametrize(("audio_format", "vector"), HEADERS, ids=named)
def test_the_plain_header_is_that_of_the_vectors(
    audio_format: Format, vector: dict[str, object]
) -> None:
    frames = cast("int", vector["frames"])
    if vector["plain_header"] is None:
        with pytest.raises(WavError, match="4 GiB"):
            wav.plain_header(audio_format, frames)
    else:
        assert wav.plain_header(audio_format, frames).hex() == vector["plain_header"]


@given(FORMATS, FRAMES)
def test_the_header_has_one_length_whatever_it_counts(audio_format: Format, frames: int) -> None:
    assert len(wav.header(audio_format, frames)) == wav.header_bytes(audio_format)


@given(FORMATS, FRAMES)
@example(Format(Encoding.S24, 8_000, 1), (2**32 - 80) // 3)
def test_what_is_written_is_read_back(audio_format: Format, frames: int) -> None:
    head = wav.header(audio_format, frames)
    data_bytes = frames * audio_format.frame_bytes
    file_bytes = len(head) + data_bytes + wav.padding(audio_format, frames)
    assert wav.parse(head, file_bytes) == wav.WavInfo(
        format=audio_format,
        data_offset=len(head),
        data_bytes=data_bytes,
        frames=frames,
        claimed_bytes=data_bytes,
        is_rf64=file_bytes - 8 > 2**32 - 2,
        truncated=False,
    )


@given(FORMATS, st.integers(0, 60_000))
def test_what_is_written_plainly_is_read_back(audio_format: Format, frames: int) -> None:
    head = wav.plain_header(audio_format, frames)
    info = wav.parse(head, len(head) + frames * audio_format.frame_bytes)
    assert (info.format, info.frames, info.data_offset) == (audio_format, frames, len(head))


@given(FORMATS, FRAMES)
def test_every_chunk_before_the_data_is_even(audio_format: Format, frames: int) -> None:
    head = wav.header(audio_format, frames)
    offset, names = 12, []
    while offset < len(head):
        name, size = struct.unpack_from("<4sI", head, offset)
        names.append(name)
        if name == b"data":
            break
        assert size % 2 == 0
        offset += 8 + size
    assert names[-1] == b"data"
    assert offset + 8 == len(head)


def test_fewer_frames_than_none_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="-1 frames"):
        wav.header(EVERY_FORMAT[0], -1)
    with pytest.raises(ValueError, match="-1 frames"):
        wav.plain_header(EVERY_FORMAT[0], -1)


# ---- reading what others wrote ---------------------------------------------------


def chunk(name: bytes, payload: bytes, size: int | None = None) -> bytes:
    size = len(payload) if size is None else size
    return name + struct.pack("<I", size) + payload + bytes(len(payload) % 2)


def fmt(tag: int, channels: int, rate: int, sample_bytes: int, more: bytes = b"") -> bytes:
    frame_bytes = channels * sample_bytes
    numbers = (tag, channels, rate, rate * frame_bytes, frame_bytes, sample_bytes * 8)
    return chunk(b"fmt ", struct.pack("<HHIIHH", *numbers) + more)


def riff(*chunks: bytes, size: int | None = None, form: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return form + struct.pack("<I", len(body) if size is None else size) + body


STEREO = fmt(1, 2, 44_100, 2)


def test_unknown_chunks_are_skipped_and_odd_ones_are_padded() -> None:
    data = riff(
        chunk(b"LIST", b"odd"), STEREO, chunk(b"bext", bytes(602)), chunk(b"data", bytes(8))
    )
    info = wav.parse(data, len(data))
    assert (info.format, info.frames) == (Format(Encoding.S16, 44_100, 2), 2)
    assert info.data_offset == len(data) - 8


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
def test_sizes_of_64_bits_come_from_ds64(form: bytes) -> None:
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 5_000_000_080, 5_000_000_000, 1_250_000_000, 0))
    head = riff(ds64, STEREO, chunk(b"data", b"", 2**32 - 1), size=2**32 - 1, form=form)
    info = wav.parse(head, len(head) + 5_000_000_000)
    assert info.is_rf64
    assert info.frames == 1_250_000_000
    assert not info.truncated


def test_only_an_rf64_file_has_sizes_of_64_bits() -> None:
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 92, 12, 3, 0))
    head = riff(ds64, STEREO, chunk(b"data", b"", 2**32 - 1), size=2**32 - 1)
    assert wav.parse(head, len(head) + 400).frames == 100


def test_only_the_first_chunk_can_become_ds64() -> None:
    junk, data = chunk(b"JUNK", bytes(28)), chunk(b"data", b"")
    assert wav.layout(riff(junk, STEREO, data), 100).ds64_offset == 12
    assert wav.layout(riff(STEREO, junk, data), 100).ds64_offset is None
    assert wav.layout(riff(chunk(b"JUNK", bytes(26)), STEREO, data), 100).ds64_offset is None


@pytest.mark.parametrize(
    ("riff_size", "data_size", "frames", "truncated"),
    [
        (0, 0, 3, False),  # nothing was ever filled in
        (36, 0, 3, False),  # a header for no sound yet, and then the program died
        (2**32 - 1, 2**32 - 1, 3, False),  # written into a pipe
        (0x7FFFF024, 0x7FFFF000, 3, True),  # written into a pipe by sox
        (36 + 400, 400, 3, True),  # cut off
        (36 + 8, 8, 2, False),  # a growing file: what is beyond is not claimed
        (36 + 13, 0, 0, False),  # no sound, and the rest belongs to other chunks
    ],
)
def test_sizes_that_are_wrong_are_tolerated(
    riff_size: int, data_size: int, frames: int, truncated: bool
) -> None:
    head = riff(STEREO, chunk(b"data", b"", data_size), size=riff_size)
    info = wav.parse(head, len(head) + 13)
    assert (info.frames, info.data_bytes) == (frames, frames * 4)
    assert info.truncated is truncated


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "too few"),
        (b"fLaC" + bytes(40), "not a WAV.*fLaC"),
        (b"RIFX" + bytes(4) + b"WAVE" + bytes(40), "not a WAV.*RIFX"),
        (riff(chunk(b"data", bytes(4))), "no fmt chunk"),
        (riff(STEREO), "no data chunk"),
        (riff(fmt(1, 2, 44_100, 1), chunk(b"data", b"")), "8-bit PCM"),
        (riff(fmt(1, 2, 44_100, 4), chunk(b"data", b"")), "32-bit PCM"),
        (riff(fmt(3, 2, 44_100, 8), chunk(b"data", b"")), "64-bit float"),
        (riff(fmt(6, 1, 8_000, 1), chunk(b"data", b"")), "A-law"),
        (riff(fmt(7, 1, 8_000, 1), chunk(b"data", b"")), "mu-law"),
        (riff(fmt(0x1234, 1, 8_000, 1), chunk(b"data", b"")), "0x1234"),
        (riff(fmt(1, 0, 44_100, 2), chunk(b"data", b"")), "0 channels"),
        (riff(fmt(1, 65, 44_100, 2), chunk(b"data", b"")), "65 channels"),
        (riff(fmt(1, 1, 4_000, 2), chunk(b"data", b"")), "4000 Hz"),
        (riff(chunk(b"fmt ", bytes(10)), chunk(b"data", b"")), "10 bytes"),
        (riff(fmt(0xFFFE, 2, 44_100, 2), chunk(b"data", b"")), "extensible"),
        (
            riff(fmt(0xFFFE, 2, 44_100, 2, bytes(8) + bytes(16)), chunk(b"data", b"")),
            "unknown encoding",
        ),
    ],
)
def test_what_can_not_be_read_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(WavError, match=reason):
        wav.parse(data, len(data))


def test_a_head_that_is_too_short_says_how_far_the_file_was_understood() -> None:
    data = riff(STEREO, chunk(b"iXML", bytes(100_000)), chunk(b"data", bytes(8)))
    with pytest.raises(WavError, match=r"first 65536 bytes; the next chunk begins at byte 100044"):
        wav.parse(data[: wav.HEAD_BYTES], len(data))
    assert wav.parse(data, len(data)).frames == 2


@given(st.binary(max_size=200), st.integers(0, 2**40))
def test_rubbish_is_refused_or_read_but_never_breaks(rubbish: bytes, file_bytes: int) -> None:
    for head in (rubbish, riff(rubbish), riff(STEREO, rubbish), riff(rubbish, form=b"RF64")):
        try:
            info = wav.parse(head, file_bytes)
        except WavError:
            continue
        assert 0 <= info.data_bytes <= max(0, file_bytes - info.data_offset)


# ---- other programs --------------------------------------------------------------


class Heard(NamedTuple):
    """What another program makes of a file."""

    sample_rate: int
    channels: int
    frames: int


def by_soundfile(path: Path) -> Heard:
    info = soundfile.info(str(path))
    return Heard(info.samplerate, info.channels, info.frames)


def by_ffprobe(path: Path) -> Heard:
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    (stream,) = json.loads(done.stdout)["streams"]
    return Heard(int(stream["sample_rate"]), stream["channels"], stream["duration_ts"])


def by_sox(path: Path) -> Heard:
    def ask(what: str) -> int:
        done = subprocess.run(["soxi", what, str(path)], capture_output=True, check=True)
        return int(done.stdout)

    return Heard(ask("-r"), ask("-c"), ask("-s"))


def by_wave(path: Path) -> Heard:
    with wave.open(str(path)) as file:
        return Heard(file.getframerate(), file.getnchannels(), file.getnframes())


READERS: list[Callable[[Path], Heard]] = [by_soundfile, by_ffprobe, by_sox, by_wave]


def can_read(reader: Callable[[Path], Heard], audio_format: Format) -> bool:
    if reader is not by_wave:
        return True
    if audio_format.encoding.is_float:
        return False
    return audio_format.channels <= 2 or sys.version_info >= (3, 12)


READABLE = [
    (reader, audio_format)
    for reader in READERS
    for audio_format in EVERY_FORMAT
    if can_read(reader, audio_format)
]


def sound(audio_format: Format, frames: int) -> bytes:
    """Return samples that differ per channel and are moderate as floats too."""
    count = frames * audio_format.channels
    if audio_format.encoding.is_float:
        return struct.pack(f"<{count}f", *(i / count for i in range(count)))
    return bytes(i * 7 % 251 for i in range(frames * audio_format.frame_bytes))


@pytest.mark.parametrize(("reader", "audio_format"), READABLE, ids=named)
@pytest.mark.parametrize("frames", [0, 1, 1001])
def test_other_programs_read_the_finished_file(
    reader: Callable[[Path], Heard], audio_format: Format, frames: int, tmp_path: Path
) -> None:
    if frames == 0 and reader is by_ffprobe:
        frames = 2  # ffprobe gives no duration for a file without sound
    path = tmp_path / "finished.wav"
    pad = bytes(wav.padding(audio_format, frames))
    path.write_bytes(wav.header(audio_format, frames) + sound(audio_format, frames) + pad)
    assert reader(path) == (audio_format.sample_rate, audio_format.channels, frames)


@pytest.mark.parametrize(("reader", "audio_format"), READABLE, ids=named)
@pytest.mark.parametrize("beyond", [0, 1, 4096])
def test_other_programs_read_a_growing_file_up_to_its_claim(
    reader: Callable[[Path], Heard], audio_format: Format, beyond: int, tmp_path: Path
) -> None:
    path = tmp_path / "growing.wav"
    frames = 1001  # odd: the header counts a pad byte that isn't there yet
    data = sound(audio_format, frames + beyond)
    path.write_bytes(wav.header(audio_format, frames) + data)
    assert reader(path) == (audio_format.sample_rate, audio_format.channels, frames)


@pytest.mark.parametrize(("reader", "audio_format"), READABLE, ids=named)
def test_other_programs_read_an_exported_file(
    reader: Callable[[Path], Heard], audio_format: Format, tmp_path: Path
) -> None:
    path = tmp_path / "plain.wav"
    pad = bytes(wav.padding(audio_format, 1001))
    path.write_bytes(wav.plain_header(audio_format, 1001) + sound(audio_format, 1001) + pad)
    assert reader(path) == (audio_format.sample_rate, audio_format.channels, 1001)


@pytest.mark.parametrize("reader", [by_soundfile, by_ffprobe])
@pytest.mark.parametrize("audio_format", EVERY_FORMAT, ids=named)
def test_other_programs_read_a_file_on_both_sides_of_4_gib(
    reader: Callable[[Path], Heard], audio_format: Format, tmp_path: Path
) -> None:
    path = tmp_path / "large.wav"
    counts = [
        v["frames"]
        for f, v in HEADERS
        if (f.encoding, f.channels) == (audio_format.encoding, audio_format.channels)
    ]
    for frames in counts[3:5]:  # the last that is RIFF, the first that is RF64
        head, data = wav.header(audio_format, frames), frames * audio_format.frame_bytes
        with path.open("wb") as file:
            file.write(head)
            file.truncate(len(head) + data + wav.padding(audio_format, frames))
        heard = reader(path)
        assert heard == (audio_format.sample_rate, audio_format.channels, frames)


def test_a_header_that_was_refreshed_past_4_gib_leaves_the_samples_in_place(tmp_path: Path) -> None:
    stereo, path, frames = Format(Encoding.S16, 48_000, 2), tmp_path / "crossed.wav", 1_200_000_000
    last = sound(stereo, 100)
    with path.open("wb") as file:
        file.write(wav.header(stereo, 100) + sound(stereo, 100))
        file.seek(wav.header_bytes(stereo) + (frames - 100) * 4)
        file.write(last)
        file.seek(0)
        file.write(wav.header(stereo, frames))
    with soundfile.SoundFile(str(path)) as heard:
        assert heard.format == "RF64"
        assert heard.read(100, dtype="int16").tobytes() == sound(stereo, 100)
        heard.seek(frames - 100)
        assert heard.read(dtype="int16").tobytes() == last


@pytest.mark.parametrize("audio_format", EVERY_FORMAT, ids=named)
def test_what_soundfile_writes_is_read(audio_format: Format) -> None:
    subtype = {Encoding.S16: "PCM_16", Encoding.S24: "PCM_24", Encoding.F32: "FLOAT"}
    zeros = [[0.0] * audio_format.channels] * 77
    for container in ("WAV", "WAVEX", "RF64"):
        file = io.BytesIO()
        soundfile.write(
            file,
            zeros,
            audio_format.sample_rate,
            subtype=subtype[audio_format.encoding],
            format=container,
        )
        info = wav.parse(file.getvalue(), len(file.getvalue()))
        assert (info.format, info.frames, info.truncated) == (audio_format, 77, False)
