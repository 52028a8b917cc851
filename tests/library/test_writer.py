"""The library reads the log behind the acks: what it tells, and what is on disk then."""

import errno
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from micwire.core import wav
from micwire.core.digest import digest_of
from micwire.core.errors import MicwireError, StorageFailedError
from micwire.core.interfaces import Recovery
from micwire.core.recording import (
    Closed,
    Ending,
    GapEntry,
    MarkEntry,
    RecordingState,
    finish_record,
    gap_record,
    mark_record,
    sidecar_fields,
)
from micwire.core.records import Kind, Record, recording_bytes
from micwire.core.tags import STORED_HEADER_BYTES, stored_tags
from micwire.library.writer import LibraryFiles, WavWriter
from micwire.testing import ForgetfulFiles, Survivors
from micwire.testing.contract import example_frames, example_state

DATA = "/data"
WAIT_S = 10


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_TICK_S": 0.002, "_RETRY_S": 0.005, "FLUSH_S": 0.0, "SYNC_S": 0.0}.items():
        monkeypatch.setattr(f"micwire.library.writer.{name}", value)


class Told:
    """What a library has told: a `LibraryEvents` that remembers, and asks the disk at once."""

    def __init__(self, files: ForgetfulFiles) -> None:
        self.filed_ends: dict[bytes, list[int | None]] = {}
        self.closed_as: dict[bytes, Closed] = {}
        self.fullness: list[bool] = []
        self.error: MicwireError | None = None
        self.rooms: list[int] = []
        self.lies: list[str] = []
        self.states: dict[bytes, RecordingState] = {}
        self._files = files
        self._news = threading.Condition()

    def filed(self, recording: bytes, end: int | None) -> None:
        with self._news:
            self.filed_ends.setdefault(recording, []).append(end)
            state = self.states.get(recording)
            if state is not None and end:
                content = self._files.durable_content(f"{DATA}/{state.about.path}.wav") or b""
                begin = wav.header_bytes(state.about.format)
                wanted = bytes(example_frames(recording, 0, end).payload)
                if content[begin : begin + len(wanted)] != wanted:
                    self.lies.append(f"{end} frames of {state.about.path} are not durable")
            self._news.notify_all()

    def closed(self, recording: bytes, closed: Closed) -> None:
        with self._news:
            self.closed_as[recording] = closed
            self._news.notify_all()

    def room(self, free_bytes: int) -> None:
        self.rooms.append(free_bytes)

    def full(self, *, is_full: bool) -> None:
        with self._news:
            self.fullness.append(is_full)
            self._news.notify_all()

    def failed(self, error: MicwireError) -> None:
        with self._news:
            self.error = error
            self._news.notify_all()

    def wait(self, is_there: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(is_there, WAIT_S), "the library does not answer"

    def wait_filed(self, key: bytes, end: int | None) -> None:
        self.wait(lambda: end in self.filed_ends.get(key, []))


def new_files() -> ForgetfulFiles:
    files = ForgetfulFiles(DATA)
    files.make_directory(f"{DATA}/.micwire")
    files.sync_directory(DATA)
    return files


def new_library(files: ForgetfulFiles) -> WavWriter:
    return WavWriter(Path(DATA), LibraryFiles(files, files, files))


def started(
    files: ForgetfulFiles, recovery: Recovery | None = None
) -> tuple[WavWriter, Told, list[bytes]]:
    library, told = new_library(files), Told(files)
    closed = library.recover(recovery or Recovery())
    library.start(told)
    return library, told, closed


def state_of(number: int = 0) -> RecordingState:
    """Return a state in a directory of its own per ten recordings."""
    state = example_state(number)
    path = f"2026-11-{number // 10 + 1:02}/{number:08x}"
    state.about = replace(state.about, path=path)
    return state


def key_of(number: int = 0) -> bytes:
    return recording_bytes(state_of(number).about.recording)


def wav_path(number: int = 0) -> str:
    return f"{DATA}/{state_of(number).about.path}.wav"


def sidecar(files: ForgetfulFiles, number: int = 0) -> dict[str, object]:
    content: dict[str, object] = json.loads(
        files.content(f"{DATA}/{state_of(number).about.path}.json")
    )
    return content


def pcm(number: int, first: int, frames: int) -> bytes:
    return bytes(example_frames(key_of(number), first, frames).payload)


def is_whole(content: bytes, sound: bytes, number: int = 0) -> bool:
    audio_format = state_of(number).about.format
    return content == wav.header(audio_format, len(sound) // audio_format.frame_bytes) + sound


def recovered(number: int, records: Sequence[Record]) -> Recovery:
    """Return what a journal finds that holds these records of one recording."""
    state = state_of(number)
    for record in records:
        state.apply(record)

    def again() -> Iterator[Record]:
        return (record for record in records if record.is_audio)

    return Recovery({key_of(number): state}, again)


# ---- filing ------------------------------------------------------------------------


def test_frames_grow_a_wav_that_anybody_can_read_meanwhile() -> None:
    files = new_files()
    library, told, _ = started(files)
    library.file([state_of().record()])
    for step in range(10):
        library.file([example_frames(key_of(), 100 * step, 100)])
        told.wait_filed(key_of(), 100 * step + 100)
        assert is_whole(files.content(wav_path()), pcm(0, 0, 100 * step + 100))
    readable = library.readable(state_of().about.recording)
    assert readable is not None
    assert (readable.path, readable.frames) == (wav_path(), 1_000)
    library.close()
    assert told.error is None


def test_what_is_told_as_filed_survives_the_loss_of_all_else() -> None:
    # Each of many recordings in three directories, begun while others are synced.
    files = new_files()
    library, told, _ = started(files)
    for number in range(24):
        told.states[key_of(number)] = state_of(number)
        library.file([state_of(number).record(), example_frames(key_of(number), 0, 10)])
        time.sleep(0.004)
        library.file([example_frames(key_of(n), 10, 10 * number) for n in (number,)])
    for number in range(24):
        told.wait_filed(key_of(number), 10 + 10 * number)
    library.close()
    assert told.lies == []
    files.cut_power(survivors=Survivors.NOTHING)
    assert len([path for path in files.paths() if path.endswith(".wav")]) == 24


def test_a_directory_that_a_dead_process_made_is_not_taken_for_durable() -> None:
    files = new_files()
    files.make_directory(wav_path().rpartition("/")[0])
    files.kill()
    library, told, _ = started(files)
    told.states[key_of()] = state_of()
    library.file([state_of().record(), example_frames(key_of(), 0, 10)])
    told.wait_filed(key_of(), 10)
    library.close()
    assert told.lies == []


def test_records_that_come_twice_are_filed_once() -> None:
    files = new_files()
    library, told, _ = started(files)
    batch = [state_of().record(), example_frames(key_of(), 0, 10)]
    library.file(batch)
    library.file([batch[1], example_frames(key_of(), 10, 5), batch[1]])
    told.wait_filed(key_of(), 15)
    library.close()
    assert is_whole(files.content(wav_path()), pcm(0, 0, 15))


def test_frames_that_are_missing_from_the_log_end_the_library() -> None:
    library, told, _ = started(new_files())
    library.file([state_of().record(), example_frames(key_of(), 5, 5)])
    told.wait(lambda: told.error is not None)
    library.close()


def test_a_recording_without_frames_has_no_wav_until_it_is_finished() -> None:
    files = new_files()
    library, told, _ = started(files)
    library.file([state_of().record()])
    library.file([finish_record(key_of(), 1, 0, Ending("finished"))])
    told.wait(lambda: key_of() in told.closed_as)
    library.close()
    assert is_whole(files.durable_content(wav_path()) or b"", b"")
    assert told.closed_as[key_of()].digest == digest_of(b"")


def test_the_room_left_is_told() -> None:
    files = new_files()
    files.room_bytes = 12_345
    library, told, _ = started(files)
    library.close()
    assert told.rooms[0] <= 12_345


# ---- the end of a recording --------------------------------------------------------


@pytest.mark.parametrize("status", ["finished", "interrupted"])
def test_a_finished_recording_is_durable_with_all_that_belongs_to_it(status: str) -> None:
    files = new_files()
    library, told, _ = started(files)
    client_digest = "ab" * 32
    library.file(
        [
            state_of().record(),
            example_frames(key_of(), 0, 100),
            gap_record(key_of(), 1, GapEntry(100, 20, "overflow", exact=False)),
            mark_record(key_of(), 1, MarkEntry(110, "in the gap")),
            mark_record(key_of(), 1, MarkEntry(7, "early")),
            finish_record(key_of(), 1, 120, Ending(status, client_digest)),
        ]
    )
    told.wait(lambda: key_of() in told.closed_as)
    files.stop()
    library.close()
    files.cut_power(survivors=Survivors.NOTHING)
    sound = pcm(0, 0, 100) + bytes(80)
    closed = told.closed_as[key_of()]
    assert told.filed_ends[key_of()][-1] is None
    assert is_whole(files.content(wav_path()), sound)
    assert closed == new_library(files).closed(state_of().about.recording)
    assert closed.digest == digest_of(sound)
    assert closed.client_digest == client_digest
    assert (closed.status, closed.frames, closed.epoch) == (status, 120, 1)
    facts = sidecar(files)
    assert (facts["status"], facts["digest"], facts["frames"]) == (status, closed.digest, 120)
    assert facts["gaps"] == [
        {"first_frame": 100, "frames": 20, "cause": "overflow", "exact": False}
    ]
    assert facts["marks"] == [{"frame": 7, "label": "early"}, {"frame": 110, "label": "in the gap"}]


def test_nothing_alters_a_finished_recording_not_even_a_late_state() -> None:
    files = new_files()
    library, told, _ = started(files)
    state = state_of()
    library.file([state.record(), example_frames(key_of(), 0, 10)])
    library.file([finish_record(key_of(), 1, 10, Ending("finished"))])
    told.wait(lambda: key_of() in told.closed_as)
    before = {path: files.content(path) for path in files.paths()}
    state.epoch, state.frames, state.ending = 2, 10, Ending("finished")
    library.file([state.record()])  # a take-over that came while it was being finished
    time.sleep(0.05)
    library.close()
    assert {path: files.content(path) for path in files.paths()} == before
    assert library.readable(state.about.recording) is None


def test_a_deleted_recording_leaves_only_its_entry_and_stays_away() -> None:
    files = new_files()
    library, told, _ = started(files)
    state = state_of()
    library.file([state.record(), example_frames(key_of(), 0, 10)])
    told.wait_filed(key_of(), 10)
    library.file([Record(Kind.DELETE, key_of(), epoch=1)])
    told.wait(lambda: key_of() in told.closed_as)
    assert library.readable(state.about.recording) is None
    state.is_deleted, state.frames = True, 10
    library.file([state.record()])
    time.sleep(0.05)
    library.close()
    files.cut_power(survivors=Survivors.EVERYTHING)
    closed = new_library(files).closed(state.about.recording)
    assert closed is not None
    assert closed.status == "deleted"
    assert not [path for path in files.paths() if path.startswith(f"{DATA}/2026")]


def test_a_further_epoch_of_a_finished_recording_is_durable_before_it_is_granted() -> None:
    files = new_files()
    library, told, _ = started(files)
    library.file([state_of().record(), finish_record(key_of(), 1, 0, Ending("finished"))])
    told.wait(lambda: key_of() in told.closed_as)
    granted = library.reopen(told.closed_as[key_of()])
    files.stop()
    library.close()
    files.cut_power(survivors=Survivors.NOTHING)
    assert granted.epoch == 2
    assert new_library(files).closed(state_of().about.recording) == granted


# ---- recovery ----------------------------------------------------------------------


def test_the_log_is_filed_before_the_library_begins() -> None:
    files = new_files()
    records = [
        example_frames(key_of(), 0, 50),
        gap_record(key_of(), 1, GapEntry(50, 5, "capture", exact=True)),
        example_frames(key_of(), 55, 45),
    ]
    library = new_library(files)
    library.recover(recovered(0, records))
    sound = pcm(0, 0, 50) + bytes(20) + pcm(0, 55, 45)
    assert is_whole(files.content(wav_path()), sound)
    begin = wav.header_bytes(state_of().about.format)
    assert (files.durable_content(wav_path()) or b"")[begin:] == sound


def test_recovering_twice_changes_nothing() -> None:
    files = new_files()
    records = [example_frames(key_of(), 0, 50), example_frames(key_of(), 50, 50)]
    contents = []
    for _ in range(3):
        library, told, _ = started(files, recovered(0, records))
        told.wait_filed(key_of(), 100)
        library.close()
        contents.append(files.content(wav_path()))
    assert contents[0] == contents[1] == contents[2]
    assert is_whole(contents[0], pcm(0, 0, 100))


def test_a_log_that_begins_in_the_middle_goes_on_in_the_wav() -> None:
    files = new_files()
    new_library(files).recover(recovered(0, [example_frames(key_of(), 0, 50)]))
    recovery = recovered(0, [example_frames(key_of(), 0, 30), example_frames(key_of(), 30, 40)])
    tail = example_frames(key_of(), 30, 40)
    new_library(files).recover(Recovery(recovery.states, lambda: iter([tail])))
    assert is_whole(files.content(wav_path()), pcm(0, 0, 70))


def test_a_log_without_frames_trusts_the_wav_and_mends_its_header() -> None:
    files = new_files()
    records = [example_frames(key_of(), 0, 50)]
    new_library(files).recover(recovered(0, records))
    descriptor = files.open(wav_path())
    files.write(descriptor, [wav.header(state_of().about.format, 20)], 0)
    files.write(descriptor, [b"rubbish"], files.size(descriptor))
    library = new_library(files)
    library.recover(Recovery(recovered(0, records).states))
    assert is_whole(files.content(wav_path()), pcm(0, 0, 50))


@pytest.mark.parametrize("is_replayed", [True, False])
@pytest.mark.parametrize("kept", [None, 0, 49])
def test_saved_frames_that_somebody_took_away_are_listed_as_lost(
    kept: int | None, *, is_replayed: bool
) -> None:
    files = new_files()
    records = [example_frames(key_of(), 0, 50), example_frames(key_of(), 50, 10)]
    states = recovered(0, records[:1]).states
    new_library(files).recover(recovered(0, records[:1]))
    if kept is None:
        files.unlink(wav_path())
    else:
        descriptor = files.open(wav_path())
        files.truncate(descriptor, wav.header_bytes(state_of().about.format) + 4 * kept + 3)
    tail = records[1:] if is_replayed else []
    if is_replayed:
        states[key_of()].apply(records[1])
    recovery = Recovery(states, lambda: iter(tail))
    new_library(files).recover(recovery)
    kept = kept or 0
    assert recovery.altered == [key_of()]
    assert states[key_of()].gaps == [GapEntry(kept, 50 - kept, "file-lost", exact=True)]
    sound = pcm(0, 0, kept) + bytes(4 * (50 - kept)) + pcm(0, 50, 10 if is_replayed else 0)
    assert is_whole(files.content(wav_path()), sound)


def test_a_hole_in_the_log_is_told() -> None:
    files = new_files()
    records = [example_frames(key_of(), 0, 50), example_frames(key_of(), 50, 10)]
    recovery = recovered(0, [*records, example_frames(key_of(), 60, 10)])
    holey = [records[0], example_frames(key_of(), 60, 10)]
    with pytest.raises(StorageFailedError, match="lacks frames 50 to 60"):
        new_library(files).recover(Recovery(recovery.states, lambda: iter(holey)))
    with pytest.raises(StorageFailedError, match="only 50 of them"):
        new_library(files).recover(Recovery(recovery.states, lambda: iter(records[:1])))


@pytest.mark.parametrize("is_finish", [True, False])
def test_an_end_that_was_in_the_log_comes_after_a_restart(*, is_finish: bool) -> None:
    files = new_files()
    end = (
        finish_record(key_of(), 1, 50, Ending("finished"))
        if is_finish
        else Record(Kind.DELETE, key_of())
    )
    recovery = recovered(0, [example_frames(key_of(), 0, 50), end])
    library, told, _ = started(files, recovery)
    told.wait(lambda: key_of() in told.closed_as)
    library.close()
    assert (wav_path() in files.paths()) is is_finish


def test_what_the_register_knows_is_over_and_stays_over() -> None:
    files = new_files()
    records = [example_frames(key_of(), 0, 50), finish_record(key_of(), 1, 50, Ending("finished"))]
    library, told, _ = started(files, recovered(0, records))
    told.wait(lambda: key_of() in told.closed_as)
    library.close()
    before = {path: files.content(path) for path in files.paths()}
    recovery = recovered(0, records)
    library, told, closed = started(files, recovery)
    library.close()
    assert closed == [key_of()]
    assert recovery.states == {}
    assert {path: files.content(path) for path in files.paths()} == before


def test_an_entry_that_only_the_kernel_knew_is_durable_before_the_journal_forgets() -> None:
    files = new_files()
    records = [example_frames(key_of(), 0, 50), finish_record(key_of(), 1, 50, Ending("finished"))]
    fault = files.fail(
        "sync_directory", errno.EIO, at=1, where=lambda path: path[:-2].endswith("/closed/")
    )
    library, told, _ = started(files, recovered(0, records))
    told.wait(lambda: told.error is not None)
    library.close()
    assert fault.strikes
    files.kill()
    assert new_library(files).recover(recovered(0, records)) == [key_of()]
    files.cut_power(survivors=Survivors.NOTHING)
    assert new_library(files).closed(state_of().about.recording) is not None


def test_a_deletion_is_done_again_as_its_files_may_have_come_back() -> None:
    files = new_files()
    deletion = [example_frames(key_of(), 0, 50), Record(Kind.DELETE, key_of())]
    library, told, _ = started(files, recovered(0, deletion))
    told.wait(lambda: key_of() in told.closed_as)
    library.close()
    files.open(wav_path(), create=True)
    library, told, closed = started(files, recovered(0, deletion))
    told.wait(lambda: key_of() in told.closed_as)
    library.close()
    assert closed == []
    assert wav_path() not in files.paths()


def test_scratch_files_of_a_dead_process_are_removed() -> None:
    files = new_files()
    new_library(files).recover(Recovery())
    files.open(f"{DATA}/.micwire/scratch/left.json", create=True)
    new_library(files).recover(Recovery())
    assert files.names(f"{DATA}/.micwire/scratch") == []


# ---- trouble -----------------------------------------------------------------------


def test_a_full_disk_is_told_and_waited_for() -> None:
    files = new_files()
    library, told, _ = started(files)
    library.file([state_of().record(), example_frames(key_of(), 0, 10)])
    told.wait_filed(key_of(), 10)
    files.room_bytes = 0
    library.file([example_frames(key_of(), 10, 1_000)])
    told.wait(lambda: told.fullness == [True])
    time.sleep(0.03)
    files.room_bytes = float("inf")
    told.wait_filed(key_of(), 1_010)
    library.close()
    assert told.fullness == [True, False]
    assert told.error is None
    assert is_whole(files.content(wav_path()), pcm(0, 0, 1_010))


def test_close_on_a_full_disk_ends_and_says_what_went_wrong() -> None:
    files = new_files()
    library, told, _ = started(files)
    files.room_bytes = 0
    library.file([state_of().record(), example_frames(key_of(), 0, 10)])
    told.wait(lambda: told.fullness == [True])
    library.close()
    assert told.error is not None
    assert told.filed_ends == {}


@pytest.mark.parametrize("call", ["write", "sync", "sync_directory", "create"])
def test_a_failing_disk_ends_the_library_and_nothing_more_is_filed(call: str) -> None:
    files = new_files()
    library, told, _ = started(files)
    told.states[key_of()] = state_of()
    files.fail(call, errno.EIO, where=lambda path: ".micwire" not in path)
    library.file([state_of().record(), example_frames(key_of(), 0, 10)])
    told.wait(lambda: told.error is not None)
    files.heal()
    library.file([example_frames(key_of(), 10, 10)])
    time.sleep(0.03)
    library.close()
    assert told.filed_ends == {}


class SlowFiles(ForgetfulFiles):
    """A disk whose WAVs take as long as a test wants."""

    def __init__(self) -> None:
        super().__init__(DATA)
        self.may_write = threading.Event()

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        self.may_write.wait(WAIT_S)
        return super().write(descriptor, buffers, offset)


def file_many(library: WavWriter, filed: list[int]) -> threading.Thread:
    """Let another thread file a hundred records of 400 bytes."""

    def journal() -> None:
        for step in range(100):
            library.file([example_frames(key_of(), 100 * step, 100)])
            filed.append(step)

    thread = threading.Thread(target=journal, daemon=True)
    thread.start()
    return thread


def test_a_slow_disk_holds_the_journal_back_and_memory_stays_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micwire.library.writer.MAX_WAITING_BYTES", 10_000)
    monkeypatch.setattr("micwire.library.writer.FLUSH_BYTES", 400)
    files, filed = SlowFiles(), list[int]()
    files.make_directory(f"{DATA}/.micwire")
    library, told, _ = started(files)
    library.file([state_of().record()])
    thread = file_many(library, filed)
    time.sleep(0.1)
    assert 0 < len(filed) * 400 <= 10_000 + 2 * 400
    files.may_write.set()
    thread.join(WAIT_S)
    assert len(filed) == 100
    told.wait_filed(key_of(), 10_000)
    library.close()
    assert is_whole(files.content(wav_path()), pcm(0, 0, 10_000))


def test_a_full_disk_does_not_hold_the_journal_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # It has to go on for what its clients still sent; nothing more comes.
    monkeypatch.setattr("micwire.library.writer.MAX_WAITING_BYTES", 10_000)
    monkeypatch.setattr("micwire.library.writer.FLUSH_BYTES", 400)
    files, filed = new_files(), list[int]()
    library, told, _ = started(files)
    library.file([state_of().record()])
    files.room_bytes = 0
    file_many(library, filed).join(WAIT_S)
    assert len(filed) == 100
    files.room_bytes = float("inf")
    told.wait_filed(key_of(), 10_000)
    library.close()
    assert told.fullness == [True, False]


def test_the_sidecar_of_a_running_recording_says_so() -> None:
    files = new_files()
    library, told, _ = started(files)
    library.file([state_of().record(), example_frames(key_of(), 0, 10)])
    told.wait_filed(key_of(), 10)
    library.close()
    facts = sidecar(files)
    assert (facts["status"], facts["frames"], facts["digest"]) == ("recording", 10, None)


# ---- tags --------------------------------------------------------------------------


def tagged_state(title: str) -> RecordingState:
    """Return the state of a recording as it is begun now."""
    state = state_of()
    state.about = replace(state.about, title=title, data_offset=STORED_HEADER_BYTES)
    return state


def tagged(state: RecordingState, frames: int) -> bytes:
    tags = stored_tags(sidecar_fields(state, "recording", None))
    return wav.header(state.about.format, frames, tags)


def test_a_title_that_is_edited_moves_no_sound_and_leaves_the_tags_of_the_file() -> None:
    files = new_files()
    library, told, _ = started(files)
    state = tagged_state("Short")
    library.file([state.record(), example_frames(key_of(), 0, 50)])
    told.wait_filed(key_of(), 50)
    edited = state.copy()
    edited.about, edited.frames = replace(state.about, title="Much longer " * 15), 50
    edited._about_json = ""
    mark = mark_record(key_of(), 1, MarkEntry(7, "there"))
    rest = [example_frames(key_of(), 50, 30), mark]
    library.file([edited.record(), *rest, finish_record(key_of(), 1, 80, Ending("finished"))])
    told.wait(lambda: key_of() in told.closed_as)
    library.close()
    assert files.content(wav_path()) == tagged(state, 80) + pcm(0, 0, 80)
    assert told.closed_as[key_of()].audio_offset == STORED_HEADER_BYTES
    fields = json.loads(files.content(f"{DATA}/{state.about.path}.json"))
    assert fields["title"] == edited.about.title
    assert fields["data_offset"] == STORED_HEADER_BYTES


def test_a_recovery_after_an_edit_keeps_every_frame_in_its_place() -> None:
    files = new_files()
    library, told, _ = started(files)
    state = tagged_state("Short")
    library.file([state.record(), example_frames(key_of(), 0, 50)])
    told.wait_filed(key_of(), 50)
    files.stop()
    library.close()
    files.cut_power(survivors=Survivors.NOTHING)
    assert files.content(wav_path()).endswith(pcm(0, 0, 50))
    edited = state.copy()
    edited.about, edited.frames = replace(state.about, title="Much longer " * 15), 80
    records = [example_frames(key_of(), 50, 30)]
    library = new_library(files)
    library.recover(Recovery({key_of(): edited}, lambda: iter(records)))
    assert files.content(wav_path()) == tagged(edited, 80) + pcm(0, 0, 80)
