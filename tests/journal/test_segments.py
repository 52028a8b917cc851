"""Segments: what is durable when, what is read back, and what counts as damage."""

import errno
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest

from micwire.core.errors import StorageFailedError
from micwire.core.recording import RecordingState
from micwire.core.records import Kind, Record, encode_header, recording_bytes
from micwire.journal.segments import JournalDamagedError, NoRoomError, SegmentStore
from micwire.testing import ForgetfulFiles, Survivors
from micwire.testing.contract import example_frames, example_state

DIRECTORY = "/data/.micwire/journal"
SEGMENT_BYTES = 2_000


def new_files() -> ForgetfulFiles:
    files = ForgetfulFiles("/data")
    files.make_directory("/data/.micwire")
    files.sync_directory("/data")
    return files


def open_store(files: ForgetfulFiles) -> SegmentStore:
    store = SegmentStore(Path(DIRECTORY), files, SEGMENT_BYTES)
    store.scan()
    return store


def key_of(number: int = 0) -> bytes:
    return recording_bytes(example_state(number).about.recording)


def begin(store: SegmentStore, number: int = 0) -> None:
    store.write([example_state(number).record()])


def speak(store: SegmentStore, messages: int, number: int = 0) -> list[Record]:
    """Write so many messages of ten frames each, one commit each."""
    state = store.ledger.states[key_of(number)]
    written = []
    for _ in range(messages):
        record = example_frames(key_of(number), state.frames, 10)
        store.write([record])
        written.append(record)
    return written


def names(files: ForgetfulFiles) -> list[str]:
    return sorted(files.names(DIRECTORY))


def segment(number: int) -> str:
    return f"{DIRECTORY}/{number:012}.segment"


def frames_of(store: SegmentStore) -> list[Record]:
    found = list(store.frames())
    for record in found:
        record.payload = bytes(record.payload)
    return found


def alter(files: ForgetfulFiles, path: str, offset: int, data: bytes) -> None:
    """Do what a rotten disk does."""
    descriptor = files.open(path)
    files.write(descriptor, [data], offset)
    files.sync(descriptor)
    files.close(descriptor)


# ---- one life ----------------------------------------------------------------------


def test_nothing_is_written_before_the_first_record() -> None:
    files = new_files()
    open_store(files)
    assert names(files) == []


def test_what_was_written_survives_the_loss_of_all_else() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    written = speak(store, 100)
    assert len(store.segments) > 3
    files.cut_power(survivors=Survivors.NOTHING)
    left = open_store(files)
    assert left.ledger.states == store.ledger.states
    assert frames_of(left) == written


def test_segments_are_numbered_from_one_without_holes() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    speak(store, 60)
    assert [segment.number for segment in store.segments] == list(range(1, len(store.segments) + 1))
    assert names(files) == [f"{n:012}.segment" for n in range(1, len(store.segments) + 1)]


def test_a_record_larger_than_a_segment_gets_a_larger_one() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    large = example_frames(key_of(), 0, 5_000)
    store.write([large])
    assert frames_of(open_store(files)) == [large]


def test_many_states_make_the_segments_larger() -> None:
    files = new_files()
    store = open_store(files)
    for number in range(40):
        begin(store, number)
    speak(store, 20, number=39)
    assert open_store(files).ledger.states == store.ledger.states


# ---- pins and trimming -------------------------------------------------------------


def test_a_segment_goes_once_all_its_frames_are_released() -> None:
    files = new_files()
    store = open_store(files)
    begin(store, 0)
    begin(store, 1)
    speak(store, 15, 0)
    speak(store, 15, 1)
    count = len(store.segments)
    assert store.oldest_pins() == [key_of(0)]
    assert not store.release(key_of(1), None)
    store.remove_released()
    assert len(store.segments) == count, "the other recording's frames are in the oldest one"
    end = store.segments[0].pins[key_of(0)]
    assert not store.release(key_of(0), end - 1)
    assert store.release(key_of(0), end)
    store.remove_released()
    assert len(store.segments) == count - 1


def test_the_segment_being_written_is_never_taken_away() -> None:
    store = open_store(new_files())
    begin(store)
    speak(store, 60)
    store.release(key_of(), None)
    store.remove_released()
    assert len(store.segments) == 1
    assert store.oldest_pins() == []
    speak(store, 60)


