"""The level of a block against values that are known."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from micwire.analyzers.level import level, rms_dbfs
from micwire.blocks import AudioBlock


def said(samples: NDArray[np.float64]) -> dict[str, object]:
    """Return what the analyzer says of some samples, shape (frames, channels)."""
    data = level(AudioBlock(samples.astype(np.float32), 0, 48_000, "r"))
    assert data is not None
    return dict(data)


def tone(amplitude: float) -> NDArray[np.float64]:
    return amplitude * np.sin(2 * np.pi * 1_000 * np.arange(4_800) / 48_000)


def test_a_full_scale_sine_reads_0_and_each_channel_is_itself() -> None:
    stereo = np.stack([tone(1.0), tone(0.5)], axis=1) * 32_766 / 32_768
    data = said(stereo)
    assert data["peak_dbfs"] == pytest.approx((0.0, -6.02), abs=0.01)
    assert data["rms_dbfs"] == pytest.approx((0.0, -6.02), abs=0.01)
    assert data["clipped"] == (0, 0)


def test_silence_has_no_level() -> None:
    assert said(np.zeros((10, 2))) == {
        "peak_dbfs": (None, None),
        "rms_dbfs": (None, None),
        "clipped": (0, 0),
    }


@pytest.mark.parametrize("value", [32_767 / 32_768, -1.0, 1.5])
def test_samples_at_full_scale_are_clipped(value: float) -> None:
    samples = np.zeros((10, 1))
    samples[3:5] = value
    samples[7] = 32_766 / 32_768
    assert said(samples)["clipped"] == (2,)


@pytest.mark.parametrize("wild", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_counts_as_silence(wild: float) -> None:
    samples = np.full((4, 1), 0.5)
    samples[1] = wild
    data = said(samples)
    assert data["peak_dbfs"] == (-6.02,)
    assert data["rms_dbfs"] == (pytest.approx(10 * math.log10(2 * 0.25 * 3 / 4), abs=0.01),)
    assert said(np.full((4, 1), wild))["peak_dbfs"] == (None,)


def test_the_largest_floats_have_a_level() -> None:
    largest = float(np.finfo(np.float32).max)
    assert said(np.full((4, 1), largest))["rms_dbfs"] == (
        pytest.approx(20 * math.log10(largest) + 3.01, abs=0.01),
    )


def test_no_samples_have_no_rms() -> None:
    assert rms_dbfs(np.zeros((3, 1), np.float32)) == -math.inf
    with pytest.raises(ValueError, match="no samples"):
        rms_dbfs(np.zeros((0, 1), np.float32))
