"""What every journal has to do, as tests: inherit the class and say how to make one.

    class TestMine(DurableJournalContract):
        def journal(self, directory: Path) -> Journal:
            return MyJournal(directory)

pytest gives each test a directory of its own. A journal that promises no durability
inherits `JournalContract`.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from micwire.core.audio import Encoding, Format
from micwire.core.errors import MicwireError
from micwire.core.interfaces import Journal, Recovery
from micwire.core.recording import (
    About,
    Ending,
    GapEntry,
    MarkEntry,
    RecordingState,
    finish_record,
    gap_record,
    mark_record,
)
from micwire.core.records import Kind, Record, recording_bytes

WAIT_S = 10.0
"""How long a test waits for what has to come."""


class Heard:
    """What a journal has told: a `JournalEvents` that remembers."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        """All that was committed, in order."""
        self.fullness: list[bool] = []
        self.error: MicwireError | None = None
        self._news = threading.Condition()

    def committed(self, records: Sequence[Record]) -> None:
        with self._news:
            self.records.extend(records)
            self._news.notify_all()

    def full(self, *, is_full: bool) -> None:
        with self._news:
            self.fullness.append(is_full)
            self._news.notify_all()

    def failed(self, error: MicwireError) -> None:
        with self._news:
            self.error = error
            self._news.notify_all()

    def wait(self, is_there: Callable[[], bool]) -> None:
        """Return once `is_there` holds; it is asked after each piece of news."""
        with self._news:
            assert self._news.wait_for(is_there, WAIT_S), "the journal does not answer"


def example_state(number: int = 0, epoch: int = 1) -> RecordingState:
    """Return the state of a new recording in 16 bits, stereo; each `number` is another."""
    recording = f"{number:08x}-0000-4000-8000-000000000000"
    audio_format = Format(Encoding.S16, 48_000, 2)
    about = About(
        recording, "c0ffee", audio_format, f"2026-11-22/{number:08x}", "2026-11-22T18:13:05.000Z"
    )
    return RecordingState(about, epoch=epoch)


def example_frames(key: bytes, first_frame: int, frames: int, *, epoch: int = 1) -> Record:
    """Return stereo frames in 16 bits; each sample names its recording, frame and channel."""
    data = bytearray()
    for frame in range(first_frame, first_frame + frames):
        mixed = (frame * 2_654_435_761 + int.from_bytes(key[:4])) % (1 << 32)
        data += mixed.to_bytes(4, "little")
    return Record(Kind.FRAMES, key, first_frame, frames, epoch, bytes(data))


class JournalContract:
    """What holds for any journal, durable or not."""

    def journal(self, directory: Path) -> Journal:
        """Return a journal that lives in `directory`; the one before it there was closed."""
        raise NotImplementedError("a subclass says how to make its journal")

    def started(self, directory: Path) -> tuple[Journal, Heard]:
        """Return a journal that commits, and what it tells."""
        journal, heard = self.journal(directory), Heard()
        journal.recover()
        journal.start(heard)
        return journal, heard

    def test_a_new_journal_holds_nothing(self, tmp_path: Path) -> None:
        journal = self.journal(tmp_path)
        recovery = journal.recover()
        journal.close()
        assert recovery.states == {}
        assert list(recovery.records()) == []

    def test_records_are_committed_in_the_order_of_append(self, tmp_path: Path) -> None:
        journal, heard = self.started(tmp_path)
        sent = _speak(journal, messages=200)
        heard.wait(lambda: len(heard.records) >= len(sent))
        journal.close()
        assert heard.records == sent

    def test_records_of_many_threads_keep_the_order_of_each(self, tmp_path: Path) -> None:
        journal, heard = self.started(tmp_path)
        sent: list[list[Record]] = [[] for _ in range(8)]

        def speak(number: int) -> None:
            sent[number] = _speak(journal, number, messages=100)

        threads = [threading.Thread(target=speak, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        journal.close()
        assert len(heard.records) == sum(len(records) for records in sent)
        for records in sent:
            key = records[0].recording
            assert [record for record in heard.records if record.recording == key] == records

    def test_append_does_not_wait_for_the_owner(self, tmp_path: Path) -> None:
        journal, may_go_on = self.journal(tmp_path), threading.Event()

        class Slow(Heard):
            def committed(self, records: Sequence[Record]) -> None:
                may_go_on.wait(WAIT_S)
                super().committed(records)

        heard = Slow()
        journal.recover()
        journal.start(heard)
        sent = _speak(journal, messages=100)  # comes back at once
        assert heard.records == []
        may_go_on.set()
        journal.close()
        assert heard.records == sent

    def test_close_commits_what_was_appended(self, tmp_path: Path) -> None:
        journal, heard = self.started(tmp_path)
        sent = _speak(journal, messages=50)
        journal.close()
        assert heard.records == sent
        assert heard.error is None

    def test_a_record_of_a_mebibyte_passes_whole(self, tmp_path: Path) -> None:
        journal, heard = self.started(tmp_path)
        state = example_state()
        key = recording_bytes(state.about.recording)
        record = Record(Kind.FRAMES, key, 0, 1 << 18, 1, bytes(range(256)) * 4096)
        journal.append(state.record())
        journal.append(record)
        journal.close()
        assert heard.records[1] == record

    def test_releasing_what_it_does_not_hold_is_no_mistake(self, tmp_path: Path) -> None:
        journal, heard = self.started(tmp_path)
        journal.release(bytes(16), None)
        journal.release(bytes(16), 48_000)
        sent = _speak(journal, messages=1)
        journal.close()
        assert heard.records == sent


class DurableJournalContract(JournalContract):
    """What holds for a journal whose commits survive: the next one over the same place."""

    def left_by(self, directory: Path) -> Recovery:
        """Return what a new process would find."""
        journal = self.journal(directory)
        recovery = journal.recover()
        records = list(recovery.records())  # before the log is let go
        for record in records:
            record.payload = bytes(record.payload)
        journal.close()
        return Recovery(recovery.states, lambda: iter(records))

    def test_states_come_back_as_the_fold_of_their_records(self, tmp_path: Path) -> None:
        journal, _ = self.started(tmp_path)
        state = example_state(epoch=7)
        key = recording_bytes(state.about.recording)
        journal.append(state.record())
        for record in (
            example_frames(key, 0, 100),
            gap_record(key, 7, GapEntry(100, 48, "overflow", exact=False)),
            example_frames(key, 148, 52),
            mark_record(key, 7, MarkEntry(199, "Größe 🎙")),
            finish_record(key, 7, 200, Ending("finished", "ab" * 32)),
        ):
            journal.append(record)
            state.apply(record)
        journal.close()
        assert self.left_by(tmp_path).states == {key: state}

    def test_frames_come_back_bit_for_bit_and_in_order(self, tmp_path: Path) -> None:
        journal, _ = self.started(tmp_path)
        sent = [record for n in range(3) for record in _speak(journal, n, messages=100)]
        journal.close()
        audio = [record for record in sent if record.kind is Kind.FRAMES]
        assert list(self.left_by(tmp_path).records()) == audio

    def test_only_released_frames_may_be_missing(self, tmp_path: Path) -> None:
        journal, heard = self.started(tmp_path)
        keys = [recording_bytes(example_state(number).about.recording) for number in range(2)]
        sent = [_speak(journal, number, messages=200) for number in range(2)]
        heard.wait(lambda: len(heard.records) == len(sent[0]) + len(sent[1]))
        journal.release(keys[0], 1_000)
        journal.release(keys[1], None)
        journal.close()
        left = self.left_by(tmp_path)
        assert [left.states[key].frames for key in keys] == [2_000, 2_000]
        kept = [record for record in left.records() if record.recording == keys[0]]
        wanted = [record for record in sent[0] if record.end > 1_000]
        assert kept[len(kept) - len(wanted) :] == wanted

    def test_a_closed_recording_is_forgotten(self, tmp_path: Path) -> None:
        journal, _ = self.started(tmp_path)
        for number in range(2):
            _speak(journal, number, messages=10)
        gone, stays = (recording_bytes(example_state(n).about.recording) for n in range(2))
        journal.append(Record(Kind.CLOSED, gone))
        journal.release(gone, None)
        journal.close()
        assert list(self.left_by(tmp_path).states) == [stays]

    def test_one_recording_goes_on_through_many_lives(self, tmp_path: Path) -> None:
        state = example_state(epoch=0)
        key = recording_bytes(state.about.recording)
        sent: list[Record] = []
        for life in range(1, 6):
            journal = self.journal(tmp_path)
            recovery = journal.recover()
            assert recovery.states == ({key: state} if life > 1 else {})
            journal.start(Heard())
            state.epoch = life
            journal.append(state.record())
            for _ in range(3):
                record = example_frames(key, state.frames, 10, epoch=life)
                state.apply(record)
                journal.append(record)
                sent.append(record)
            journal.close()
        left = self.left_by(tmp_path)
        assert left.states == {key: state}
        kept = list(left.records())
        assert kept == sent[len(sent) - len(kept) :]
        assert kept


def _speak(journal: Journal, number: int = 0, *, messages: int) -> list[Record]:
    """Append a new recording of so many messages of ten frames; return all its records."""
    state = example_state(number)
    key = recording_bytes(state.about.recording)
    records = [state.record(), *(example_frames(key, 10 * n, 10) for n in range(messages))]
    for record in records:
        journal.append(record)
    return records
