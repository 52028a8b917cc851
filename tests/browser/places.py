"""The check of a WAV against the microphone that was recorded: what is missing, and where.

The microphone's every frame names its place (`harness.place_signal`). So what a WAV holds is
found in the signal by itself, and all that is not the signal in a row is a fault with a name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.browser.harness import as_stored, place_signal

_WINDOW = 4
"""Frames in a row that name a place: one channel alone has no more than 16 bits a frame."""
_MOST = 20
_ENCODINGS = {"PCM_16": "pcm_s16le", "PCM_24": "pcm_s24le", "FLOAT": "pcm_f32le"}

Samples = NDArray[np.int32]
"""Shape (frames, channels): integers as they are stored, floats as their bits."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a recording.

    Args:
        kind: `gap` (sound is missing, nothing stands for it), `repeat`, `zeros` (nobody said
            them), `altered`, `swapped` (channels), `inexact` (a declared gap of another length),
            `sound in a gap`, `unknown` (not this microphone).
        frame: Where in the recording.
        frames: How many frames are missing, said twice, altered.
        place: Where in the microphone's signal; -1 if nobody knows.
    """

    kind: str
    frame: int
    frames: int
    place: int = -1


@dataclass
class Heard:
    """What of a microphone a recording holds: the places `first` to `end`, but for faults."""

    first: int = -1
    end: int = -1
    faults: list[Fault] = field(default_factory=list)


def read_samples(path: Path) -> tuple[int, str, Samples]:
    """Return rate, encoding and samples of a WAV, as libsndfile reads it."""
    with soundfile.SoundFile(path) as file:
        encoding = _ENCODINGS[file.subtype]
        if encoding == "pcm_f32le":
            floats = file.read(dtype="float32", always_2d=True)
            return file.samplerate, encoding, floats.view(np.int32)
        whole = file.read(dtype="int32", always_2d=True)
        return file.samplerate, encoding, whole >> (16 if encoding == "pcm_s16le" else 8)


def signal_of(microphone: NDArray[np.int16], browser: str, encoding: str, channels: int) -> Samples:
    """Return what is stored of a microphone if nothing is lost.

    Args:
        microphone: What it said, shape (frames, 2).
        browser: `chromium` scales positive samples by 1/32767, `firefox` all by 1/32768.
        encoding: Of the recording.
        channels: Of the recording: the first ones.
    """
    whole = microphone[:, :channels].astype(np.float32)
    scale = np.float32(1 / 32_768)
    positive = np.float32(1 / 32_767) if browser == "chromium" else scale
    floats: NDArray[np.float32] = whole * np.where(whole > 0, positive, scale)  # in 32 bits
    match encoding:
        case "pcm_s16le":
            return as_stored(floats).astype(np.int32)
        case "pcm_s24le":
            exact = np.rint(floats.astype(np.float64) * 8_388_608)
            return exact.clip(-8_388_608, 8_388_607).astype(np.int32)
        case _:
            return np.ascontiguousarray(floats).view(np.int32)


def check_wav(
    path: Path,
    browser: str,
    places: int,
    gaps: Iterable[Mapping[str, object]] = (),
) -> Heard:
    """Compare a WAV with a microphone.

    Args:
        path: The WAV.
        browser: Which one recorded it; see `signal_of`.
        places: How far the microphone may have come.
        gaps: What the recording declares as lost, as its sidecar has it.
    """
    _, encoding, samples = read_samples(path)
    microphone = place_signal(places)
    return compare(samples, signal_of(microphone, browser, encoding, samples.shape[1]), gaps)


def compare(samples: Samples, signal: Samples, gaps: Iterable[Mapping[str, object]] = ()) -> Heard:
    """Find what samples hold of a signal, and all that is not as it was said."""
    declared = np.zeros(len(samples), dtype=np.int8)  # 1: a gap, 2: one of exactly this length
    for gap in gaps:
        first, frames = int(str(gap["first_frame"])), int(str(gap["frames"]))
        declared[first : first + frames] = 2 if gap["exact"] else 1
    heard = Heard()
    places = _find(samples, signal)
    known = np.flatnonzero(places >= 0)
    if len(known) == 0:
        is_swapped = samples.shape[1] > 1 and bool((_find(samples[:, ::-1], signal) >= 0).any())
        heard.faults.append(Fault("swapped" if is_swapped else "unknown", 0, len(samples)))
        return heard
    frame = int(known[0])
    heard.first = int(places[frame])
    _judge(heard, samples, signal, declared, 0, frame, max(0, heard.first - frame))
    while len(heard.faults) < _MOST:
        place = int(places[frame])
        length = _common(samples[frame:], signal[place:])
        end, heard.end = frame + length, place + length
        if (declared[frame:end] > 0).any():
            heard.faults.append(Fault("sound in a gap", frame, length, place))
        later = known[np.searchsorted(known, end) :]
        frame = int(later[0]) if len(later) else len(samples)
        is_exact = not (declared[end:frame] == 1).any()
        _judge(heard, samples, signal, declared, end, frame, heard.end)
        if not len(later):
            break
        missing = int(places[frame]) - heard.end - (frame - end)
        # Of an inexact gap nobody knows how much was lost: from nothing to far more.
        if missing and (is_exact or missing < end - frame):
            kind = "repeat" if missing < 0 else "inexact" if declared[end:frame].any() else "gap"
            heard.faults.append(Fault(kind, frame, abs(missing), heard.end))
    return heard


def _judge(
    heard: Heard,
    samples: Samples,
    signal: Samples,
    declared: NDArray[np.int8],
    start: int,
    end: int,
    place: int,
) -> None:
    """Name what is in frames `start` to `end`, where no signal was found."""
    if start == end:
        return
    block = samples[start:end]
    if not block.any():
        undeclared = int(np.count_nonzero(declared[start:end] == 0))
        if undeclared:
            heard.faults.append(Fault("zeros", start, undeclared, place))
        return
    kind = "altered"
    if block.shape[1] == 2 and np.array_equal(block[:, ::-1], signal[place : place + len(block)]):
        kind = "swapped"
    heard.faults.append(Fault(kind, start, end - start, place))


def _find(samples: Samples, signal: Samples) -> NDArray[np.int64]:
    """Return the place at which each frame's window stands in the signal; -1: nowhere."""
    asked, which = np.unique(_names(samples), return_inverse=True)
    names = _names(signal)
    found = np.searchsorted(asked, names).clip(0, max(0, len(asked) - 1))
    place_of = np.full(len(asked), -1)
    is_there = asked[found] == names if len(asked) else np.zeros(len(names), dtype=bool)
    place_of[found[is_there]] = np.flatnonzero(is_there)
    places = place_of[which]
    return np.concatenate([places, np.full(len(samples) - len(places), -1)])


def _names(samples: Samples) -> NDArray[np.uint64]:
    windows = max(0, len(samples) - _WINDOW + 1)
    names = np.zeros(windows, dtype=np.uint64)
    for frame in range(_WINDOW):
        for channel in range(samples.shape[1]):
            names *= np.uint64(0x9E3779B97F4A7C15)
            names += samples[frame : frame + windows, channel].view(np.uint32).astype(np.uint64)
            names ^= names >> np.uint64(29)
    return names


def _common(samples: Samples, signal: Samples) -> int:
    """Return for how many frames both are the same, from their beginnings."""
    most = min(len(samples), len(signal))
    step, start = 4096, 0
    while start < most:
        end = min(start + step, most)
        differs = (samples[start:end] != signal[start:end]).any(axis=1)
        if differs.any():
            return start + int(differs.argmax())
        start, step = end, step * 2
    return most
