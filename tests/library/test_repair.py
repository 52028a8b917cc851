"""Repair and export: each damage is mended, other programs agree, no sample is altered."""

import json
import os
import struct
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.errors import WavError
from micwire.core.tags import STORED_HEADER_BYTES, sent_tags, stored_tags
from micwire.core.wire import format_fields
from micwire.library.inspect import verify
from micwire.library.repair import NOTHING_TO_MEND, STILL_GROWING, export, repair

STEREO = Format(Encoding.S16, 48_000, 2)
MONO_24 = Format(Encoding.S24, 48_000, 1)
FORMATS = st.builds(Format, st.sampled_from(Encoding), st.just(44_100), st.integers(1, 5))


def sound(audio_format: Format, frames: int) -> bytes:
    return bytes(i * 7 % 61 + 1 for i in range(frames * audio_format.frame_bytes))


def write_wav(path: Path, audio_format: Format, frames: int, plain: bool = False) -> bytes:
    """Write a right file; return its sound."""
    head = (wav.plain_header if plain else wav.header)(audio_format, frames)
    data = sound(audio_format, frames)
    path.write_bytes(head + data + bytes(len(data) % 2))
    return data


def write_sidecar(path: Path, audio_format: Format, frames: int, status: str) -> None:
    data = sound(audio_format, frames)
    fields = {
        "status": status,
        "format": format_fields(audio_format),
        "frames": frames,
        "gaps": [],
        "digest": digest_of(data),
    }
    path.with_suffix(".json").write_text(json.dumps(fields))


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def heard(path: Path) -> tuple[int, int, int]:
    """Return rate, channels and frames as libsndfile and ffprobe agree on them."""
    info = soundfile.info(str(path))
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", str(path)]
    (stream,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)[
        "streams"
    ]
    agreed = (info.samplerate, info.channels, info.frames)
    assert (int(stream["sample_rate"]), stream["channels"], stream["duration_ts"]) == agreed
    return agreed


def sizes_at(path: Path) -> tuple[int, int]:
    """Return the offsets of a plain file's RIFF size and data size."""
    return 4, path.read_bytes().index(b"data") + 4


# ---- in place --------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    audio_format=FORMATS,
    frames=st.integers(1, 300),
    sizes=st.tuples(
        st.sampled_from([0, 36, 2**32 - 1, 12_345]), st.sampled_from([0, 2**32 - 1, 2**31])
    ),
    cut=st.integers(0, 30),
)
def test_sizes_that_are_wrong_are_mended_and_whole_frames_kept(
    tmp_path: Path, audio_format: Format, frames: int, sizes: tuple[int, int], cut: int
) -> None:
    path = tmp_path / "broken.wav"
    data = write_wav(path, audio_format, frames, plain=frames % 2 == 0)
    riff_at, data_at = sizes_at(path)
    patch(path, riff_at, struct.pack("<I", sizes[0]))
    patch(path, data_at, struct.pack("<I", sizes[1]))
    whole = path.read_bytes()[: data_at + 4 + len(data)]
    path.write_bytes(whole[: max(data_at + 4, len(whole) - cut)])
    left = max(0, len(data) - cut) // audio_format.frame_bytes
    repair(path)
    assert verify(path).problems == ()
    assert verify(path).frames == left
    assert path.read_bytes()[data_at + 4 :].rstrip(b"\0") == data[: left * audio_format.frame_bytes]
    assert repair(path) == [NOTHING_TO_MEND]


