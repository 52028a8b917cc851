"""A WAV while it grows: what is durable when, and what its header says meanwhile."""

import errno
import hashlib
import io
import wave
from pathlib import Path

import pytest
import soundfile

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.errors import StorageFailedError, WavError
from micwire.files import LocalFiles
from micwire.library.wavfile import WavFile, WavMissingError
from micwire.testing import ForgetfulFiles, Survivors

PATH = "/data/a.wav"
STEREO = Format(Encoding.S16, 48_000, 2)
FORMATS = [
    Format(encoding, 48_000, channels) for encoding in Encoding for channels in (1, 2, 3, 5, 64)
]


def sound(audio_format: Format, frames: int, first: int = 0) -> bytes:
    """Return frames of which no two are alike; floats stay finite."""
    sample_bytes = audio_format.encoding.sample_bytes
    samples = (
        ((frame * 64 + channel) * 2_654_435_761 >> 7).to_bytes(8, "little")[:sample_bytes]
        if not audio_format.encoding.is_float
        else ((frame * 64 + channel) % (1 << 23)).to_bytes(3, "little") + b"\x3f"
        for frame in range(first, first + frames)
        for channel in range(audio_format.channels)
    )
    return b"".join(samples)


def new_files() -> ForgetfulFiles:
    return ForgetfulFiles("/data")


def is_whole(content: bytes, audio_format: Format, pcm: bytes) -> bool:
    frames = len(pcm) // audio_format.frame_bytes
    padding = bytes(wav.padding(audio_format, frames))
    return content == wav.header(audio_format, frames) + pcm + padding


@pytest.mark.parametrize("audio_format", FORMATS, ids=str)
def test_a_finished_file_is_header_sound_and_padding(audio_format: Format) -> None:
    files = new_files()
    file, pcm = WavFile(files, PATH, audio_format), sound(audio_format, 101)
    file.take(pcm[: 40 * audio_format.frame_bytes])
    file.flush()
    file.take(pcm[40 * audio_format.frame_bytes :])
    file.flush()
    file.finish()
    files.sync_directory("/data")
    files.cut_power(survivors=Survivors.NOTHING)
    content = files.content(PATH)
    assert is_whole(content, audio_format, pcm)
    assert len(content) % 2 == 0
    assert file.digest.hexdigest() == digest_of(pcm)
    with soundfile.SoundFile(io.BytesIO(content)) as opened:
        assert (opened.frames, opened.channels) == (101, audio_format.channels)


def test_an_odd_sound_of_24_bits_is_padded_once_and_the_padding_is_not_counted() -> None:
    files, mono = new_files(), Format(Encoding.S24, 44_100, 1)
    file = WavFile(files, PATH, mono)
    file.take(sound(mono, 7))
    file.flush()
    file.finish()
    content = files.content(PATH)
    assert content[-1] == 0
    assert len(content) == wav.header_bytes(mono) + 22
    with wave.open(io.BytesIO(content)) as opened:
        assert opened.getnframes() == 7
        assert opened.readframes(8) == sound(mono, 7)


def test_a_recording_without_frames_is_a_file_without_frames() -> None:
    files = new_files()
    file = WavFile(files, PATH, STEREO)
    file.finish()
    assert is_whole(files.content(PATH), STEREO, b"")
    assert file.digest.hexdigest() == hashlib.sha256().hexdigest()


def test_nothing_is_made_before_the_first_frame() -> None:
    files = new_files()
    WavFile(files, PATH, STEREO).flush()
    assert files.operations == 0


def test_the_header_never_counts_what_is_not_synced() -> None:
    files = new_files()
    file, pcm = WavFile(files, PATH, STEREO), sound(STEREO, 4_000)
    for step in range(40):
        file.take(pcm[step * 400 : step * 400 + 400])
        file.flush()
        if step % 3 == 0:
            file.sync()
        claimed = wav.layout(files.content(PATH), 1 << 40).claimed_bytes
        kept = files.durable_content(PATH)
        files.sync_directory("/data")
        assert claimed == file.synced * 4
        if kept is not None:
            header = wav.header_bytes(STEREO)
            assert kept[header : header + claimed] == pcm[:claimed]
        assert len(files.durable_content(PATH) or b"") >= claimed


