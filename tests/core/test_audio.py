"""Encodings and formats: their names, sizes and ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.audio import Encoding, Format
from micwire.core.errors import UnsupportedFormatError


@pytest.mark.parametrize(
    ("name", "sample_bytes", "is_float"),
    [("pcm_s16le", 2, False), ("pcm_s24le", 3, False), ("pcm_f32le", 4, True)],
)
def test_an_encoding_has_the_size_its_name_says(
    name: str, sample_bytes: int, is_float: bool
) -> None:
    encoding = Encoding(name)
    assert encoding.sample_bytes == sample_bytes
    assert encoding.is_float is is_float
    assert str(encoding) == name


def test_there_are_three_encodings() -> None:
    assert [str(encoding) for encoding in Encoding] == ["pcm_s16le", "pcm_s24le", "pcm_f32le"]


@given(st.sampled_from(Encoding), st.integers(8_000, 384_000), st.integers(1, 64))
def test_a_frame_holds_one_sample_of_each_channel(
    encoding: Encoding, sample_rate: int, channels: int
) -> None:
    audio_format = Format.parse(str(encoding), sample_rate, channels)
    assert audio_format == Format(encoding, sample_rate, channels)
    assert audio_format.frame_bytes == encoding.sample_bytes * channels


@pytest.mark.parametrize("sample_rate", [8_000, 384_000])
@pytest.mark.parametrize("channels", [1, 64])
def test_the_ends_of_the_ranges_are_in_them(sample_rate: int, channels: int) -> None:
    audio_format = Format(Encoding.S24, sample_rate, channels)
    assert (audio_format.sample_rate, audio_format.channels) == (sample_rate, channels)


@pytest.mark.parametrize("sample_rate", [-48_000, 0, 7_999, 384_001, 2**53])
def test_a_sample_rate_out_of_range_is_unsupported(sample_rate: int) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"{sample_rate} Hz"):
        Format(Encoding.S16, sample_rate, 1)


@pytest.mark.parametrize("channels", [-1, 0, 65, 2**53])
def test_a_number_of_channels_out_of_range_is_unsupported(channels: int) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"{channels} channels"):
        Format(Encoding.S16, 48_000, channels)


@pytest.mark.parametrize("encoding", ["", "pcm_s16be", "PCM_S16LE", "pcm_u8", "opus", "S16"])
def test_an_unknown_encoding_is_unsupported(encoding: str) -> None:
    with pytest.raises(UnsupportedFormatError, match="pcm_s16le, pcm_s24le, pcm_f32le"):
        Format.parse(encoding, 48_000, 1)


def test_seconds_follow_from_the_rate() -> None:
    assert Format(Encoding.S16, 44_100, 2).seconds(66_150) == 1.5
