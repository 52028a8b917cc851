"""What a journal is given is read, and found again; what was torn is not believed."""

import pytest

from micwire.core.audio import Encoding, Format
from micwire.core.wav import header
from tests.web.journal.conftest import Worker


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.soak) for seed in (3, 4))]
)
def test_a_journal_holds_what_it_was_given_however_often_it_is_reopened(
    worker: Worker, kind: str, seed: int
) -> None:
    found = worker.facts("keepsWhatItIsGiven", kind, seed, 400)
    assert found["looks"] > 10
    assert found["end"] > 1_000_000  # so the two files have taken turns


def test_calls_that_nobody_waits_for_take_effect_in_their_order(worker: Worker, kind: str) -> None:
    worker.run("takesCallsInTheirOrder", kind)


def test_sound_that_took_the_place_of_other_sound_is_read(worker: Worker, kind: str) -> None:
    worker.run("readsWhatTookThePlace", kind)


def test_what_does_not_follow_alters_nothing(worker: Worker, kind: str) -> None:
    worker.run("refusesWhatDoesNotFollow", kind)


def test_a_torn_record_is_cut_off_at_whichever_byte(worker: Worker, kind: str) -> None:
    assert worker.run("dropsATornTail", kind) == 289


def test_what_was_being_created_or_removed_is_no_recording(worker: Worker, kind: str) -> None:
    worker.run("knowsWhatIsNoRecording", kind)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_killed_browser_loses_nothing_that_was_kept(worker: Worker, seed: int) -> None:
    found = worker.facts("survivesAKillAnywhere", seed)
    assert found["operations"] > 80
    assert found["turns"] >= 3


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_a_power_cut_loses_nothing_that_was_flushed(worker: Worker, seed: int) -> None:
    assert worker.run("survivesAPowerCutAnywhere", seed) != 0


@pytest.mark.parametrize("encoding", [Encoding.F32, Encoding.S24])
def test_a_saved_copy_is_a_wav_of_what_is_left(
    worker: Worker, kind: str, encoding: Encoding
) -> None:
    found = worker.run("savesACopy", kind, encoding)
    assert isinstance(found, dict)
    frames = found["frames"]
    assert found["header"] == list(header(Format(encoding, 48_000, 1), frames))
    assert found["type"] == "audio/wav"
    assert found["bytes"] == len(found["header"]) + (frames * encoding.sample_bytes + 1) // 2 * 2
    # Two turns are gone; the two gaps are in what is left.
    assert 0 < found["firstFrame"] < found["end"] - 1_000_001
    assert frames == found["end"] - found["firstFrame"]


def test_what_went_to_memory_once_the_disk_was_full_is_in_the_copy(
    worker: Worker, kind: str
) -> None:
    worker.run("savesACopyOfTwo", kind)