def test_a_used_segment_is_written_over_and_its_old_records_are_not_read() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    for _ in range(30):
        kept = speak(store, 7)
        store.release(key_of(), store.ledger.states[key_of()].frames - 10)
        store.remove_released()
    assert files.calls["create"] < 8, "used files are used again"
    files.cut_power(survivors=Survivors.NOTHING)
    left = open_store(files)
    assert left.ledger.states == store.ledger.states
    found = frames_of(left)
    assert found[-1] == kept[-1]
    assert [record.first_frame for record in found[1:]] == [record.end for record in found[:-1]]


def test_there_are_so_many_spares_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micwire.journal.segments.MAX_SPARES", 2)
    files = new_files()
    store = open_store(files)
    begin(store)
    speak(store, 100)
    store.release(key_of(), None)
    store.remove_released()
    assert [name for name in names(files) if name.startswith("spare")] == ["spare0", "spare1"]
    assert len(names(files)) == 3


# ---- the next life -----------------------------------------------------------------


def test_the_next_process_begins_a_segment_of_its_own() -> None:
    files = new_files()
    first = open_store(files)
    begin(first)
    speak(first, 3)
    second = open_store(files)
    content = files.content(segment(1))
    speak(second, 1)
    assert files.content(segment(1)) == content
    assert second.segments[-1].number == 2


def test_what_an_earlier_process_left_is_not_needed_once_this_one_writes() -> None:
    # It begins to write when all that was there is in the library.
    files = new_files()
    first = open_store(files)
    begin(first)
    speak(first, 60)
    second = open_store(files)
    record = speak(second, 1)
    second.remove_released()
    assert [segment.number for segment in second.segments] == [len(first.segments) + 1]
    assert frames_of(open_store(files)) == record


def test_a_power_cut_behind_a_kill_is_not_taken_for_damage() -> None:
    # The kernel knew records that the disk did not; the next process read them from it.
    files = new_files()
    first = open_store(files)
    begin(first)
    speak(first, 3)
    files.stop_at(files.operations + 2)
    with pytest.raises(StorageFailedError):
        speak(first, 1)
    files.kill()
    second = open_store(files)
    assert second.ledger.states[key_of()].frames == 40
    speak(second, 1)
    files.cut_power(survivors=Survivors.NOTHING)
    assert open_store(files).ledger.states[key_of()].frames == 50


def test_until_it_writes_a_process_keeps_what_the_disk_may_need() -> None:
    # The newest head may be in the kernel's memory only; the states are in the one before.
    files = new_files()
    first = open_store(files)
    begin(first)
    speak(first, 15)
    number = first.segments[-1].number
    files.fail("sync", errno.EIO, where=lambda path: path == segment(number + 1))
    with pytest.raises(StorageFailedError):
        speak(first, 60)
    files.kill()
    second = open_store(files)
    assert second.segments[-1].number == number + 1
    second.release(key_of(), None)
    second.remove_released()
    files.cut_power(survivors=Survivors.NOTHING)
    assert open_store(files).ledger.states == first.ledger.states


def test_a_head_is_durable_before_the_segment_before_it_may_go() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    speak(store, 15)
    number = store.segments[-1].number
    # Behind the head there is no room, so nothing else syncs the new segment.
    files.fail("write", errno.ENOSPC, at=2, where=lambda path: path == segment(number + 1))
    with pytest.raises(NoRoomError):
        speak(store, 60)
    store.release(key_of(), None)
    store.remove_released()
    assert [segment.number for segment in store.segments] == [number + 1]
    files.cut_power(survivors=Survivors.NOTHING)
    assert open_store(files).ledger.states == store.ledger.states


def test_a_torn_head_is_as_if_the_segment_had_never_been_begun() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    written = speak(store, 100)
    last = store.segments[-1].number
    head = files.content(segment(last))[:400]
    for kept in (0, 1, 71, 72, 73, 100, 200):
        alter(files, segment(last), 0, head[:kept].ljust(400, b"\0"))
        left = open_store(files)
        found = frames_of(left)
        assert [segment.number for segment in left.segments] == list(range(1, last))
        assert found == written[: len(found)]
        assert left.ledger.states[key_of()].frames == found[-1].end
    record = speak(left, 1)
    assert left.segments[-1].number == last
    assert frames_of(open_store(files)) == record