@pytest.mark.parametrize("audio_format", [STEREO, MONO_24, Format(Encoding.F32, 96_000, 3)])
def test_other_programs_read_what_was_mended(audio_format: Format, tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    write_wav(path, audio_format, 1_001)
    with path.open("ab") as file:
        file.write(sound(audio_format, 100)[:-1])
    expected = (path.stat().st_size - wav.header_bytes(audio_format)) // audio_format.frame_bytes
    repair(path)
    assert heard(path) == (audio_format.sample_rate, audio_format.channels, expected)


def test_a_recording_that_sox_left_behind_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    made = subprocess.run(
        ["sox", "-n", "-r", "16000", "-b", "16", "-t", "wav", "-", "synth", "1", "sine", "440"],
        capture_output=True,
        check=True,
    ).stdout
    path.write_bytes(made[:-3])
    assert not verify(path).ok
    repair(path)
    assert verify(path).ok
    assert heard(path) == (16_000, 1, 15_998)


def test_a_recording_that_ffmpeg_left_behind_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    source = ["-f", "lavfi", "-i", "sine=440:r=44100:d=0.5"]
    command = ["ffmpeg", "-v", "error", *source, "-c:a", "pcm_s24le", "-f", "wav", "-"]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    assert "how much sound" in verify(path).problems[0]
    repair(path)
    assert verify(path).ok
    assert heard(path) == (44_100, 1, 22_050)


def test_a_recording_that_python_left_behind_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "died.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.setnframes(0)
        file.writeframesraw(sound(STEREO, 500))
        died = path.with_name("copy.wav")
        file._file.flush()  # type: ignore[attr-defined]  # as a killed process leaves it
        died.write_bytes(path.read_bytes())
    repair(died)
    assert heard(died) == (22_050, 2, 500)


def test_an_encoding_that_micwire_does_not_record_is_mended_as_well(tmp_path: Path) -> None:
    path = tmp_path / "telephone.wav"
    soundfile.write(path, np.zeros((1_000, 2)), 4_000, subtype="PCM_U8")
    patch(path, sizes_at(path)[1], bytes(4))
    patch(path, 4, bytes(4))
    repair(path)
    assert heard(path) == (4_000, 2, 1_000)


@pytest.mark.parametrize("audio_format", [STEREO, Format(Encoding.F32, 48_000, 1)])
def test_a_header_that_fell_behind_is_brought_up_to_the_file(
    audio_format: Format, tmp_path: Path
) -> None:
    path = tmp_path / "behind.wav"
    data = write_wav(path, audio_format, 500)
    patch(path, 0, wav.header(audio_format, 300))
    done = repair(path)
    assert "claimed 1200 bytes" in done[0]
    assert "500 frames now (0.010 s)" in done[0]
    assert len(done) == 2
    assert path.read_bytes() == wav.header(audio_format, 500) + data


def test_sound_that_looks_like_a_chunk_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "behind.wav"
    path.write_bytes(wav.plain_header(STEREO, 2) + bytes(8) + b"LISTALSOSOUND" + bytes(3))
    repair(path)
    assert verify(path).frames == 6


def test_the_pad_byte_is_not_taken_for_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "telephone.wav"
    soundfile.write(path, np.zeros(1_001), 8_000, subtype="PCM_U8")
    right = path.read_bytes()
    assert len(right) == 44 + 1_001 + 1
    patch(path, 4, bytes(4))
    repair(path)
    assert path.read_bytes() == right


def test_chunks_behind_the_sound_stay_and_are_not_taken_for_sound(tmp_path: Path) -> None:
    path = tmp_path / "tagged.wav"
    write_wav(path, MONO_24, 101)
    with path.open("ab") as file:
        file.write(b"LIST\x04\x00\x00\x00INFO" + b"cue \x04\x00\x00\x00\x00\x00\x00\x00")
    before = path.read_bytes()
    repair(path)
    after = path.read_bytes()
    assert after[:4] + after[8:] == before[:4] + before[8:]
    assert int.from_bytes(after[4:8], "little") == len(after) - 8
    assert verify(path).frames == 101
    assert repair(path) == [NOTHING_TO_MEND]


def test_a_header_longer_than_the_first_64_kib_is_found(tmp_path: Path) -> None:
    path = tmp_path / "picture.wav"
    write_wav(path, STEREO, 500, plain=True)
    data = path.read_bytes()
    picture = b"iXML" + struct.pack("<I", 200_000) + b"x" * 200_000
    path.write_bytes(data[:36] + picture + data[36:])
    assert "bytes in all" in verify(path).problems[0]
    repair(path)
    assert verify(path).problems == ()
    assert heard(path) == (48_000, 2, 500)


@pytest.mark.parametrize("form", [b"RF64", b"BW64"])
def test_the_table_of_an_rf64_file_and_its_name_stay(form: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table.wav"
    table = b"big " + struct.pack("<Q", 7)
    ds64 = b"ds64" + struct.pack("<IQQQI", 40, 0, 0, 0, 1) + table
    plain = wav.plain_header(STEREO, 500)
    unknown = b"\xff" * 4
    path.write_bytes(form + unknown + b"WAVE" + ds64 + plain[12:40] + unknown + sound(STEREO, 500))
    repair(path)
    sizes = struct.pack("<QQQI", path.stat().st_size - 8, 2_000, 500, 1)
    assert path.read_bytes()[:60] == form + unknown + b"WAVE" + ds64[:8] + sizes + table
    assert repair(path) == [NOTHING_TO_MEND]


def test_chunks_that_follow_without_a_pad_byte_are_not_taken_for_sound(tmp_path: Path) -> None:
    path = tmp_path / "tagged.wav"
    write_wav(path, MONO_24, 101)
    path.write_bytes(path.read_bytes()[:-1] + b"LIST\x04\x00\x00\x00INFO")
    repair(path)
    assert verify(path).frames == 101
    assert path.read_bytes().endswith(b"INFO")


def test_a_missing_pad_byte_is_added(tmp_path: Path) -> None:
    path = tmp_path / "unpadded.wav"
    write_wav(path, MONO_24, 101)
    right = path.read_bytes()
    path.write_bytes(right[:-1])
    assert "pad byte" in repair(path)[0]
    assert path.read_bytes() == right


@pytest.mark.parametrize("audio_format", [STEREO, MONO_24])
@pytest.mark.parametrize("frames", [0, 1, 500])
def test_a_right_file_is_not_touched(audio_format: Format, frames: int, tmp_path: Path) -> None:
    path = tmp_path / "right.wav"
    write_wav(path, audio_format, frames)
    path.chmod(0o444)
    before = path.stat()
    assert repair(path) == [NOTHING_TO_MEND]
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)
    assert list(tmp_path.iterdir()) == [path]


def test_the_header_as_it_was_is_kept_and_an_older_one_too(tmp_path: Path) -> None:
    path = tmp_path / "broken.wav"
    write_wav(path, STEREO, 500)
    patch(path, 4, b"\x01\x02\x03\x04")
    first = path.read_bytes()[:80]
    assert "broken.wav.header.bak" in repair(path)[-1]
    patch(path, 4, b"\x05\x06\x07\x08")
    second = path.read_bytes()[:80]
    repair(path)
    assert (tmp_path / "broken.wav.header.bak").read_bytes() == first
    assert (tmp_path / "broken.wav.header.2.bak").read_bytes() == second


def test_the_header_is_written_once_and_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "broken.wav"
    write_wav(path, MONO_24, 101)
    broken = path.read_bytes()[:-5]
    path.write_bytes(broken)
    seen: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append(path.read_bytes())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    repair(path)
    head = wav.header_bytes(MONO_24)
    # Backup, its directory, the new length, and only then the header.
    assert [data[:head] == broken[:head] for data in seen] == [True, True, True, False]
    assert [len(data) - head for data in seen] == [299, 299, 298, 298]


# ---- our own recordings ----------------------------------------------------------


def test_the_sidecar_tells_how_long_a_finished_recording_is(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_wav(path, MONO_24, 101)
    write_sidecar(path, MONO_24, 101, "finished")
    right = path.read_bytes()
    patch(path, 0, wav.header(MONO_24, 0))
    repair(path)
    assert path.read_bytes() == right
    assert verify(path).ok


def test_a_header_of_zeros_comes_back_from_the_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_wav(path, MONO_24, 101)
    write_sidecar(path, MONO_24, 101, "finished")
    right = path.read_bytes()
    patch(path, 0, bytes(wav.header_bytes(MONO_24)))
    assert "101 frames from byte 80" in repair(path)[0]
    assert path.read_bytes() == right
    assert verify(path).ok


def test_a_header_with_tags_comes_back_from_the_sidecar(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_sidecar(path, MONO_24, 101, "finished")
    fields = json.loads(path.with_suffix(".json").read_text()) | {"title": "Wieder da"}
    fields["data_offset"] = STORED_HEADER_BYTES
    path.with_suffix(".json").write_text(json.dumps(fields))
    right = wav.header(MONO_24, 101, stored_tags(fields)) + sound(MONO_24, 101) + b"\0"
    path.write_bytes(bytes(STORED_HEADER_BYTES) + right[STORED_HEADER_BYTES:])
    assert "101 frames from byte 4096" in repair(path)[0]
    assert path.read_bytes() == right
    assert verify(path).ok


def test_an_export_with_tags_says_what_the_sidecar_says(tmp_path: Path) -> None:
    path, target = tmp_path / "ours.wav", tmp_path / "copy.wav"
    write_wav(path, MONO_24, 101)
    with pytest.raises(WavError, match="no sidecar"):
        export(path, target, is_tagged=True)
    assert not target.exists()
    write_sidecar(path, MONO_24, 101, "finished")
    fields = json.loads(path.with_suffix(".json").read_text())
    fields |= {"title": "Später", "marks": [{"frame": 7, "label": "da"}]}
    path.with_suffix(".json").write_text(json.dumps(fields))
    export(path, target, is_tagged=True)
    assert target.read_bytes() == (
        wav.header(MONO_24, 101, sent_tags(fields)) + sound(MONO_24, 101) + b"\0"
    )
    assert heard(target) == (MONO_24.sample_rate, 1, 101)


def test_a_growing_recording_is_left_to_the_server(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_wav(path, STEREO, 500)
    write_sidecar(path, STEREO, 500, "recording")
    patch(path, 0, wav.header(STEREO, 300))
    before = path.read_bytes()
    assert repair(path) == [STILL_GROWING, NOTHING_TO_MEND]
    assert path.read_bytes() == before


def test_frames_that_no_sidecar_counts_are_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_wav(path, STEREO, 500)
    write_sidecar(path, STEREO, 400, "finished")
    before = path.read_bytes()
    patch(path, 4, bytes(4))
    with pytest.raises(WavError, match="400 bytes lie behind"):
        repair(path)
    assert path.read_bytes()[8:] == before[8:]


def test_one_whole_frame_too_many_is_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_wav(path, STEREO, 500)
    write_sidecar(path, STEREO, 499, "finished")
    patch(path, 0, wav.header(STEREO, 0))
    with pytest.raises(WavError, match="4 bytes lie behind"):
        repair(path)


def test_pad_and_partial_frame_together_are_no_frame(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_wav(path, MONO_24, 101)
    write_sidecar(path, MONO_24, 101, "finished")
    right = path.read_bytes()
    path.write_bytes(wav.header(MONO_24, 0) + right[80:] + b"\x01\x02")
    repair(path)
    assert path.read_bytes() == right


def test_header_and_sidecar_of_different_formats_are_left_to_a_person(tmp_path: Path) -> None:
    path = tmp_path / "ours.wav"
    write_wav(path, STEREO, 500)
    write_sidecar(path, MONO_24, 500, "finished")
    with pytest.raises(WavError, match="disagree"):
        repair(path)


# ---- lost headers ----------------------------------------------------------------


@pytest.mark.parametrize("audio_format", [STEREO, MONO_24, Format(Encoding.F32, 96_000, 3)])
def test_a_header_of_zeros_is_written_anew_for_a_given_format(
    audio_format: Format, tmp_path: Path
) -> None:
    path = tmp_path / "zeros.wav"
    write_wav(path, audio_format, 301, plain=True)
    right = path.read_bytes()
    patch(path, 0, bytes(len(wav.plain_header(audio_format, 0))))
    with pytest.raises(WavError, match="format must be given"):
        repair(path)
    repair(path, assume=audio_format)
    assert path.read_bytes() == right


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "format must be given|too few"),
        (b"fLaC" + bytes(100), "not a WAV"),
        (b"RIFF\x10\x00\x00\x00WAVEdata\x04\x00\x00\x00abcd", "no fmt chunk"),
        (b"RIFF\x10\x00\x00\x00WAVE" + bytes(100), "no data chunk"),
        (bytes(20) + b"sound" * 100, "no header of zeros"),
        (bytes(20), "no header of zeros"),
    ],
)
def test_what_can_not_be_mended_is_refused_and_not_touched(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "hopeless.wav"
    path.write_bytes(data)
    with pytest.raises(WavError, match=reason):
        repair(path, assume=STEREO if data else None)
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


# ---- past 4 GiB ------------------------------------------------------------------


def write_large(path: Path, head: bytes, frames: int) -> None:
    """Write a file of stereo frames that is a hole but for its header and last frame."""
    with path.open("wb") as file:
        file.write(head)
        file.seek(len(head) + frames * 4 - 4)
        file.write(b"last")


@pytest.mark.parametrize("claimed", [0, 1_000])
def test_a_file_past_4_gib_becomes_rf64_in_its_junk_chunk(claimed: int, tmp_path: Path) -> None:
    path, frames = tmp_path / "large.wav", 1_100_000_000
    write_large(path, wav.header(STEREO, claimed), frames)
    repair(path)
    with path.open("rb") as file:
        assert file.read(80) == wav.header(STEREO, frames)
    assert heard(path) == (48_000, 2, frames)


def test_an_rf64_file_that_was_cut_is_mended_as_rf64(tmp_path: Path) -> None:
    path, frames = tmp_path / "large.wav", 1_100_000_000
    write_large(path, wav.header(STEREO, frames + 5_000), frames)
    with path.open("ab") as file:
        file.write(b"abc")
    repair(path)
    with path.open("rb") as file:
        assert file.read(80) == wav.header(STEREO, frames)
    assert path.stat().st_size == 80 + frames * 4


def test_a_file_past_4_gib_without_room_is_copied_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, frames = tmp_path / "small.wav", 10_000
    data = write_wav(path, STEREO, frames, plain=True)
    patch(path, 40, bytes(4))
    before = path.read_bytes()
    # As if 4 GiB were 30,000 bytes: copying so much would take minutes.
    monkeypatch.setattr(wav, "MAX_RIFF_BYTES", 30_000)
    done = repair(path)
    assert "small.repaired.wav" in done[0]
    assert path.read_bytes() == before
    copy = (tmp_path / "small.repaired.wav").read_bytes()
    assert copy == wav.header(STEREO, frames) + data
    assert copy[:4] == b"RF64"
    assert soundfile.info(str(tmp_path / "small.repaired.wav")).frames == frames
    with pytest.raises(FileExistsError):
        repair(path)


# ---- export ----------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(audio_format=FORMATS, frames=st.integers(0, 300))
def test_an_export_holds_the_same_samples_behind_a_plain_header(
    tmp_path: Path, audio_format: Format, frames: int
) -> None:
    source, target = tmp_path / "ours.wav", tmp_path / "plain.wav"
    data = write_wav(source, audio_format, frames)
    export(source, target, overwrite=True)
    pad = bytes(len(data) % 2)
    assert target.read_bytes() == wav.plain_header(audio_format, frames) + data + pad
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_an_export_of_a_growing_recording_holds_what_is_claimed(tmp_path: Path) -> None:
    source, target = tmp_path / "ours.wav", tmp_path / "plain.wav"
    write_wav(source, STEREO, 500)
    patch(source, 0, wav.header(STEREO, 300))
    export(source, target)
    with wave.open(str(target)) as file:
        assert file.readframes(1_000) == sound(STEREO, 500)[:1200]


def test_an_export_overwrites_only_when_told(tmp_path: Path) -> None:
    source, target = tmp_path / "ours.wav", tmp_path / "plain.wav"
    write_wav(source, STEREO, 500)
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"plain\.wav"):
        export(source, target)
    assert target.read_bytes() == b"precious"
    export(source, target, overwrite=True)
    assert target.stat().st_size == 44 + 2_000


def test_an_export_that_fails_leaves_the_target_as_it_was(tmp_path: Path) -> None:
    source, target = tmp_path / "ours.wav", tmp_path / "plain.wav"
    write_wav(source, STEREO, 500)
    target.write_bytes(b"precious")

    def break_off(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(source, target, overwrite=True, progress=break_off)
    assert target.read_bytes() == b"precious"
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_an_export_refuses_what_would_not_be_all_of_the_sound(tmp_path: Path) -> None:
    source, target = tmp_path / "ours.wav", tmp_path / "plain.wav"
    write_wav(source, STEREO, 500)
    source.write_bytes(source.read_bytes()[:-4])
    with pytest.raises(WavError, match="repair it first"):
        export(source, target)
    write_large(source, wav.header(STEREO, 1_100_000_000), 1_100_000_000)
    with pytest.raises(WavError, match="4 GiB"):
        export(source, target)
    assert list(tmp_path.iterdir()) == [source]


def test_progress_of_an_export_ends_with_the_whole(tmp_path: Path) -> None:
    source = tmp_path / "ours.wav"
    write_wav(source, STEREO, 300_000)
    told: list[tuple[int, int]] = []
    export(source, tmp_path / "plain.wav", progress=lambda done, total: told.append((done, total)))
    assert told == [(1 << 20, 1_200_000), (1_200_000, 1_200_000)]
