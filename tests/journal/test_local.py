"""The journal in local files: the contract, and what its threads must not do."""

import errno
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from micwire.core.interfaces import Journal
from micwire.core.records import Record, recording_bytes
from micwire.files import LocalFiles
from micwire.journal.local import LocalJournal
from micwire.testing import DurableJournalContract, ForgetfulFiles, Heard, Survivors
from micwire.testing.contract import example_frames, example_state

STATE = example_state()
KEY = recording_bytes(STATE.about.recording)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micwire.journal.local.ROOM_RETRY_S", 0.01)


class TestLocalJournal(DurableJournalContract):
    """Over real files."""

    def journal(self, directory: Path) -> Journal:
        return LocalJournal(
            directory / "journal", LocalFiles(), segment_bytes=1 << 16, commit_interval_s=0.001
        )


class TestLocalJournalOverALossyDisk(DurableJournalContract):
    """Over a disk that loses all that was not synced, between any two lives."""

    def setup_method(self) -> None:
        self.files = ForgetfulFiles("/data")

    def journal(self, directory: Path) -> Journal:
        self.files.cut_power(survivors=Survivors.NOTHING)
        return new_journal(self.files)


def new_journal(files: ForgetfulFiles) -> LocalJournal:
    return LocalJournal(Path("/data/journal"), files, segment_bytes=4_000, commit_interval_s=0.0)


def started(files: ForgetfulFiles) -> tuple[LocalJournal, Heard]:
    journal, heard = new_journal(files), Heard()
    journal.recover()
    journal.start(heard)
    return journal, heard


def test_one_sync_serves_all_that_waits() -> None:
    files = ForgetfulFiles("/data")
    journal = LocalJournal(Path("/data/journal"), files, commit_interval_s=0.0)
    is_committed, may_go_on = threading.Event(), threading.Event()

    class Slow(Heard):
        def committed(self, records: Sequence[Record]) -> None:
            is_committed.set()
            may_go_on.wait(5)
            super().committed(records)

    heard = Slow()
    journal.recover()
    journal.start(heard)
    journal.append(STATE.record())
    assert is_committed.wait(5)
    before = files.calls["sync"]
    for number in range(500):
        journal.append(example_frames(KEY, 10 * number, 10))
    may_go_on.set()
    journal.close()
    assert len(heard.records) == 501
    # One more at the most, for the next segment, which is prewritten beside the commits.
    assert before + 1 <= files.calls["sync"] <= before + 2


def test_what_is_told_as_committed_is_durable_at_that_moment() -> None:
    files = ForgetfulFiles("/data")
    copies: list[tuple[int, list[bytes]]] = []

    class Watchful(Heard):
        def committed(self, records: Sequence[Record]) -> None:
            super().committed(records)
            contents = [files.durable_content(path) or b"" for path in files.paths()]
            copies.append((len(self.records), contents))

    heard, journal = Watchful(), new_journal(files)
    journal.recover()
    journal.start(heard)
    journal.append(STATE.record())
    for number in range(100):
        journal.append(example_frames(KEY, 10 * number, 10))
    journal.close()
    assert len(heard.records) == 101
    for told, contents in copies:
        everything = b"".join(contents)
        assert all(bytes(record.payload) in everything for record in heard.records[:told])


@pytest.mark.parametrize("call", ["write", "sync"])
def test_after_a_failure_nothing_is_ever_committed(call: str) -> None:
    files = ForgetfulFiles("/data")
    journal, heard = started(files)
    journal.append(STATE.record())
    heard.wait(lambda: len(heard.records) == 1)
    files.fail(call, errno.EIO, times=1)
    journal.append(example_frames(KEY, 0, 10))
    heard.wait(lambda: heard.error is not None)
    assert heard.error is not None
    assert heard.error.code == "storage-failed"
    for number in range(1, 20):
        journal.append(example_frames(KEY, 10 * number, 10))
    time.sleep(0.05)
    journal.close()
    assert len(heard.records) == 1


def test_a_mistake_of_ours_ends_the_journal_as_well() -> None:
    journal, heard = started(ForgetfulFiles("/data"))
    journal.append(example_frames(KEY, 0, 10))  # of a recording nobody has opened
    heard.wait(lambda: heard.error is not None)
    journal.close()
    assert heard.records == []


