"""Recordings that came as files are taken in, and nothing that is somebody else's is touched."""

import errno
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from micwire.core.interfaces import Files
from micwire.core.recording import Closed
from micwire.core.wav import plain_header
from micwire.files import LocalFiles
from micwire.library.adopt import Adoption
from micwire.library.folders import Problem
from tests.library.shelf import FORMAT, Shelf, id_of, state_of, write_wav

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SOUND = np.arange(1_000, dtype="<i2").tobytes()


class Try:
    """One look through a data directory."""

    def __init__(self, data: Path, files: Files | None = None) -> None:
        self.problems: list[Problem] = []
        self.progress: list[tuple[int, int]] = []
        (data / ".micwire").mkdir(exist_ok=True)
        adoption = Adoption(
            data,
            files or LocalFiles(),
            self.problems.append,
            lambda done, total: self.progress.append((done, total)),
            lambda: NOW,
        )
        self.taken = adoption.run()
        self.register = adoption.register

    def closed(self, recording: str) -> Closed:
        closed = self.register.get(recording)
        assert closed is not None
        return closed


def with_journal(data: Path) -> None:
    (data / ".micwire" / "journal").mkdir(parents=True)
    (data / ".micwire" / "journal" / "1").write_bytes(b"")


def test_a_wav_without_a_sidecar_gets_one_and_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "Tape 3" / "Seite A.wav"
    path.parent.mkdir()
    samples = np.arange(2_000, dtype=np.int16).reshape(-1, 2)
    soundfile.write(path, samples, 44_100, format="WAV", subtype="PCM_16")
    found = Try(tmp_path)
    assert (found.taken, found.problems, found.progress) == (1, [], [(1, 1)])
    fields = json.loads(path.with_suffix(".json").read_text())
    assert fields["frames"] == 1_000
    assert fields["title"] == "Seite A"
    assert fields["format"] == {"encoding": "pcm_s16le", "sample_rate": 44_100, "channels": 2}
    assert fields["created_at"] == "2026-11-24T00:00:00.000+00:00"
    closed = found.closed(fields["recording"])
    assert (closed.path, closed.status, closed.frames) == ("Tape 3/Seite A", "finished", 1_000)
    assert closed.digest == fields["digest"]
    assert closed.audio_offset == 44
    again = Try(tmp_path)
    assert (again.taken, again.problems) == (0, [])


@pytest.mark.parametrize("has_sidecar", [False, True])
def test_a_wav_whose_name_ends_in_capitals_is_renamed(tmp_path: Path, *, has_sidecar: bool) -> None:
    folder = tmp_path / "Zoom"
    folder.mkdir()
    write_wav(folder / "TAPE.wav", SOUND)
    if has_sidecar:
        Try(tmp_path)
        shutil.rmtree(tmp_path / ".micwire")
    (folder / "TAPE.wav").rename(folder / "TAPE.WAV")
    found = Try(tmp_path)
    assert (found.taken, found.problems) == (1, [])
    assert sorted(path.name for path in folder.iterdir()) == ["TAPE.json", "TAPE.wav"]
    fields = json.loads((folder / "TAPE.json").read_text())
    assert found.closed(fields["recording"]).path == "Zoom/TAPE"
    assert Try(tmp_path).taken == 0


def test_a_wav_in_capitals_beside_one_of_the_same_name_takes_no_place(tmp_path: Path) -> None:
    write_wav(tmp_path / "TAPE.wav", SOUND)
    write_wav(tmp_path / "TAPE.WAV", SOUND[:200])
    found = Try(tmp_path)
    assert found.taken == 1
    fields = json.loads((tmp_path / "TAPE.json").read_text())
    assert fields["frames"] == len(SOUND) // 2
    assert (tmp_path / "TAPE.WAV").stat().st_size < (tmp_path / "TAPE.wav").stat().st_size


def test_the_place_of_the_sound_is_that_in_the_file_not_that_in_the_sidecar(
    tmp_path: Path,
) -> None:
    write_wav(tmp_path / "tape.wav", SOUND)
    Try(tmp_path)
    shutil.rmtree(tmp_path / ".micwire")
    sidecar = tmp_path / "tape.json"
    fields = json.loads(sidecar.read_text())
    offset = fields.pop("data_offset")
    sidecar.write_text(json.dumps(fields | {"data_offset": 4_096}))
    found = Try(tmp_path)
    assert found.closed(fields["recording"]).data_offset == offset