def test_a_gap_is_zeros_and_has_its_length_once_it_is_synced() -> None:
    files = new_files()
    file, pcm = WavFile(files, PATH, STEREO), sound(STEREO, 30)
    file.take(pcm[:40])
    file.flush()
    file.skip(5)
    file.sync()
    assert is_whole(files.content(PATH), STEREO, pcm[:40] + bytes(20))
    file.take(pcm[60:])
    file.flush()
    file.skip(3)
    file.finish()
    whole = pcm[:40] + bytes(20) + pcm[60:] + bytes(12)
    assert is_whole(files.content(PATH), STEREO, whole)
    while not file.catch_up():
        pass
    assert file.digest.hexdigest() == digest_of(whole)


def test_a_flush_that_failed_may_be_tried_again() -> None:
    files = new_files()
    file, pcm = WavFile(files, PATH, STEREO), sound(STEREO, 100)
    file.take(pcm)
    files.shorten(lambda size: 130, at=2, times=1)
    files.fail("write", errno.ENOSPC, at=3, times=2)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            file.flush()
        assert (file.written, file.end) == (0, 100)
    file.flush()
    file.finish()
    assert is_whole(files.content(PATH), STEREO, pcm)
    assert file.digest.hexdigest() == digest_of(pcm)
    assert files.open_descriptors == 0


@pytest.mark.parametrize("at", [1, 2])
def test_a_failed_sync_is_final(at: int) -> None:
    files = new_files()
    file = WavFile(files, PATH, STEREO)
    file.take(sound(STEREO, 10))
    file.flush()
    files.fail("sync", errno.ENOSPC, at=at, times=1)
    with pytest.raises(StorageFailedError):
        file.finish()
    assert file.synced == 0
    assert files.open_descriptors == 0


# ---- the digest --------------------------------------------------------------------


def test_the_digest_catches_up_piece_by_piece_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micwire.library.wavfile.CATCH_UP_BYTES", 1_000)
    files, pcm = new_files(), sound(STEREO, 1_000)
    file = WavFile(files, PATH, STEREO)
    file.take(pcm[:3_200])
    file.flush()
    file.sync()
    later = WavFile(files, PATH, STEREO, 800)
    assert later.undigested_bytes == 3_200
    later.take(pcm[3_200:])
    later.flush()
    rounds = 1
    while not later.catch_up():
        rounds += 1
    assert rounds == 4
    assert later.digest.hexdigest() == digest_of(pcm)
    later.take(sound(STEREO, 1, 1_000))
    later.flush()
    assert later.undigested_bytes == 0, "from here on it goes along"
    assert later.digest.hexdigest() == digest_of(sound(STEREO, 1_001))


def test_the_digest_counts_a_gap_that_the_file_does_not_hold_yet() -> None:
    files = new_files()
    first = WavFile(files, PATH, STEREO)
    first.take(sound(STEREO, 3))
    first.flush()
    file = WavFile(files, PATH, STEREO, 3)
    file.skip(1_000)
    while not file.catch_up():
        pass
    assert file.digest.hexdigest() == digest_of(sound(STEREO, 3) + bytes(4_000))


# ---- after a crash -----------------------------------------------------------------


def left_behind(files: ForgetfulFiles, frames: int, *, rubbish: bytes = b"") -> bytes:
    """Leave a file with so many synced frames, and something behind them."""
    file, pcm = WavFile(files, PATH, STEREO), sound(STEREO, frames)
    file.take(pcm)
    file.flush()
    file.sync()
    descriptor = files.open(PATH)
    files.write(descriptor, [rubbish], files.size(descriptor))
    files.sync(descriptor)
    files.close(descriptor)
    files.sync_directory("/data")
    return pcm


