"""What makes a function an analyzer, and how bytes become floats."""

import doctest
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile

import micwire
import micwire.analyzers.level
import micwire.blocks
from micwire.blocks import MAX_BLOCK_BYTES, Analyzer, AudioBlock, Function, analyzer, decode_samples
from micwire.core.audio import Encoding, Format
from tests.faults.harness import Signal


@pytest.mark.parametrize(("encoding", "subtype"), [("s16", "PCM_16"), ("s24", "PCM_24")])
def test_integers_become_the_floats_that_soundfile_reads(
    encoding: str, subtype: str, tmp_path: Path
) -> None:
    sound = Signal(f"pcm_{encoding}le", 3)
    audio_format = Format(Encoding(sound.encoding), 48_000, 3)
    data = sound.data(0, 5_000)
    found = decode_samples(data, audio_format)
    path = tmp_path / "raw"
    path.write_bytes(data)
    expected, _ = soundfile.read(
        path,
        dtype="float32",
        always_2d=True,
        format="RAW",
        subtype=subtype,
        channels=3,
        samplerate=48_000,
        endian="LITTLE",
    )
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_floats_stay_as_they_are() -> None:
    samples = np.array([[0.5, np.nan], [np.inf, -2.0]], np.float32)
    found = decode_samples(samples.tobytes(), Format(Encoding.F32, 48_000, 2))
    assert np.array_equal(found, samples, equal_nan=True)


def nothing(block: AudioBlock) -> None:
    return None


@pytest.mark.parametrize(
    ("block_ms", "audio_format", "frames"),
    [
        (50, Format(Encoding.S16, 48_000, 2), 2_400),
        (33.3, Format(Encoding.S16, 44_100, 1), 1_469),
        (5, Format(Encoding.S16, 8_000, 1), 40),
        (10_000, Format(Encoding.F32, 384_000, 64), MAX_BLOCK_BYTES // 256),
    ],
)
def test_a_block_is_as_long_as_was_asked_for(
    block_ms: float, audio_format: Format, frames: int
) -> None:
    assert analyzer(block_ms=block_ms)(nothing).block_frames(audio_format) == frames


@pytest.mark.parametrize("block_ms", [0, -1, 4.9, 10_001, float("nan")])
def test_a_block_of_no_sensible_length_is_refused(block_ms: float) -> None:
    with pytest.raises(ValueError, match="block_ms"):
        analyzer(block_ms=block_ms)


async def waits(block: AudioBlock) -> None:
    return None


def yields(block: AudioBlock) -> Iterator[int]:
    yield 1


async def does_both(block: AudioBlock) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("what", [waits, yields, does_both, AudioBlock, "level"])
def test_only_a_plain_function_is_an_analyzer(what: object) -> None:
    with pytest.raises(TypeError, match="plain function"):
        analyzer()(cast("Function", what))


def test_arguments_that_do_not_exist_yet_are_refused() -> None:
    make = cast("Callable[..., object]", analyzer)
    for name in ("sample_rate", "channels"):
        with pytest.raises(TypeError, match=name):
            make(**{name: 1})


def test_a_decorated_function_can_still_be_called() -> None:
    @micwire.analyzer()
    def first(block: micwire.AudioBlock) -> dict[str, float]:
        return {"first": float(block.samples[0, 0]), "frames": block.frames + block.channels}

    assert isinstance(first, Analyzer)
    assert first(AudioBlock(np.ones((3, 2), np.float32), 0, 8_000, "r")) == {
        "first": 1.0,
        "frames": 5,
    }


def test_the_examples_in_the_docstrings_run() -> None:
    for module in (micwire.blocks, micwire.analyzers.level):
        done = doctest.testmod(module, extraglobs={"micwire": micwire})
        assert done.attempted > 0
        assert done.failed == 0
