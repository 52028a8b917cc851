"""Peaks: the same as counted one by one, from any file that is there, damaged or gone."""

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.interfaces import Readable
from micwire.files import LocalFiles
from micwire.library import peaks
from micwire.library.peaks import FACTORS, PeakStore

ID = "7f3a9c2e-58d1-4c0b-9a55-0c1be6f6a1d4"
MONO = Format(Encoding.S16, 48_000, 1)
STEREO = Format(Encoding.S16, 48_000, 2)
WAIT_S = 20
HOUR = 48_000 * 3_600


class CountingFiles(LocalFiles):
    """Counts what is read."""

    def __init__(self) -> None:
        self.bytes_read = 0

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        data = super().read(descriptor, count, offset)
        self.bytes_read += len(data)
        return data


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "TICK_S", 0.01)
    monkeypatch.setattr(peaks, "SHARE_GROWING", 1.0)
    monkeypatch.setattr(peaks, "GROWN_BLOCKS", 4)


def sound(audio_format: Format, frames: int, seed: int = 0) -> bytes:
    """Return noise of which each tenth of a second is about as loud as nothing before."""
    dice = np.random.default_rng(seed)
    loud = dice.random((frames // 4_800 + 1, audio_format.channels)).repeat(4_800, axis=0)
    samples = (dice.random((frames, audio_format.channels)) * 2 - 1) * loud[:frames]
    match audio_format.encoding:
        case Encoding.S16:
            return (samples * 32_767).astype("<i2").tobytes()
        case Encoding.S24:
            whole = (samples * 8_388_607).astype("<i4")
            return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        case Encoding.F32:
            return samples.astype("<f4").tobytes()


def write(path: Path, audio_format: Format, pcm: bytes) -> Readable:
    frames = len(pcm) // audio_format.frame_bytes
    path.write_bytes(wav.header(audio_format, frames) + pcm)
    return Readable(str(path), audio_format, wav.header_bytes(audio_format), frames)


def counted(
    audio_format: Format, pcm: bytes, first: int, frames: int, columns: int, factor: int
) -> NDArray[np.int8]:
    """Return the columns as anybody would count them, each over whole entries of `factor`."""
    match audio_format.encoding:
        case Encoding.S16:
            values = np.frombuffer(pcm, "<i2") / 256
        case Encoding.S24:
            padded = np.zeros((len(pcm) // 3, 4), np.uint8)
            padded[:, 1:] = np.frombuffer(pcm, np.uint8).reshape(-1, 3)
            values = (padded.view("<i4")[:, 0] >> 16) / 256
        case Encoding.F32:
            values = np.nan_to_num(np.frombuffer(pcm, "<f4") * 128, posinf=127, neginf=-128)
    values = np.clip(values.reshape(-1, audio_format.channels), -128, 127)
    found = np.zeros((columns, audio_format.channels, 2), np.int8)
    for column in range(columns):
        start = (first + column * frames // columns) // factor * factor
        end = -(-(first + (column + 1) * frames // columns) // factor) * factor
        found[column, :, 0] = np.trunc(values[start:end].min(axis=0))
        found[column, :, 1] = np.trunc(values[start:end].max(axis=0))
    return found


def factor_for(frames: int, columns: int) -> int:
    return max((1, *(factor for factor in FACTORS if factor * columns <= frames)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PeakStore]:
    """Return a store whose thread runs."""
    running = PeakStore(str(tmp_path / "peaks"), LocalFiles())
    running.start()
    yield running
    running.close()


def wait(is_there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_there():
        assert time.monotonic() < deadline, "the peaks don't come"
        time.sleep(0.005)


def complete(store: PeakStore, readable: Readable) -> None:
    """Have all peaks of a recording computed."""
    store.want(ID, readable)
    channels = readable.format.channels
    wait(
        lambda: all(
            store.blocks(ID, factor, channels) == readable.frames // (factor * 256)
            for factor in FACTORS
        )
    )


@pytest.mark.parametrize(
    "audio_format",
    [Format(encoding, 48_000, channels) for encoding in Encoding for channels in (1, 2, 5)],
    ids=str,
)
def test_peaks_are_those_that_anybody_would_count(
    audio_format: Format, store: PeakStore, tmp_path: Path
) -> None:
    frames = 1_200_123
    pcm = sound(audio_format, frames)
    readable = write(tmp_path / "a.wav", audio_format, pcm)
    ranges = [
        (0, frames, 800),
        (0, frames, 18),
        (1_000, 500_000, 100),
        (65_530, 70_000, 300),
        (frames - 3, 3, 3),
        (5, 1_000, 7),
        (0, 1, 1),
    ]
    for is_stored in (False, True):
        if is_stored:
            complete(store, readable)
        for first, count, columns in ranges:
            found = store.peaks(ID, readable, first, count, columns)
            factor = factor_for(count, columns)
            assert (found.first_frame, found.frames) == (first, count)
            assert found.known_frames == count or not is_stored
            wanted = counted(audio_format, pcm, first, count, columns, factor)
            known = found.known_frames * columns // count
            assert known > columns // 3
            np.testing.assert_array_equal(found.columns[:known], wanted[:known])


def test_what_is_no_number_is_silence_and_what_is_infinite_is_full_scale(
    store: PeakStore, tmp_path: Path
) -> None:
    mono = Format(Encoding.F32, 48_000, 1)
    samples = np.full(4_096, 0.25, "<f4")
    samples[::3] = np.nan
    samples[300] = np.inf
    samples[600] = -np.inf
    samples[1_000] = 3e38
    readable = write(tmp_path / "a.wav", mono, samples.tobytes())
    found = store.peaks(ID, readable, 0, 4_096, 16).columns[:, 0]
    assert found[0].tolist() == [0, 32]
    assert found[1].tolist() == [0, 127]
    assert found[2].tolist() == [-128, 32]
    assert found[3].tolist() == [0, 127]
    assert store.peaks(ID, readable, 300, 2, 2).columns[:, 0].tolist() == [[127, 127], [32, 32]]


def test_a_growing_recording_is_followed_and_its_last_gap_is_silence(tmp_path: Path) -> None:
    pcm = sound(STEREO, 3 * 65_536 * 4)
    path = tmp_path / "a.wav"
    readable = write(path, STEREO, pcm)
    growing = {ID: readable}
    store = PeakStore(str(tmp_path / "peaks"), LocalFiles(), lambda: tuple(growing.items()))
    store.start()
    wait(lambda: store.blocks(ID, 256, 2) == 12)
    # A gap is counted before the file has its length.
    growing[ID] = Readable(str(path), STEREO, readable.data_offset, readable.frames + 400_000)
    wait(lambda: store.blocks(ID, 256, 2) >= 16)
    found = store.peaks(ID, growing[ID], 0, growing[ID].frames, 100)
    store.close()
    whole = pcm + bytes(400_000 * 4)
    wanted = counted(STEREO, whole, 0, growing[ID].frames, 100, factor_for(growing[ID].frames, 100))
    np.testing.assert_array_equal(found.columns, wanted)


@pytest.mark.parametrize("factor", FACTORS[:2])
def test_a_damaged_file_is_noticed_and_mended(
    factor: int, store: PeakStore, tmp_path: Path
) -> None:
    frames = 65_536 * 40
    pcm = sound(MONO, frames)
    readable = write(tmp_path / "a.wav", MONO, pcm)
    complete(store, readable)
    file = tmp_path / "peaks" / "7f" / f"{ID}.{factor}"
    good = file.read_bytes()
    least = len(good) - 4 * 516 * (factor == 256)  # a few blocks may wait for the next visit
    for bad in (good[:700] + b"\x55" + good[701:], good[:-3], bytes(len(good)), b"", None):
        if bad is None:
            file.unlink()
        else:
            file.write_bytes(bad)
        for columns in (10_000, 500):
            found = store.peaks(ID, readable, 0, frames, columns)
            wanted = counted(MONO, pcm, 0, frames, columns, factor_for(frames, columns))
            np.testing.assert_array_equal(found.columns, wanted)
        wait(lambda: file.exists() and file.stat().st_size >= least)
        assert good.startswith(file.read_bytes())


def test_peaks_of_another_recording_are_not_believed(store: PeakStore, tmp_path: Path) -> None:
    readable = write(tmp_path / "a.wav", MONO, sound(MONO, 65_536 * 2))
    other = "7f000000-58d1-4c0b-9a55-0c1be6f6a1d4"
    complete(store, readable)
    folder = tmp_path / "peaks" / "7f"
    (folder / f"{other}.256").write_bytes((folder / f"{ID}.256").read_bytes())
    silence = write(tmp_path / "b.wav", MONO, bytes(65_536 * 4))
    assert not store.peaks(other, silence, 0, silence.frames, 500).columns.any()


def test_a_ten_hour_recording_is_answered_from_a_few_kib(tmp_path: Path) -> None:
    files, path, frames = CountingFiles(), tmp_path / "a.wav", 10 * HOUR
    path.write_bytes(wav.header(MONO, frames))
    with path.open("r+b") as file:
        file.truncate(wav.header_bytes(MONO) + frames * 2)  # a hole: silence takes no room
        file.seek(wav.header_bytes(MONO) + 5 * HOUR * 2)
        file.write(b"\xff\x7f\x00\x80")
    readable = Readable(str(path), MONO, wav.header_bytes(MONO), frames)
    store = PeakStore(str(tmp_path / "peaks"), files)
    first = store.peaks(ID, readable, 0, frames, 1_000)
    assert first.known_frames <= peaks.RAW_BYTES
    assert files.bytes_read <= peaks.RAW_BYTES
    # As the thread would compute them, without the hours of silence before and after.
    for factor in FACTORS:
        columns = np.zeros((frames // factor // 256 * 256, 1, 2), np.int8)
        columns[5 * HOUR // factor] = (-128, 127)
        store._append(ID, factor, columns, 0)
    files.bytes_read = 0
    found = store.peaks(ID, readable, 0, frames, 1_000)
    assert found.known_frames == frames
    assert np.flatnonzero(found.columns[:, 0, 1]).tolist() == [499, 500], "they share an entry"
    assert files.bytes_read < 500_000
    for first_frame, count in ((5 * HOUR - 48_000, 96_000), (4 * HOUR, 2 * HOUR)):
        files.bytes_read = 0
        found = store.peaks(ID, readable, first_frame, count, 1_000)
        assert found.columns[:, 0, 1].max() == 127
        assert files.bytes_read < 500_000


def test_what_is_forgotten_is_gone_and_does_not_come_back(tmp_path: Path) -> None:
    readable = write(tmp_path / "a.wav", MONO, sound(MONO, 65_536 * 20))
    store = PeakStore(str(tmp_path / "peaks"), LocalFiles(), lambda: [(ID, readable)])
    store.start()
    wait(lambda: store.blocks(ID, 4_096, 1) == 1)
    store.forget(ID)
    assert not [path for path in (tmp_path / "peaks").rglob("*") if path.is_file()]
    store.want(ID, readable)
    time.sleep(0.05)
    store.close()
    assert not [path for path in (tmp_path / "peaks").rglob("*") if path.is_file()]


def test_a_disk_that_takes_no_peaks_is_told_of_and_requests_are_answered_all_the_same(
    tmp_path: Path,
) -> None:
    class FullFiles(LocalFiles):
        def make_directory(self, path: str) -> bool:
            raise OSError(errno.ENOSPC, "No space left on device")

    errors: list[OSError] = []
    pcm = sound(MONO, 65_536 * 10)
    readable = write(tmp_path / "a.wav", MONO, pcm)
    store = PeakStore(str(tmp_path / "peaks"), FullFiles(), on_error=errors.append)
    store.start()
    store.want(ID, readable)
    wait(lambda: bool(errors))
    found = store.peaks(ID, readable, 0, readable.frames, 100)
    store.close()
    np.testing.assert_array_equal(
        found.columns, counted(MONO, pcm, 0, readable.frames, 100, factor_for(readable.frames, 100))
    )


@pytest.mark.parametrize(("first", "frames", "columns"), [(-1, 5, 1), (0, 101, 1), (0, 5, 6)])
def test_a_range_that_is_not_there_is_a_mistake(
    first: int, frames: int, columns: int, store: PeakStore, tmp_path: Path
) -> None:
    readable = write(tmp_path / "a.wav", MONO, sound(MONO, 100))
    with pytest.raises(ValueError, match="frames"):
        store.peaks(ID, readable, first, frames, columns)


def test_no_frames_are_no_columns(store: PeakStore, tmp_path: Path) -> None:
    readable = Readable(str(tmp_path / "none.wav"), STEREO, 80, 0)
    assert store.peaks(ID, readable, 0, 0, 0).columns.shape == (0, 2, 2)
