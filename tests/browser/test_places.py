"""The check itself: it finds each kind of fault where it was made, and none where none is."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser.harness import place_signal
from tests.browser.places import Fault, Samples, check_wav, compare, signal_of

MICROPHONE = place_signal(20_000)
SHAPES = pytest.mark.parametrize(
    ("browser", "encoding", "channels"),
    [
        (browser, encoding, channels)
        for browser in ("chromium", "firefox")
        for encoding in ("pcm_f32le", "pcm_s24le", "pcm_s16le")
        for channels in (1, 2)
    ],
)


@SHAPES
def test_sound_that_was_not_harmed_has_no_fault(browser: str, encoding: str, channels: int) -> None:
    signal = signal_of(MICROPHONE, browser, encoding, channels)
    heard = compare(signal[3_000:9_000], signal)
    assert (heard.first, heard.end, heard.faults) == (3_000, 9_000, [])


@SHAPES
@pytest.mark.parametrize("frames", [1, 7, 480])
def test_every_harm_is_named_with_its_place(
    frames: int, browser: str, encoding: str, channels: int
) -> None:
    signal = signal_of(MICROPHONE, browser, encoding, channels)
    sound, at = signal[1_000:5_000], 2_000
    zeros = np.zeros((frames, channels), np.int32)

    def fault(harmed: Samples, kind: str, frame: int) -> None:
        assert compare(harmed, signal).faults == [Fault(kind, frame, frames, 1_000 + at)]

    rest = sound[at + frames :]
    fault(np.concatenate([sound[:at], rest]), "gap", at)
    fault(np.concatenate([sound[:at], sound[at - frames :]]), "repeat", at)
    fault(np.concatenate([sound[:at], zeros, rest]), "zeros", at)
    fault(np.concatenate([sound[:at], sound[at : at + frames] + 1, rest]), "altered", at)
    if channels == 2:
        fault(np.concatenate([sound[:at], sound[at : at + frames, ::-1], rest]), "swapped", at)
    inserted = compare(np.concatenate([sound[:at], zeros, sound[at:]]), signal)
    assert [one.kind for one in inserted.faults] == ["zeros", "repeat"]


def test_a_declared_gap_is_no_fault_if_it_is_as_long_as_the_loss() -> None:
    signal = signal_of(MICROPHONE, "firefox", "pcm_s16le", 2)
    zeros = np.zeros((100, 2), np.int32)
    sound = np.concatenate([signal[:2_000], zeros, signal[2_100:4_000]])
    gap = {"first_frame": 2_000, "frames": 100, "exact": True}
    assert compare(sound, signal, [gap]).faults == []
    longer = np.concatenate([signal[:2_000], zeros, signal[2_150:4_000]])
    assert compare(longer, signal, [gap]).faults == [Fault("inexact", 2_100, 50, 2_000)]
    assert compare(longer, signal, [gap | {"exact": False}]).faults == []
    nothing_lost = np.concatenate([signal[:2_000], zeros, signal[2_000:4_000]])
    assert compare(nothing_lost, signal, [gap | {"exact": False}]).faults == []
    twice = np.concatenate([signal[:2_000], zeros, signal[1_999:4_000]])
    assert compare(twice, signal, [gap | {"exact": False}]).faults == [
        Fault("repeat", 2_100, 101, 2_000)
    ]
    beside = [gap | {"first_frame": 1_990}]
    assert [one.kind for one in compare(sound, signal, beside).faults] == [
        "sound in a gap",
        "zeros",
    ]


def test_swapped_channels_and_foreign_sound_are_told() -> None:
    signal = signal_of(MICROPHONE, "chromium", "pcm_f32le", 2)
    assert compare(signal[100:900, ::-1], signal).faults == [Fault("swapped", 0, 800)]
    assert compare(signal[100:900] ^ 1, signal).faults == [Fault("unknown", 0, 800)]


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24", "PCM_16"])
def test_a_wav_is_compared_as_it_is_stored(subtype: str, tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    sound = MICROPHONE[500:2_500]
    data = (sound / 32_768).astype(np.float32) if subtype == "FLOAT" else sound
    soundfile.write(path, data, 48_000, subtype=subtype)
    heard = check_wav(path, "firefox", len(MICROPHONE))
    assert (heard.first, heard.end, heard.faults) == (500, 2_500, [])