@pytest.mark.parametrize("rubbish", [b"", b"\xaa" * 7, b"\xaa" * 4_000])
@pytest.mark.parametrize("start", [0, 1, 99, 100])
def test_a_replay_from_anywhere_gives_the_same_file(start: int, rubbish: bytes) -> None:
    files = new_files()
    left_behind(files, 100, rubbish=rubbish)
    whole = sound(STEREO, 100) + bytes(200) + sound(STEREO, 30, 150)
    file = WavFile(files, PATH, STEREO, start)
    file.resume(start)
    file.take(whole[start * 4 : 400])
    file.flush()
    file.skip(50)
    file.take(whole[600:])
    file.flush()
    file.settle()
    assert is_whole(files.content(PATH), STEREO, whole)
    kept = files.durable_content(PATH)
    assert kept is not None
    assert kept[wav.header_bytes(STEREO) :] == whole
    while not file.catch_up():
        pass
    assert file.digest.hexdigest() == digest_of(whole)


def test_a_crash_in_a_replay_leaves_no_header_that_claims_too_much() -> None:
    pcm = sound(STEREO, 1_000)
    for frames, start in ((1_000, 300), (400, 0), (400, 400), (1_200, 1_000)):
        for operation in range(1, 20):
            for survivors in (Survivors.NOTHING, Survivors.EVERYTHING, Survivors.METADATA):
                files = new_files()
                left_behind(files, 1_000, rubbish=b"\xaa" * 1_000)
                files.stop_at(files.operations + operation)
                try:
                    file = WavFile(files, PATH, STEREO, start)
                    file.resume(start)
                    file.take(sound(STEREO, frames - start, start))
                    file.flush()
                    file.settle()
                except (OSError, StorageFailedError):
                    assert files.is_stopped
                files.cut_power(survivors=survivors)
                content = files.content(PATH)
                claimed = wav.layout(content, len(content)).claimed_bytes or 0
                begin = wav.header_bytes(STEREO)
                assert len(content) >= begin + claimed
                assert content[begin : begin + min(claimed, 4_000)] == pcm[:claimed]


def test_saved_frames_that_are_gone_are_told() -> None:
    files = new_files()
    left_behind(files, 100)
    with pytest.raises(WavMissingError, match="shorter than the 101 frames"):
        WavFile(files, PATH, STEREO, 101).resume(101)
    files.unlink(PATH)
    with pytest.raises(WavMissingError, match="is gone"):
        WavFile(files, PATH, STEREO, 1).resume(1)
    assert not WavFile(files, PATH, STEREO, 1).is_header_current()


def test_a_header_is_current_only_as_sync_left_it() -> None:
    files = new_files()
    left_behind(files, 100)
    assert WavFile(files, PATH, STEREO, 100).is_header_current()
    assert not WavFile(files, PATH, STEREO, 99).is_header_current()
    left_behind(files, 100, rubbish=b"\0")
    assert not WavFile(files, PATH, STEREO, 100).is_header_current()


# ---- beyond 4 GiB ------------------------------------------------------------------


def test_a_file_crosses_4_gib_in_place(tmp_path: Path) -> None:
    # A gap of hours is a hole in the file, so this takes no room.
    path = str(tmp_path / "large.wav")
    file = WavFile(LocalFiles(), path, STEREO)
    file.take(sound(STEREO, 10))
    file.flush()
    file.sync()
    file.skip((1 << 30) - 30)
    file.sync()
    with soundfile.SoundFile(path) as opened:
        assert opened.frames == (1 << 30) - 20
    with Path(path).open("rb") as raw:
        assert raw.read(4) == b"RIFF"
    file.take(sound(STEREO, 40, 7))
    file.flush()
    file.sync()
    with Path(path).open("rb") as raw:
        assert raw.read(4) == b"RF64"
    with soundfile.SoundFile(path) as opened:
        assert opened.frames == (1 << 30) + 20
        opened.seek((1 << 30) - 20)
        assert opened.read(dtype="int16").astype("<i2").tobytes() == sound(STEREO, 40, 7)
        opened.seek(0)
        assert opened.read(10, dtype="int16").astype("<i2").tobytes() == sound(STEREO, 10)
    assert Path(path).stat().st_blocks * 512 < 1 << 20


