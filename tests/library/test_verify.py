"""Verification: a right recording has no problems, and each damage is named."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.wire import format_fields
from micwire.library.inspect import verify, verify_all

STEREO = Format(Encoding.S16, 48_000, 2)
MONO_24 = Format(Encoding.S24, 48_000, 1)


@dataclass
class Recording:
    """A recording on disk, right unless a test alters a part of it."""

    directory: Path
    format: Format = STEREO
    frames: int = 30_001
    status: str = "finished"
    name: str = "18-13-05_7f3a9c2e"
    gaps: list[dict[str, object]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}.wav"

    @property
    def sidecar(self) -> Path:
        return self.directory / f"{self.name}.json"

    def gap(self, first_frame: int, frames: int) -> None:
        entry = {"first_frame": first_frame, "frames": frames, "cause": "capture", "exact": True}
        self.gaps.append(entry)

    def write(self, **altered: object) -> "Recording":
        frame_bytes = self.format.frame_bytes
        sound = bytearray(i * 7 % 250 + 1 for i in range(self.frames * frame_bytes))
        for gap in self.gaps:
            first, count = gap["first_frame"], gap["frames"]
            assert isinstance(first, int)
            assert isinstance(count, int)
            stop = min(first + count, self.frames)
            sound[first * frame_bytes : stop * frame_bytes] = bytes((stop - first) * frame_bytes)
        head = wav.header(self.format, self.frames)
        self.path.write_bytes(head + sound + bytes(wav.padding(self.format, self.frames)))
        fields = {
            "recording": "7f3a9c2e-0000-4000-8000-000000000000",
            "status": self.status,
            "format": format_fields(self.format),
            "frames": self.frames,
            "gaps": self.gaps,
            "marks": [],
            "digest": None if self.status == "recording" else digest_of(sound),
        }
        self.sidecar.write_text(json.dumps(fields | altered))
        return self

    def patch(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def cut(self, count: int) -> None:
        data = self.path.read_bytes()
        self.path.write_bytes(data[: len(data) - count])


def test_a_right_recording_has_no_problems(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    recording.gap(100, 50)
    recording.gap(20_000, 10_001)  # up to the last frame
    report = verify(recording.write().path)
    assert report.ok
    assert (report.problems, report.notes) == ((), ())
    assert report.frames == 30_001
    assert report.seconds == pytest.approx(0.62502, abs=1e-5)
    assert report.digest == json.loads(recording.sidecar.read_text())["digest"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    encoding=st.sampled_from(Encoding),
    channels=st.integers(1, 5),
    frames=st.integers(0, 700),
    status=st.sampled_from(["recording", "finished", "interrupted"]),
)
def test_a_right_recording_of_any_format_has_no_problems(
    tmp_path: Path, encoding: Encoding, channels: int, frames: int, status: str
) -> None:
    audio_format = Format(encoding, 44_100, channels)
    report = verify(Recording(tmp_path, audio_format, frames, status).write().path)
    assert report.problems == ()
    assert report.frames == frames


def spoil_a_sample(recording: Recording) -> None:
    recording.patch(wav.header_bytes(STEREO) + 5_000, b"\x00")


def spoil_a_gap(recording: Recording) -> None:
    recording.patch(wav.header_bytes(STEREO) + (100 + 49) * 4 + 3, b"\x01")


DAMAGES: list[tuple[Callable[[Recording], object], str]] = [
    (spoil_a_sample, "digest"),
    (spoil_a_gap, "gap at frame 100 does not hold zeros"),
    (lambda recording: recording.cut(1), "claims 120004 bytes of sound; the file holds 120003"),
    (lambda recording: recording.append(b"more"), "120084 bytes in all; the file has 120088"),
    (lambda recording: recording.patch(0, bytes(80)), "not a WAV"),
    (lambda recording: recording.path.write_bytes(b""), "too few"),
    (lambda recording: recording.path.unlink(), "no such file"),
    (
        lambda recording: recording.patch(0, wav.header(STEREO, 30_000)),
        "30000 frames, its sidecar says 30001",
    ),
    (lambda recording: recording.patch(0, wav.header(STEREO, 0)), "how much sound"),
    (lambda recording: recording.sidecar.write_text("{"), "sidecar can't be read"),
    (lambda recording: recording.sidecar.write_text("[]"), "sidecar can't be read"),
    (lambda recording: recording.write(status="lost"), "unknown status 'lost'"),
    (lambda recording: recording.write(frames=-1), "not a whole number"),
    (lambda recording: recording.write(frames=30_002), "its sidecar says 30002"),
    (lambda recording: recording.write(digest="0" * 64), "not 0000"),
    (
        lambda recording: recording.write(format=format_fields(Format(Encoding.S16, 44_100, 2))),
        "48000 Hz 2 ch, its sidecar says pcm_s16le 44100 Hz",
    ),
]


@pytest.mark.parametrize(("damage", "problem"), DAMAGES, ids=[words for _, words in DAMAGES])
def test_each_damage_is_named(
    damage: Callable[[Recording], object], problem: str, tmp_path: Path
) -> None:
    recording = Recording(tmp_path)
    recording.gap(100, 50)
    assert verify(recording.write().path).ok
    damage(recording)
    report = verify(recording.path)
    assert not report.ok
    assert problem in "; ".join(report.problems)


@pytest.mark.parametrize(
    ("gaps", "problem"),
    [
        ([(100, 50), (149, 10)], "two gaps overlap at frame 149"),
        ([(0, 1_000), (10, 5), (600, 2)], "two gaps overlap at frame 600"),
        ([(30_000, 2)], "ends beyond frame 30001"),
    ],
)
def test_a_gap_list_that_contradicts_itself_is_a_problem(
    gaps: list[tuple[int, int]], problem: str, tmp_path: Path
) -> None:
    recording = Recording(tmp_path)
    for first_frame, frames in gaps:
        recording.gap(first_frame, frames)
    assert problem in "; ".join(verify(recording.write().path).problems)


@pytest.mark.parametrize("first_frame", [349_520, 349_525])
def test_a_gap_that_crosses_a_piece_of_the_digest_is_read_to_its_end(
    first_frame: int, tmp_path: Path
) -> None:
    recording = Recording(tmp_path, MONO_24, frames=350_000)  # 1 MiB is 349,525.33 frames
    recording.gap(first_frame, 10)
    assert verify(recording.write().path).ok
    recording.patch(wav.header_bytes(MONO_24) + (first_frame + 10) * 3 - 1, b"\x01")
    assert f"gap at frame {first_frame}" in "; ".join(verify(recording.path).problems)


def test_a_missing_pad_byte_is_a_problem_of_a_finished_file(tmp_path: Path) -> None:
    recording = Recording(tmp_path, MONO_24).write()
    assert verify(recording.path).ok
    recording.cut(1)
    assert "bytes in all" in "; ".join(verify(recording.path).problems)


def test_a_growing_recording_may_hold_more_than_its_header_claims(tmp_path: Path) -> None:
    recording = Recording(tmp_path, MONO_24, status="recording").write(frames=40_000)
    recording.cut(1)  # the pad byte comes at the finish
    recording.append(bytes(1_000))
    report = verify(recording.path)
    assert report.ok
    assert report.frames == 30_001
    assert "still being recorded" in report.notes[0]


def test_a_growing_recording_may_not_claim_more_than_the_file_holds(tmp_path: Path) -> None:
    recording = Recording(tmp_path, status="recording").write()
    recording.cut(4)
    assert "the file holds 120000" in "; ".join(verify(recording.path).problems)


def test_a_growing_recording_without_durable_frames_has_none(tmp_path: Path) -> None:
    recording = Recording(tmp_path, frames=0, status="recording").write()
    recording.append(bytes(1_000))
    report = verify(recording.path)
    assert (report.ok, report.frames) == (True, 0)


def test_a_wav_without_a_sidecar_has_only_its_header_checked(tmp_path: Path) -> None:
    path = tmp_path / "other.wav"
    soundfile.write(path, [[0.0, 0.5]] * 441, 44_100, subtype="PCM_24")
    report = verify(path)
    assert report.ok
    assert (report.frames, report.seconds, report.digest) == (441, 0.01, None)
    assert "only the header was checked" in report.notes[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert "the file holds 2645" in "; ".join(verify(path).problems)


def test_sound_that_ends_within_a_frame_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "other.wav"
    head = wav.plain_header(STEREO, 10)
    path.write_bytes(head[:4] + b"\x4e" + head[5:40] + b"\x2a" + head[41:] + bytes(42))
    assert verify(path).problems == ("its sound ends within a frame: 42 bytes of sound",)


def test_a_sidecar_without_a_digest_leaves_the_samples_unproven(tmp_path: Path) -> None:
    report = verify(Recording(tmp_path, status="interrupted").write(digest=None).path)
    assert report.ok
    assert "can't be proven" in report.notes[0]


def test_a_recording_without_frames_needs_no_wav(tmp_path: Path) -> None:
    recording = Recording(tmp_path, frames=0).write()
    recording.path.unlink()
    assert verify(recording.path).ok


def test_a_directory_means_all_recordings_below_it(tmp_path: Path) -> None:
    day, hidden = tmp_path / "2026-11-22", tmp_path / ".micwire"
    day.mkdir()
    hidden.mkdir()
    right = Recording(day, name="a").write()
    lost = Recording(day, name="b").write()
    lost.path.unlink()
    Recording(hidden).write().cut(1)
    (day / "notes.json").write_text('{"mine": 1}')
    single = Recording(tmp_path, name="c").write()
    reports = list(verify_all([tmp_path, single.path, tmp_path / "none.wav"]))
    assert [(report.path, report.ok) for report in reports] == [
        (single.path, True),
        (right.path, True),
        (lost.path, False),
        (single.path, True),
        (tmp_path / "none.wav", False),
    ]


def test_progress_ends_with_the_whole(tmp_path: Path) -> None:
    recording = Recording(tmp_path, frames=600_000).write()
    told: list[tuple[int, int]] = []
    verify(recording.path, lambda done, total: told.append((done, total)))
    assert told == [(1 << 20, 2_400_000), (2 << 20, 2_400_000), (2_400_000, 2_400_000)]


def test_verifying_alters_nothing(tmp_path: Path) -> None:
    recording = Recording(tmp_path).write()
    recording.path.chmod(0o444)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    verify(recording.path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