def test_a_name_that_came_back_before_a_hole_is_ignored() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    speak(store, 100)
    old = files.content(segment(2))
    store.release(key_of(), store.segments[4].pins[key_of()])
    store.remove_released()
    first = store.segments[0].number
    assert first > 3
    alter_name = files.open(segment(2), create=True)
    files.write(alter_name, [old], 0)
    left = open_store(files)
    assert left.segments[0].number == first
    assert segment(2) not in files.paths()
    assert left.ledger.states == store.ledger.states


# ---- damage ------------------------------------------------------------------------


@pytest.mark.parametrize("place", [80, 700, 1_500])
def test_a_damaged_segment_is_told_loudly_and_left_alone(place: int) -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    speak(store, 100)
    alter(files, segment(3), place, b"\xff")
    before = {path: files.content(path) for path in files.paths()}
    with pytest.raises(JournalDamagedError, match="is damaged"):
        open_store(files)
    assert {path: files.content(path) for path in files.paths()} == before


def test_a_journal_without_any_head_is_damage_unless_it_was_the_first() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    alter(files, segment(1), 0, bytes(72))
    assert open_store(files).segments == []
    speak_through = open_store(files)
    begin(speak_through)
    speak(speak_through, 100)
    speak_through.release(key_of(), None)
    speak_through.remove_released()
    alter(files, segment(speak_through.segments[-1].number), 0, bytes(72))
    with pytest.raises(JournalDamagedError, match="no head"):
        open_store(files)


def test_frames_that_do_not_fit_onto_each_other_are_damage() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    speak(store, 1)
    for record in (example_frames(key_of(), 20, 1), example_frames(key_of(9), 0, 1)):
        header = encode_header(record, 1, google_crc32c.value, google_crc32c.extend)
        alter(files, segment(1), store.segments[0].used, header + bytes(record.payload))
        with pytest.raises(JournalDamagedError):
            open_store(files)


# ---- no room -----------------------------------------------------------------------


@pytest.mark.parametrize("call", ["create", "write", "rename", "open"])
def test_without_room_for_a_segment_the_rest_waits_and_nothing_is_lost(call: str) -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    batch = [example_frames(key_of(), 10 * n, 10) for n in range(60)]
    is_tried: Callable[[str], bool] = lambda path: "1.segment" not in path  # noqa: E731
    fault = files.fail(call, errno.ENOSPC, times=4, where=is_tried)
    written = 0
    for _ in range(4):
        with pytest.raises(NoRoomError) as caught:
            store.write(batch[written:])
        written += caught.value.written
        assert store.ledger.states[key_of()].frames == 10 * written
    assert 0 < written < 60
    store.write(batch[written:])
    assert fault.strikes == 4
    assert files.open_descriptors == 1
    files.cut_power(survivors=Survivors.NOTHING)
    assert frames_of(open_store(files)) == batch


def test_records_that_could_not_be_laid_for_want_of_room_may_be_tried_again() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    record = example_frames(key_of(), 0, 10)
    files.shorten(lambda size: 100, at=1, times=1)
    files.fail("write", errno.ENOSPC, at=2, times=1)
    with pytest.raises(NoRoomError) as caught:
        store.write([record])
    assert caught.value.written == 0
    store.write([record])
    files.cut_power(survivors=Survivors.NOTHING)
    assert frames_of(open_store(files)) == [record]


def test_a_removal_for_which_there_is_no_room_goes_on_later() -> None:
    files = new_files()
    store = open_store(files)
    begin(store)
    speak(store, 100)
    store.release(key_of(), None)
    files.fail("rename", errno.ENOSPC, times=1)
    files.fail("sync_directory", errno.EMFILE, at=2, times=1)
    for _ in range(3):
        store.remove_released()
    assert len(store.segments) == 1


def test_the_states_of_a_new_life_are_those_of_the_last_one() -> None:
    files = new_files()
    state = example_state()
    for life in range(1, 8):
        store = open_store(files)
        state.epoch = life
        store.write([state.record()])
        for record in speak(store, 30):
            state.apply(record)
        files.cut_power(life, Survivors.RANDOM)
    left: dict[bytes, RecordingState] = open_store(files).ledger.states
    assert left == {key_of(): state}


def test_a_closed_recording_leaves_the_states() -> None:
    files = new_files()
    store = open_store(files)
    begin(store, 0)
    begin(store, 1)
    store.write([Record(Kind.CLOSED, key_of(0))])
    speak(store, 60, 1)
    assert list(open_store(files).ledger.states) == [key_of(1)]
