"""How loud each channel is: peak, RMS and clipped samples."""

from math import isfinite, log10

import numpy as np
from numpy.typing import NDArray

from micwire.blocks import AudioBlock, analyzer

CLIPPED = 32_767 / 32_768
"""The largest 16-bit code. A sample as far from zero as that counts as clipped."""


@analyzer(block_ms=50)
def level(block: AudioBlock) -> dict[str, object]:
    """Return `peak_dbfs`, `rms_dbfs` (null for digital silence) and `clipped`, per channel.

    NaN and infinities count as silence; `nonfinite` in the sidecar counts them.
    """
    channels = [_of_channel(block.samples[:, channel]) for channel in range(block.channels)]
    peaks, levels, clipped = zip(*channels, strict=True)
    return {"peak_dbfs": peaks, "rms_dbfs": levels, "clipped": clipped}


def _of_channel(samples: NDArray[np.float32]) -> tuple[float | None, float | None, int]:
    peak = float(max(samples.max(), -samples.min()))
    if not isfinite(peak):
        samples = np.where(np.isfinite(samples), samples, np.float32(0))
        peak = float(np.abs(samples).max())
    if peak == 0:
        return None, None, 0
    clipped = int(np.count_nonzero(np.abs(samples) >= CLIPPED)) if peak >= CLIPPED else 0
    return round(20 * log10(peak), 2), round(rms_dbfs(samples), 2), clipped


def rms_dbfs(samples: NDArray[np.float32]) -> float:
    """Return the RMS level of a block.

    Args:
        samples: Any shape, float32, finite, full scale at -1.0 and 1.0.

    Returns:
        Level in dBFS over all samples together; -inf for digital silence. 0 dBFS is the
        RMS of a full-scale sine, so a full-scale square wave reads +3.01.

    Raises:
        ValueError: There are no samples.

    Source: AES17, definition of full-scale level.

    >>> square_wave = np.ones((480, 1), dtype=np.float32)
    >>> round(rms_dbfs(square_wave), 2)
    3.01
    """
    if not samples.size:
        raise ValueError("there are no samples")
    wide = samples.astype(np.float64).ravel()  # of no float32 is the square too large here
    mean = float(np.dot(wide, wide)) / wide.size
    return 10 * log10(2 * mean) if mean else float("-inf")
