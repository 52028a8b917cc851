"""Samples from one encoding to another, for carriers whose pages know only one.

The one place where micwire alters a sample, and it counts each one it had to.
"""

from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from micwire.core.audio import Encoding

_FULL_SCALE_16 = 1 << 15
_FULL_SCALES = {Encoding.S16: _FULL_SCALE_16, Encoding.S24: 1 << 23}
_F32 = Encoding.F32  # on Python 3.11 a look-up in the class is slow, and this is done often


class Converted(NamedTuple):
    """Samples in the encoding wanted, and how many could not be kept as they were."""

    data: bytes
    clipped: int
    """Samples beyond full scale, infinities among them."""
    nonfinite: int
    """NaN (stored as 0) and infinities (clipped)."""


def convert(data: bytes, source: Encoding, target: Encoding) -> Converted:
    """Convert whole samples.

    Integers are `clip(rint(x * full_scale))` of floats, where full scale is 2^15 or 2^23:
    -1.0 is the lowest integer and +1.0 is clipped to the highest. NaN becomes 0.

    Args:
        data: Samples, little endian.
        source: How they are written.
        target: How they are wanted. The same as `source` changes nothing.

    >>> convert(np.array([0.5, -1.0, 1.25], "<f4").tobytes(), Encoding.F32, Encoding.S16)
    Converted(data=b'\\x00@\\x00\\x80\\xff\\x7f', clipped=1, nonfinite=0)
    """
    if source is target:
        return Converted(data, 0, 0)
    samples = _as_floats(data, source)
    if target is _F32:
        return Converted(samples.astype("<f4").tobytes(), 0, 0)
    return _as_integers(samples, target)


def _as_floats(data: bytes, source: Encoding) -> NDArray[np.float32] | NDArray[np.float64]:
    if source is _F32:
        return np.frombuffer(data, dtype="<f4")
    if source is Encoding.S16:
        return np.frombuffer(data, dtype="<i2") / np.float64(1 << 15)
    padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
    padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
    return padded.view("<i4")[:, 0] / np.float64(1 << 31)


def _as_integers(samples: NDArray[np.float32] | NDArray[np.float64], target: Encoding) -> Converted:
    full_scale = _FULL_SCALES[target]
    if not samples.size:
        return Converted(b"", 0, 0)
    clipped = nonfinite = 0
    # NaN makes both comparisons false, so the rare cases all go the slow way.
    if samples.min() >= -1 and samples.max() <= (full_scale - 1) / full_scale:
        scaled = samples * samples.dtype.type(full_scale)  # a power of two: exact
        np.rint(scaled, out=scaled)
    else:
        with np.errstate(over="ignore"):  # what overflows is clipped below
            wanted = np.rint(samples * samples.dtype.type(full_scale))
        scaled = np.minimum(np.maximum(wanted, -full_scale), full_scale - 1)
        clipped = int(np.count_nonzero(scaled != wanted))
        if not isfinite(scaled.sum()):  # there is a NaN, which differs from itself too
            is_nan = np.isnan(wanted)
            clipped -= int(np.count_nonzero(is_nan))
            scaled[is_nan] = 0
        nonfinite = int(samples.size - np.count_nonzero(np.isfinite(samples)))
    if full_scale == _FULL_SCALE_16:
        return Converted(scaled.astype("<i2").tobytes(), clipped, nonfinite)
    whole = scaled.astype("<i4").view(np.uint8).reshape(-1, 4)
    return Converted(whole[:, :3].tobytes(), clipped, nonfinite)