def test_a_folder_that_refuses_is_named_and_the_others_are_taken_in(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "tape.wav", SOUND)

    class Refusing(LocalFiles):
        def rename(self, source: str, target: str) -> None:
            if "/a/" in target:
                raise PermissionError(errno.EACCES, "Permission denied", target)
            super().rename(source, target)

    found = Try(tmp_path, Refusing())
    assert found.taken == 1
    assert [problem.path for problem in found.problems] == ["a/tape.wav"]


def test_what_is_left_of_a_deleted_recording_is_not_taken_in_as_another(tmp_path: Path) -> None:
    write_wav(tmp_path / "tape.wav", SOUND)
    note = tmp_path / ".micwire" / "deleting" / id_of(1)
    note.parent.mkdir(parents=True)
    note.write_text(Closed(id_of(1), "deleted", "", FORMAT, "tape", 1, 0, "").to_json())
    assert Try(tmp_path).taken == 0


def test_recordings_restored_without_their_register_are_entered(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(7, title="Seven", owner="ana")
    found = Try(tmp_path)
    closed = found.closed(id_of(7))
    assert (closed.path, closed.owner, closed.frames) == ("2026-01-01/00000007", "ana", 7)
    assert closed.key_hash == ""


def test_a_recording_that_was_moved_is_followed(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(7)
    Try(tmp_path)
    (tmp_path / "best").mkdir()
    (tmp_path / "2026-01-01" / "00000007.json").rename(tmp_path / "best" / "seven.json")
    assert Try(tmp_path).closed(id_of(7)).path == "best/seven"


def test_what_was_deleted_stays_deleted(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(7)
    first = Try(tmp_path)
    first.register.put(Closed(id_of(7), "deleted", "", FORMAT, "", 1, 0, ""))
    again = Try(tmp_path)
    assert again.taken == 0
    assert again.closed(id_of(7)).status == "deleted"


def test_what_is_in_the_journal_is_left_to_the_server(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with_journal(tmp_path)
    shelf.write_sidecar(state_of(7), "recording")
    wav = tmp_path / "2026-11-22" / "18-13-05_7f3a9c2e.wav"
    write_wav(wav, SOUND)
    found = Try(tmp_path)
    assert found.taken == 0
    assert found.register.get(id_of(7)) is None
    [problem] = found.problems
    assert problem.path == "2026-11-22/18-13-05_7f3a9c2e.wav"
    assert "micwire serve" in problem.sentence
    assert not wav.with_suffix(".json").exists()


def test_what_was_not_over_and_has_no_journal_is_over_now(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    gap = {"first_frame": 900, "frames": 500, "cause": "capture", "exact": True}
    late = gap | {"first_frame": 5_000}
    shelf.write_sidecar(state_of(7), "recording", frames=9_000, gaps=[gap, late])
    digest = write_wav(tmp_path / "2026-01-01" / "00000007.wav", SOUND)
    found = Try(tmp_path)
    closed = found.closed(id_of(7))
    assert (closed.status, closed.frames, closed.digest) == ("interrupted", 1_000, digest)
    fields = json.loads((tmp_path / "2026-01-01" / "00000007.json").read_text())
    assert (fields["status"], fields["frames"]) == ("interrupted", 1_000)
    assert [one["frames"] for one in fields["gaps"]] == [100]


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"no sound at all" * 99, plain_header(FORMAT, 5)[:30], b"\\0" * 4_000],
)
def test_a_wav_that_cannot_be_read_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(content)
    found = Try(tmp_path)
    assert found.taken == 0
    [problem] = found.problems
    assert problem.path == "broken.wav"
    assert not (tmp_path / "broken.json").exists()


def test_other_files_are_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("[1, 2]")
    (tmp_path / "list.json").write_text('{"a": 1}')
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / ".hidden").mkdir()
    write_wav(tmp_path / ".hidden" / "x.wav", SOUND)
    found = Try(tmp_path)
    assert (found.taken, found.problems) == (0, [])
