"""The journal in local files: one committer thread, one sync for everything pending.

`append` takes a record on any thread and returns at once. The committer takes what is
pending, writes it, syncs once, and tells its owner. After a failed write or sync it never
commits again: the kernel may have dropped the bytes and would call the next sync a success.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from micwire.core.errors import StorageFailedError
from micwire.core.interfaces import Files, JournalEvents, Recovery
from micwire.core.records import Record
from micwire.core.storage import is_no_room
from micwire.journal.segments import SEGMENT_BYTES, NoRoomError, SegmentStore

COMMIT_INTERVAL_S = 0.05
"""The least time between two commits: under load, more messages share one sync.

Longer than the interval of acks by what commits vary, so that each can be told at once."""
ROOM_RETRY_S = 0.5
SPARE_RETRY_S = 5.0


class LocalJournal:
    """A journal in a directory of segment files; see `Journal` for what it promises.

    Args:
        directory: Where the segments live.
        files: The file system.
        segment_bytes: Size of one segment.
        commit_interval_s: The least time between the starts of two commits.
    """

    def __init__(
        self,
        directory: Path,
        files: Files,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        commit_interval_s: float = COMMIT_INTERVAL_S,
    ) -> None:
        self._store = SegmentStore(directory, files, segment_bytes)
        self._commit_interval_s = commit_interval_s
        self._pending: deque[Record] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._has_failed = False
        self.commits = 0
        """How often the journal was written and synced."""
        self.commit_seconds = 0.0
        """How long that took in all."""
        self._events: JournalEvents | None = None
        self._spare: threading.Thread | None = None
        self._no_spare_before = 0.0
        self._thread = threading.Thread(target=self._run, name="micwire-journal", daemon=True)

    # ---- any thread --------------------------------------------------------------

    def recover(self) -> Recovery:
        """Read what earlier processes left; see `Journal.recover`.

        Raises:
            JournalDamagedError: The segments contradict each other.
            StorageFailedError: The disk failed.
        """
        with _storage_failure():
            self._store.scan()

        def records() -> Iterator[Record]:
            with _storage_failure():
                yield from self._store.frames()

        states = {key: state.copy() for key, state in self._store.ledger.states.items()}
        return Recovery(states, records)

    def start(self, events: JournalEvents) -> None:
        """Begin to commit."""
        self._events = events
        self._thread.start()

    def append(self, record: Record) -> None:
        """Take a record. Never blocks; after a failure it has no effect."""
        self._pending.append(record)
        if not self._wake.is_set():
            self._wake.set()

    def release(self, recording: bytes, end: int | None) -> None:
        """Forget the frames of a recording before `end`."""
        if self._store.release(recording, end):
            self._wake.set()

    def oldest_pins(self) -> list[bytes]:
        """Return the recordings that keep the oldest segment from being used again."""
        return self._store.oldest_pins()

    @property
    def kept_bytes(self) -> int:
        """Return how many bytes of segments the log is made of."""
        return sum(segment.capacity for segment in tuple(self._store.segments))

    def close(self) -> None:
        """Commit what was appended, then end. Blocks."""
        self._closing = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._spare is not None:
            self._spare.join()
        self._store.close()

    # ---- the committer's thread --------------------------------------------------

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            closing = self._closing
            if not self._commit() or closing:
                return
            if not self._closing:
                took = time.monotonic() - began
                self.commits += 1
                self.commit_seconds += took
                self._care_for_spare()
                pause = self._commit_interval_s - took
                if pause > 0:
                    time.sleep(pause)

    def _commit(self) -> bool:
        """Make everything pending durable; False after a failure."""
        # Taken one by one: `append` may run between any two steps of this thread.
        batch = [self._pending.popleft() for _ in range(len(self._pending))]
        was_full = False
        try:
            while batch:
                try:
                    self._store.write(batch)
                    written = len(batch)
                except NoRoomError as error:
                    written = error.written
                if self._has_failed:  # beside us, and that disk is ours
                    return False
                if written:
                    self._tell().committed(batch[:written])
                batch = batch[written:]
                if bool(batch) != was_full:
                    was_full = bool(batch)
                    self._tell().full(is_full=was_full)
                if batch and self._closing:
                    return False  # nobody was told that these are durable
                self._store.remove_released()
                if batch:
                    time.sleep(ROOM_RETRY_S)
            self._store.remove_released()
        except Exception as error:  # also a mistake of ours: nothing is durable without this thread
            self._fail(f"the journal can't be written: {error!r}")
        return not self._has_failed

    def _fail(self, reason: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._tell().failed(StorageFailedError(reason))

    def _care_for_spare(self) -> None:
        """Have the next segment prewritten before it is needed: commits would wait for it."""
        is_busy = self._spare is not None and self._spare.is_alive()
        if self._store.wants_spare() and not is_busy and time.monotonic() > self._no_spare_before:
            self._spare = threading.Thread(
                target=self._make_spare, name="micwire-journal-spare", daemon=True
            )
            self._spare.start()

    def _make_spare(self) -> None:
        try:
            try:
                self._store.make_spare()
            except OSError as error:
                if not is_no_room(error):
                    raise
                # The committer finds out, and tells, when it needs a segment. Until then
                # the WAVs need what room there is.
                self._no_spare_before = time.monotonic() + SPARE_RETRY_S
                self._store.drop_coming()
        except Exception as error:
            self._fail(f"a journal segment can't be prepared: {error!r}")

    def _tell(self) -> JournalEvents:
        if self._events is None:
            raise ValueError("start() comes before append()")
        return self._events


@contextlib.contextmanager
def _storage_failure() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFailedError(f"the journal can't be read: {error}") from error
