"""The one place where samples are altered: by how much, and is each one counted?"""

import json
from fractions import Fraction
from math import isinf, isnan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micwire.core.audio import Encoding
from micwire.transports.convert import convert

FULL_SCALE = {Encoding.S16: 1 << 15, Encoding.S24: 1 << 23}
FLOATS = st.lists(st.floats(width=32), max_size=50)


def as_bytes(values: list[int], encoding: Encoding) -> bytes:
    """Return integers as samples."""
    size = encoding.sample_bytes
    return b"".join(value.to_bytes(size, "little", signed=True) for value in values)


def rounded(value: float, full_scale: int) -> tuple[int, bool]:
    """Return `clip(rint(x * full_scale))` in exact arithmetic, and whether it was clipped."""
    if isnan(value):
        return 0, False
    if isinf(value):
        return (full_scale - 1 if value > 0 else -full_scale), True
    exact = round(Fraction(value) * full_scale)  # halves to even, as rint
    clipped = min(max(exact, -full_scale), full_scale - 1)
    return clipped, clipped != exact


@pytest.mark.parametrize("target", [Encoding.S16, Encoding.S24])
@given(values=FLOATS)
def test_floats_become_the_nearest_integer_and_each_clipped_one_is_counted(
    target: Encoding, values: list[float]
) -> None:
    found = convert(np.array(values, "<f4").tobytes(), Encoding.F32, target)
    wanted = [rounded(value, FULL_SCALE[target]) for value in values]
    assert found.data == as_bytes([integer for integer, _ in wanted], target)
    assert found.clipped == sum(is_clipped for _, is_clipped in wanted)
    assert found.nonfinite == sum(isnan(value) or isinf(value) for value in values)


@pytest.mark.parametrize("encoding", list(Encoding))
@given(data=st.binary(max_size=240))
def test_the_same_encoding_changes_no_bit(encoding: Encoding, data: bytes) -> None:
    samples = data[: len(data) // encoding.sample_bytes * encoding.sample_bytes]
    assert convert(samples, encoding, encoding) == (samples, 0, 0)


def test_all_16_bit_samples_survive_every_way_and_back() -> None:
    every = np.arange(-32_768, 32_768).astype("<i2").tobytes()
    for other in (Encoding.F32, Encoding.S24):
        there = convert(every, Encoding.S16, other)
        assert (there.clipped, there.nonfinite) == (0, 0)
        assert convert(there.data, other, Encoding.S16) == (every, 0, 0)


@given(values=st.lists(st.integers(-(1 << 23), (1 << 23) - 1), max_size=50))
def test_24_bit_samples_survive_float_and_back(values: list[int]) -> None:
    samples = as_bytes(values, Encoding.S24)
    there = convert(samples, Encoding.S24, Encoding.F32)
    assert convert(there.data, Encoding.F32, Encoding.S24) == (samples, 0, 0)


@given(values=st.lists(st.integers(-(1 << 23), (1 << 23) - 1), max_size=50))
def test_24_bits_are_rounded_to_16_with_halves_to_even(values: list[int]) -> None:
    found = convert(as_bytes(values, Encoding.S24), Encoding.S24, Encoding.S16)
    wanted = [round(Fraction(value, 256)) for value in values]
    assert found.data == as_bytes([min(value, 32_767) for value in wanted], Encoding.S16)
    assert found.clipped == sum(value > 32_767 for value in wanted)


def test_the_memos_page_never_wraps_round() -> None:
    loud = np.array([1.25, 1.0, -1.0, -1.25, 0.5, -0.5], "<f4").tobytes()
    found = convert(loud, Encoding.F32, Encoding.S16)
    assert np.frombuffer(found.data, "<i2").tolist() == [
        32_767, 32_767, -32_768, -32_768, 16_384, -16_384,
    ]  # fmt: skip
    assert found.clipped == 3


def test_samples_become_what_the_vectors_say() -> None:
    path = Path(__file__).parents[2] / "spec" / "vectors" / "pcm.json"
    samples = json.loads(path.read_text())["samples"]
    assert len(samples) > 100
    floats = bytes.fromhex("".join(one["pcm_f32le"] for one in samples))
    for place, target in enumerate((Encoding.S16, Encoding.S24)):
        wanted = bytes.fromhex("".join(one[target.value] for one in samples))
        clipped = sum(one["clipped"][place] for one in samples)
        found = convert(floats, Encoding.F32, target)
        assert (found.data, found.clipped) == (wanted, clipped)
