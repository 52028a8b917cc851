"""Encoded sound: every sample of it where that is promised, and an end where it can't be."""

import io

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from micwire import formats
from micwire.core.audio import Encoding, Format
from micwire.formats import (
    Compressed,
    FormatsMissingError,
    UnfitFormatError,
    check_fit,
    encode,
    sample_encoding,
)


def noise(audio_format: Format, frames: int) -> bytes:
    """Return samples over the whole range, differing per channel."""
    dice = np.random.default_rng(audio_format.channels)
    count = frames * audio_format.channels
    if audio_format.encoding is Encoding.F32:
        return dice.uniform(-1, 1, count).astype("<f4").tobytes()
    return dice.integers(0, 256, frames * audio_format.frame_bytes, np.uint8).tobytes()


def encoded(kind: Compressed, audio_format: Format, pcm: bytes, title: str = "") -> bytes:
    frame_bytes = audio_format.frame_bytes
    pieces = encode(
        kind,
        audio_format,
        len(pcm) // frame_bytes,
        lambda first, frames: pcm[first * frame_bytes : (first + frames) * frame_bytes],
        {"title": title} if title else {},
    )
    return b"".join(pieces)


def decoded(data: bytes) -> tuple[NDArray[np.generic], int]:
    """Return samples in shape (frames, channels) as FFmpeg decodes them, and the rate."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        channels = stream.channels
        parts = [
            part if len(part) == 1 else part.T.reshape(1, -1)
            for part in (frame.to_ndarray() for frame in container.decode(stream))
        ]
        return np.concatenate(parts, axis=1).reshape(-1, channels), stream.rate


INTEGERS = [
    Format(encoding, rate, channels)
    for encoding in (Encoding.S16, Encoding.S24)
    for rate, channels in ((8_000, 1), (44_100, 2), (48_000, 3), (96_000, 8), (384_000, 2))
]


@pytest.mark.parametrize("audio_format", INTEGERS, ids=str)
def test_flac_keeps_every_sample_of_integers(audio_format: Format) -> None:
    pcm = noise(audio_format, 100_003)
    data = encoded(Compressed.FLAC, audio_format, pcm)
    samples, rate = decoded(data)
    assert rate == audio_format.sample_rate
    if audio_format.encoding is Encoding.S16:
        assert samples.astype("<i2").tobytes() == pcm
    else:
        whole = (samples >> 8).astype("<i4")  # type: ignore[operator]
        assert whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes() == pcm
    assert sample_encoding(Compressed.FLAC, audio_format) is audio_format.encoding


def test_flac_rounds_floats_to_24_bits_and_clips_what_is_beyond() -> None:
    mono = Format(Encoding.F32, 48_000, 1)
    floats = np.array([0.5, -1.0, 1.0, 2.0, -3.0, np.nan, np.inf, -np.inf, 1e-9, 3 / 2**24], "<f4")
    samples, _ = decoded(encoded(Compressed.FLAC, mono, floats.tobytes()))
    top, bottom = 2**23 - 1, -(2**23)
    wanted = [2**22, bottom, top, top, bottom, 0, top, bottom, 0, 2]
    assert (samples[:, 0] >> 8).tolist() == wanted  # type: ignore[operator]
    assert sample_encoding(Compressed.FLAC, mono) is Encoding.S24


def test_a_flac_says_how_long_it_is_before_it_is_there() -> None:
    mono = Format(Encoding.S16, 44_100, 1)
    for frames in (1, 70_000):
        data = encoded(Compressed.FLAC, mono, noise(mono, frames))
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            assert file.frames == frames
            assert file.read(dtype="int16").astype("<i2").tobytes() == noise(mono, frames)
    with av.open(io.BytesIO(data[:100_000]), "r") as container:
        assert container.duration == round(70_000 / 44_100 * 1e6)


@pytest.mark.parametrize("kind", [Compressed.OPUS, Compressed.MP3])
@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossy_formats_sound_alike(kind: Compressed, encoding: Encoding, channels: int) -> None:
    audio_format = Format(encoding, 44_100, channels)
    seconds = np.arange(44_100 * 2) / 44_100
    sines = [0.5 * np.sin(2 * np.pi * (440 + 440 * n) * seconds) for n in range(channels)]
    floats = np.stack(sines, axis=1)
    match encoding:
        case Encoding.S16:
            pcm = (floats * 32_767).astype("<i2").tobytes()
        case Encoding.S24:
            whole = (floats * 8_388_607).astype("<i4").view(np.uint8).reshape(-1, 4)
            pcm = whole[:, :3].tobytes()
        case Encoding.F32:
            pcm = floats.astype("<f4").tobytes()
    samples, rate = decoded(encoded(kind, audio_format, pcm))
    assert rate == (48_000 if kind is Compressed.OPUS else 44_100)
    assert abs(len(samples) / rate - 2) < 0.1
    middle = samples[rate // 2 : rate // 2 + rate].astype(float)
    for channel in range(channels):
        spectrum = np.abs(np.fft.rfft(middle[:, channel]))
        assert int(spectrum.argmax()) == 440 + 440 * channel, "each channel has its own tone"
        assert abs(np.sqrt((middle[:, channel] ** 2).mean()) - 0.5 / 2**0.5) < 0.02
    assert sample_encoding(kind, audio_format) is None


def test_opus_keeps_the_order_of_many_channels() -> None:
    audio_format = Format(Encoding.S16, 48_000, 5)
    seconds = np.arange(48_000) / 48_000
    floats = np.stack([0.5 * np.sin(2 * np.pi * 300 * (n + 1) * seconds) for n in range(5)], axis=1)
    pcm = (floats * 32_767).astype("<i2").tobytes()
    samples, _ = decoded(encoded(Compressed.OPUS, audio_format, pcm))
    spectrum = np.abs(np.fft.rfft(samples[:48_000].astype(float), axis=0))
    assert [round(int(peak) / 300) for peak in spectrum.argmax(axis=0)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", Compressed)
def test_the_title_is_in_the_file(kind: Compressed) -> None:
    stereo = Format(Encoding.S16, 48_000, 2)
    data = encoded(kind, stereo, noise(stereo, 9_600), title="Größe 日本")
    with av.open(io.BytesIO(data), "r") as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
    assert tags["title"] == "Größe 日本"


@pytest.mark.parametrize("kind", Compressed)
def test_no_sound_is_a_file_all_the_same(kind: Compressed) -> None:
    assert isinstance(encoded(kind, Format(Encoding.F32, 48_000, 2), b""), bytes)


@pytest.mark.parametrize(
    ("kind", "sample_rate", "channels", "reason"),
    [
        (Compressed.MP3, 96_000, 2, "96000 Hz"),
        (Compressed.MP3, 44_000, 1, "44000 Hz"),
        (Compressed.MP3, 48_000, 3, "up to 2 channels"),
        (Compressed.OPUS, 48_000, 9, "up to 8 channels"),
        (Compressed.FLAC, 48_000, 9, "up to 8 channels"),
    ],
)
def test_what_does_not_fit_is_named(
    kind: Compressed, sample_rate: int, channels: int, reason: str
) -> None:
    audio_format = Format(Encoding.S16, sample_rate, channels)
    with pytest.raises(UnfitFormatError, match=reason):
        check_fit(kind, audio_format)
    with pytest.raises(UnfitFormatError, match=reason):
        encoded(kind, audio_format, b"")


def test_without_the_extra_the_command_that_helps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(FormatsMissingError, match=r"pip install 'micwire\[formats\]'"):
        encoded(Compressed.FLAC, Format(Encoding.S16, 48_000, 1), b"")


def test_what_is_encoded_comes_out_while_more_goes_in() -> None:
    audio_format = Format(Encoding.S16, 48_000, 2)
    asked: list[int] = []

    def read(first: int, frames: int) -> bytes:
        asked.append(first)
        return noise(audio_format, frames)

    pieces = encode(Compressed.FLAC, audio_format, 10 * 3_600 * 48_000, read, {})
    size = 0
    for number, piece in enumerate(pieces):
        size += len(piece)
        if number == 20:
            break
    assert len(asked) == 21, "no further than what was taken"
    assert size > 10 * formats.PIECE_BYTES
    pieces.close()