def test_a_full_disk_is_told_once_and_its_end_once() -> None:
    files = ForgetfulFiles("/data")
    journal, heard = started(files)
    journal.append(STATE.record())
    heard.wait(lambda: len(heard.records) == 1)
    files.room_bytes = 0
    sent = [example_frames(KEY, 10 * number, 10) for number in range(300)]
    for record in sent:
        journal.append(record)
    heard.wait(lambda: heard.fullness == [True])
    time.sleep(0.05)
    assert 0 < len(heard.records) < 300
    files.room_bytes = float("inf")
    heard.wait(lambda: len(heard.records) == 301)
    journal.close()
    assert heard.fullness == [True, False]
    assert heard.records[1:] == sent


def test_close_on_a_full_disk_ends_and_promises_nothing() -> None:
    files = ForgetfulFiles("/data")
    journal, heard = started(files)
    journal.append(STATE.record())
    heard.wait(lambda: len(heard.records) == 1)
    files.room_bytes = 0
    for number in range(300):
        journal.append(example_frames(KEY, 10 * number, 10))
    heard.wait(lambda: heard.fullness == [True])
    began = time.monotonic()
    journal.close()
    assert time.monotonic() - began < 2
    assert files.open_descriptors == 0
    told = [record for record in heard.records if record.is_audio]
    files.cut_power(survivors=Survivors.NOTHING)
    files.room_bytes = float("inf")
    left = new_journal(files).recover()
    assert list(left.records()) == told
    assert left.states[KEY].frames == told[-1].end


def test_releases_from_another_thread_never_lose_a_frame() -> None:
    files = ForgetfulFiles("/data")
    journal = new_journal(files)
    released = [0] * 4
    keys = [recording_bytes(example_state(number).about.recording) for number in range(4)]

    class Filing(Heard):
        def committed(self, records: Sequence[Record]) -> None:
            super().committed(records)
            for record in records:
                if record.is_audio:
                    filed.append(record)

    filed: list[Record] = []
    heard = Filing()
    journal.recover()
    journal.start(heard)
    for number in range(4):
        journal.append(example_state(number).record())
    is_done = threading.Event()

    def file_them() -> None:
        seen = 0
        while not is_done.is_set() or seen < len(filed):
            for record in filed[seen:]:
                seen += 1
                number = keys.index(record.recording)
                if number != 3 and record.end % 30 == 0:
                    journal.release(record.recording, record.end)
                    released[number] = record.end
            time.sleep(0)

    filer = threading.Thread(target=file_them)
    filer.start()
    for step in range(400):
        for key in keys[: 4 if step < 20 else 3]:
            journal.append(example_frames(key, 10 * step, 10))
    heard.wait(lambda: len(heard.records) == 4 + 3 * 400 + 20)
    is_done.set()
    filer.join()
    journal.release(keys[3], None)
    journal.close()
    files.cut_power(survivors=Survivors.NOTHING)
    left = new_journal(files).recover()
    found = list(left.records())
    for number, key in enumerate(keys[:3]):
        mine = [record for record in found if record.recording == key]
        first = mine[0].first_frame if mine else left.states[key].frames
        assert first <= max(released[number], 0)
        assert [record.first_frame for record in mine] == list(range(first, 4_000, 10))
    assert len(files.paths()) < 100


def test_kept_bytes_shrink_with_what_is_released() -> None:
    files = ForgetfulFiles("/data")
    journal, heard = started(files)
    journal.append(STATE.record())
    for number in range(300):
        journal.append(example_frames(KEY, 10 * number, 10))
    heard.wait(lambda: len(heard.records) == 301)
    before = journal.kept_bytes
    assert journal.oldest_pins() == [KEY]
    journal.release(KEY, None)
    journal.close()
    assert journal.kept_bytes == 4_000 < before


def test_closing_what_was_never_started_is_no_mistake() -> None:
    files = ForgetfulFiles("/data")
    journal = new_journal(files)
    journal.recover()
    journal.close()
    assert files.open_descriptors == 0