# ---- with tags -----------------------------------------------------------------------


TAGS = b"".join(
    name + len(payload).to_bytes(4, "little") + payload
    for name, payload in ((b"bext", bytes(range(256)) * 6), (b"JUNK", b"x" * 2_000))
)


def test_tags_stand_in_the_header_from_the_first_frame_to_the_last() -> None:
    files = new_files()
    file, pcm = WavFile(files, PATH, STEREO, tags=TAGS), sound(STEREO, 101)
    assert file.data_offset == wav.header_bytes(STEREO) + len(TAGS)
    file.take(pcm[:200])
    file.flush()
    assert files.content(PATH) == wav.header(STEREO, 0, TAGS) + pcm[:200]
    file.sync()
    assert files.content(PATH) == wav.header(STEREO, 50, TAGS) + pcm[:200]
    assert WavFile(files, PATH, STEREO, 50, TAGS).is_header_current()
    assert not WavFile(files, PATH, STEREO, 50, TAGS[:-1] + b"y").is_header_current()
    file.take(pcm[200:])
    file.flush()
    file.finish()
    assert files.content(PATH) == wav.header(STEREO, 101, TAGS) + pcm
    with soundfile.SoundFile(io.BytesIO(files.content(PATH))) as opened:
        assert opened.frames == 101


def test_a_crash_leaves_no_header_with_tags_that_claims_too_much() -> None:
    whole = sound(STEREO, 3_000)
    for operation in range(1, 40):
        for survivors in Survivors:
            files = new_files()
            files.make_directory("/data/x")
            files.stop_at(files.operations + operation)
            try:
                file = WavFile(files, PATH, STEREO, tags=TAGS)
                for first in range(0, 3_000, 1_000):
                    file.take(whole[first * 4 : first * 4 + 4_000])
                    file.flush()
                    file.sync()
                    files.sync_directory("/data")
                file.finish()
            except (OSError, StorageFailedError):
                assert files.is_stopped
            files.cut_power(survivors=survivors)
            if PATH not in files.paths():
                continue
            content, begin = files.content(PATH), wav.header_bytes(STEREO) + len(TAGS)
            try:
                claimed = wav.layout(content, len(content)).claimed_bytes or 0
            except WavError:
                is_cut = any(not any(content[at : at + 512]) for at in range(0, begin, 512))
                assert is_cut, "it never came to the disk as a whole"
                continue
            assert content[begin : begin + claimed] == whole[:claimed]
            assert len(content) >= begin + claimed


def test_sizes_of_64_bits_are_durable_before_the_header_points_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wav, "MAX_RIFF_BYTES", 20_000)
    whole = sound(STEREO, 6_000)
    for operation in range(1, 30):
        for survivors in Survivors:
            files = new_files()
            file = WavFile(files, PATH, STEREO, tags=TAGS)
            file.take(whole[:4_000])
            file.flush()
            file.sync()
            files.sync_directory("/data")
            files.stop_at(files.operations + operation)
            try:
                file.take(whole[4_000:])
                file.flush()
                file.sync()
                file.finish()
            except (OSError, StorageFailedError):
                assert files.is_stopped
            files.cut_power(survivors=survivors)
            content = files.content(PATH)
            layout = wav.layout(content, len(content))
            assert layout.claimed_bytes in (0, 4_000, 24_000)
            assert (
                content[layout.data_offset :][: layout.claimed_bytes]
                == whole[: layout.claimed_bytes]
            )
    assert content.startswith(b"RF64")
