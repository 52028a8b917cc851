"""The walk of a frame: link -> session -> journal -> ack.

Everything here runs on one event loop and never touches a file: the journal and the
library do, on their own threads. A carrier calls `connect`, feeds the connection with
what arrives, and sends what is outgoing; it needs no framework for that.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any, TypeVar

import numpy as np

from micwire.acks import Acks
from micwire.core.edits import Change
from micwire.core.errors import SERVICE_RESTART, MicwireError, StorageFailedError
from micwire.core.interfaces import Admit, Analysis, Identify, Journal, Library, ResultReader
from micwire.core.recording import Closed, Ending, RecordingState, gap_record, mark_record
from micwire.core.records import Kind, Record, recording_bytes
from micwire.core.session import (
    DiscardAsked,
    Event,
    FinishAsked,
    FramesArrived,
    GapArrived,
    Limits,
    MarkArrived,
    OpenAsked,
    Refused,
    State,
)
from micwire.core.wire import Finished
from micwire.editing import Deletion, Editor
from micwire.events import Events, Happening
from micwire.link import Connection, Live, everybody
from micwire.opening import Opener, RecorderSettings, without_limit
from micwire.unfinished import Unfinished

T = TypeVar("T")

_FRAMES = Kind.FRAMES
OPEN_TIMEOUT_S = 5.0
FINISHED_CLOSE_S = 10.0
RESULTS_WAIT_S = 0.25
"""So long `finished` waits for the last results of analyzers."""
HOUSEKEEPING_S = 60.0
STOP_TIMEOUT_S = 8.0


@dataclass(slots=True)
class Counters:
    """What has happened since the start; read by `/metrics`."""

    frames_received: int = 0
    frames_durable: int = 0
    frames_lost: int = 0
    errors: dict[str, int] = field(default_factory=dict)


class Recorder:
    """All recordings that are not finished.

    Args:
        journal: The durable log.
        library: Where recordings end up.
        settings: Limits.
        utc_now: The wall clock; it gives file names and dates, and decides nothing.
        analysis: Runs analyzers beside; None where there are none.
        events: Tells others what happens to recordings.
        is_taken: Whether a path below the data directory is in use; may block.
        note_deletion: Keeps a log of deletions; called before each is durable, may block.
        admit: Says how long a recording may be, and whether it may begin.
        hit: Called with the names of failpoints.
        on_failed: Called once, on the loop, when nothing more can be made durable.
    """

    def __init__(
        self,
        journal: Journal,
        library: Library,
        settings: RecorderSettings,
        *,
        analysis: Analysis | None = None,
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
        events: Events | None = None,
        is_taken: Callable[[str], bool] = lambda path: False,
        note_deletion: Callable[[Deletion], None] | None = None,
        admit: Admit = without_limit,
        hit: Callable[[str], None] | None = None,
        on_failed: Callable[[MicwireError], None] = lambda error: None,
    ) -> None:
        self.settings = settings
        self.counters = Counters()
        self.error: MicwireError | None = None
        """Set once a write or sync has failed: nothing more is acknowledged."""
        self.is_stopping = False
        self._journal = journal
        self._library = library
        self._analysis = analysis
        self._events = events or Events()
        self._on_failed = on_failed
        self._unfinished = Unfinished(journal)
        self._opener = Opener(
            self,
            self._unfinished,
            library,
            settings,
            analysis=analysis,
            events=self._events,
            utc_now=utc_now,
            is_taken=is_taken,
            admit=admit,
        )
        self._connections: set[Connection] = set()
        self._editor = Editor(
            self,
            self._unfinished,
            library,
            analysis=analysis,
            events=self._events,
            note_deletion=note_deletion,
        )
        self._acks = Acks(settings.limits.ack_interval_ms / 1000, hit)
        self._free_bytes: int | None = None
        self._full: set[str] = set()
        self._is_room_low = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._all_closed = asyncio.Event()

    # ---- life --------------------------------------------------------------------

    async def start(self) -> None:
        """Recover what earlier processes left, then begin to commit and to file.

        Raises:
            MicwireError: The journal or the library can't be recovered.
        """
        self._loop = asyncio.get_running_loop()
        recovery = await asyncio.to_thread(self._journal.recover)
        closed = await asyncio.to_thread(self._library.recover, recovery)
        for key, state in recovery.states.items():
            live = Live(key, state.copy(), state.frames, idle_since=time.monotonic())
            self._unfinished.add(live)
        self._journal.start(_JournalEar(self, self._loop, self._library, self._analysis))
        self._library.start(_LibraryEar(self, self._loop, self._journal))
        for key in recovery.altered:
            self._journal.append(self._unfinished.lives[key].state.record())
        for key in closed:
            self._journal.append(Record(Kind.CLOSED, key))
            self._journal.release(key, None)
        for live in self._unfinished.lives.values():
            if live.state.about.plain:
                self._unfinished.end(live, Ending("interrupted"))
        self.spawn(self._acks.heartbeat(self._connections))
        self.spawn(self._keep_house())

    async def stop(self) -> None:
        """Take nothing new, make all durable, say so, and close every link with 1012."""
        if self.is_stopping:
            return
        self.is_stopping = True
        connections = tuple(self._connections)
        if self.error is None:
            for live in self._unfinished.lives.values():
                if live.state.about.plain:
                    self._unfinished.end(live, Ending("finished"))
            # A disk that is full or hangs keeps the rest in the journal, or with the clients.
            with contextlib.suppress(TimeoutError, StorageFailedError):
                if not self.is_full:
                    async with asyncio.timeout(STOP_TIMEOUT_S):
                        await self._flush()
        for connection in connections:
            connection.session.acknowledge()
            connection.wake()
        await asyncio.sleep(0)
        for connection in connections:
            connection.session.leave(SERVICE_RESTART)
            connection.wake()

    async def close(self) -> None:
        """End the journal and the library once everything taken is on disk."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.to_thread(self._journal.close)
        await asyncio.to_thread(self._library.close)

    async def _flush(self) -> None:
        """Wait until all that was taken is durable; note how long clients have been away."""
        now = time.monotonic()
        for live in self._unfinished.lives.values():
            self._count_idle(live, now)
        lives = self._unfinished.lives
        waiting = [self._unfinished.commit(live.state.record()) for live in lives.values()]
        await asyncio.gather(*waiting)
        while any(live.state.about.plain for live in lives.values()):
            self._all_closed.clear()
            await self._all_closed.wait()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let something go on by itself, until the recorder ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- what others may know ----------------------------------------------------

    def limits(self) -> Limits:
        """Return what a connection may do now."""
        if self._free_bytes is None:
            return self.settings.limits
        return replace(self.settings.limits, max_room_bytes=self._free_bytes)

    @property
    def connections(self) -> int:
        """How many links are open."""
        return len(self._connections)

    def links(self) -> list[Connection]:
        """Return the links that are open."""
        return list(self._connections)

    def states(self) -> list[RecordingState]:
        """Return the states of all unfinished recordings, the newest last."""
        return [live.state for live in self._unfinished.lives.values() if not live.state.is_deleted]

    def streaming(self) -> list[RecordingState]:
        """Return the states of unfinished recordings that have a client now."""
        lives = self._unfinished.lives.values()
        return [live.state for live in lives if live.owner is not None]

    def state(self, recording: str) -> RecordingState | None:
        """Return the state of an unfinished recording."""
        live = self._unfinished.lives.get(recording_bytes(recording))
        return None if live is None or live.state.is_deleted else live.state

    def was_deleted(self, recording: str) -> bool:
        """Tell whether a recording was deleted since this process began."""
        return recording_bytes(recording) in self._unfinished.deleted

    def unacked_frames(self) -> int:
        """Return how many frames are taken and not durable yet."""
        return sum(live.state.frames - live.durable for live in self._unfinished.lives.values())

    # ---- links -------------------------------------------------------------------

    def connect(
        self,
        wake: Callable[[], None],
        *,
        is_plain: bool = False,
        identify: Identify = everybody,
        prefix: str = "",
    ) -> Connection:
        """Take a link whose handshake is done; who it is, is asked when it opens a recording."""
        connection = Connection(self, wake, is_plain=is_plain, identify=identify, prefix=prefix)
        self._connections.add(connection)
        if self.is_stopping:
            connection.session.leave(SERVICE_RESTART)
            self._loop.call_soon(connection.wake)
        self._loop.call_later(OPEN_TIMEOUT_S, self._expect_open, connection)
        return connection

    def _expect_open(self, connection: Connection) -> None:
        if connection.session.state is State.CONNECTED:
            self.refuse(connection, "unauthenticated", "no `open` came within 5 s")

    def disconnected(self, connection: Connection) -> None:
        """Forget a link; a plain one's recording is finished by that."""
        self._connections.discard(connection)
        self._acks.drop(connection)
        live = connection.live
        if live is not None:
            if connection.is_plain:
                self._unfinished.end(live, Ending("finished"))
            self.detach(connection)

    def detach(self, connection: Connection) -> None:
        """Let a link have no recording any more."""
        live, connection.live = connection.live, None
        if live is not None and live.owner is connection:
            live.owner = None
            live.idle_since = time.monotonic()

    def refuse(
        self, connection: Connection, code: str, message: str, *, frames: int | None = None
    ) -> None:
        """Close a link with an error of the wire."""
        for event in connection.session.refuse(code, message, frames=frames):
            self.handle(connection, event)

    # ---- from people ---------------------------------------------------------------

    async def edit(self, recording: str, change: Change) -> None:
        """Change what is said of a recording; durable once this returns.

        Raises:
            GoneError: There is no such recording.
            LockedError: The server may not change its files.
            StorageFullError: There is no room.
            StorageFailedError: A write or sync failed.
            Exception: What `change` has raised; nothing is changed.
        """
        await self._editor.edit(recording, change)

    async def delete(self, recording: str, *, why: str, by: str) -> None:
        """Delete a recording: unreadable from now on, and never back; durable once this returns.

        Args:
            recording: Its id.
            why: For the log of deletions.
            by: The id of the person who asked for it, or the name of the rule.

        Raises:
            GoneError: There is no such recording.
            HeldError: It is on hold.
            LockedError: Whether it is on hold can't be read.
            StorageFullError: There is no room to note it; it is still there.
            StorageFailedError: A write or sync failed.
        """
        await self._editor.delete(recording, why, by)

    # ---- from the session ----------------------------------------------------------

    def take_frames(
        self, connection: Connection, event: FramesArrived, clipped: int, nonfinite: int
    ) -> None:
        """Store the next frames of a connection's recording. On the hot path."""
        live = connection.live
        if live is None or self.is_stopping:
            return
        if live.is_float:
            nonfinite += count_nonfinite(event.data)
        state = live.state
        record = Record(
            _FRAMES,
            live.key,
            event.first_frame,
            event.frames,
            state.epoch,
            event.data,
            clipped,
            nonfinite,
        )
        state.apply(record)
        self._journal.append(record)
        self.counters.frames_received += event.frames

    def handle(
        self,
        connection: Connection,
        event: Event,
    ) -> None:
        """Do what a session says has to happen."""
        live = connection.live
        match event:
            case OpenAsked(message):
                self.spawn(self._opener.open(connection, message))
            case Refused(code, _):
                self.counters.errors[code] = self.counters.errors.get(code, 0) + 1
                if live is not None and connection.is_plain:
                    self._unfinished.end(live, Ending("finished"))
                self.detach(connection)
                connection.wake()
            case _ if live is None or self.is_stopping:
                pass
            case GapArrived(gap):
                self._unfinished.append(live, gap_record(live.key, live.state.epoch, gap))
                self.counters.frames_lost += gap.frames
            case MarkArrived(mark):
                self._unfinished.append(live, mark_record(live.key, live.state.epoch, mark))
            case FinishAsked(message):
                self._unfinished.end(live, Ending("finished", message.digest))
            case DiscardAsked() if live.state.about.hold:
                self.refuse(connection, "forbidden", "the recording is on hold: it is kept")
            case DiscardAsked():
                self._editor.hide(live)
                self.spawn(self._discard(live))

    async def _discard(self, live: Live) -> None:
        with contextlib.suppress(StorageFailedError):  # everybody has been told
            await self._editor.commit_deletion(live, "discarded", live.state.about.owner)

    def is_unable(self, connection: Connection) -> bool:
        """Refuse a connection if nothing can be recorded now; tell whether that was so."""
        if self.error is not None:
            self.refuse(connection, "storage-failed", "the server's storage failed", frames=0)
        elif self.is_stopping:
            connection.session.leave(SERVICE_RESTART)
        elif self.is_full:
            self.refuse(connection, "storage-full", "no room left on the server", frames=0)
        else:
            return False
        return True

    def finish(self, connection: Connection, closed: Closed) -> None:
        """Tell a client that its recording is final, behind the last results if they are near."""
        if connection.results is None or self.is_stopping:
            self._tell_finished(connection, closed)
        else:
            self.spawn(self._finish_behind_results(connection, connection.results, closed))

    async def _finish_behind_results(
        self, connection: Connection, results: ResultReader, closed: Closed
    ) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RESULTS_WAIT_S):
                await results.all_taken()
        self._tell_finished(connection, closed)

    def _tell_finished(self, connection: Connection, closed: Closed) -> None:
        connection.end_results()  # a client hears nothing behind `finished`
        matches = None
        if closed.client_digest is not None:
            matches = closed.client_digest == closed.digest
        connection.session.finished(
            Finished(
                closed.recording,
                closed.frames,
                closed.digest,
                matches,
                connection.prefix + audio_url(closed.recording),
            )
        )
        self._loop.call_later(FINISHED_CLOSE_S, self._leave, connection, 1000)
        connection.wake()

    @staticmethod
    def _leave(connection: Connection, code: int) -> None:
        connection.session.leave(code)
        connection.wake()

    # ---- from the journal and the library, on the loop ---------------------------

    def committed(self, records: Sequence[Record]) -> None:
        """Acknowledge what has become durable."""
        if self.error is not None:
            return
        lives = self._unfinished.lives
        for record in records:
            if record.is_audio:
                live = lives.get(record.recording)
                if live is not None:
                    live.durable = end = record.end
                    owner = live.owner
                    if owner is not None:
                        owner.session.durable(end)
                        self._acks.add(owner)
                self.counters.frames_durable += record.frames
            else:
                self._unfinished.committed(record)
        self._acks.send()

    async def _keep_house(self) -> None:
        """Close recordings whose client stays away for too long."""
        limit_s = self.settings.unfinished_days * 86_400
        while True:
            await asyncio.sleep(min(HOUSEKEEPING_S, max(limit_s / 4, 0.05)))
            now = time.monotonic()
            for live in tuple(self._unfinished.lives.values()):
                self._count_idle(live, now)
                if live.state.idle_s > limit_s:
                    self._unfinished.end(live, Ending("interrupted"))

    @staticmethod
    def _count_idle(live: Live, now: float) -> None:
        # By the monotonic clock: a step of the wall clock must not end a recording.
        if live.owner is None:
            live.state.idle_s += now - live.idle_since
            live.idle_since = now

    def closed(self, key: bytes, closed: Closed) -> None:
        """A recording is in the library for good, or gone for good."""
        live = self._unfinished.remove(key)
        self._journal.append(Record(Kind.CLOSED, key))
        self._all_closed.set()
        if live is None:
            return
        about = live.state.about
        self._events.tell(Happening(closed.status), about.recording, about.owner)
        owner = live.owner
        if owner is None:
            return
        self.detach(owner)
        if closed.status == "deleted":
            owner.session.discarded()
            owner.wake()
        elif closed.status == "finished":
            self.finish(owner, closed)
        else:
            self.refuse(owner, "diverged", f"the recording is {closed.status}")

    def room(self, free_bytes: int) -> None:
        """So much room is left on the disk."""
        self._free_bytes = free_bytes
        floor = self.settings.min_free_bytes
        if free_bytes < floor // 2 and not self._is_room_low:
            self._is_room_low = True
            self._stop_streaming()
        elif free_bytes >= floor:
            self._is_room_low = False

    def full(self, part: str, *, is_full: bool) -> None:
        """A part of the storage has no room, or has room again."""
        if is_full:
            self._full.add(part)
            self._stop_streaming()
        else:
            self._full.discard(part)

    def _stop_streaming(self) -> None:
        for connection in tuple(self._connections):
            if connection.live is not None or connection.session.state is State.OPENING:
                self.refuse(
                    connection,
                    "storage-full",
                    "no room left on the server; what was acknowledged is safe",
                    frames=connection.session.durable_frames,
                )

    @property
    def is_full(self) -> bool:
        """Tell whether audio is refused because there is no room."""
        return bool(self._full) or self._is_room_low

    def fail(self, error: MicwireError) -> None:
        """Nothing more can be made durable: tell everybody, and the owner to exit."""
        if self.error is not None:
            return
        self.error = error
        self._unfinished.fail(StorageFailedError(str(error)))
        for connection in tuple(self._connections):
            self.refuse(
                connection,
                "storage-failed",
                "a write or sync failed on the server; what was acknowledged is safe",
                frames=connection.session.durable_frames,
            )
        self._on_failed(error)


class _JournalEar:
    """Brings the journal's news to the loop, and durable records to those who read the log."""

    def __init__(
        self,
        recorder: Recorder,
        loop: asyncio.AbstractEventLoop,
        library: Library,
        analysis: Analysis | None,
    ) -> None:
        self._recorder = recorder
        self._loop = loop
        self._library = library
        self._analysis = analysis

    def committed(self, records: Sequence[Record]) -> None:
        self._loop.call_soon_threadsafe(self._recorder.committed, records)
        if self._analysis is not None:
            self._analysis.feed(records)
        self._library.file(records)

    def full(self, *, is_full: bool) -> None:
        self._loop.call_soon_threadsafe(lambda: self._recorder.full("journal", is_full=is_full))

    def failed(self, error: MicwireError) -> None:
        self._loop.call_soon_threadsafe(self._recorder.fail, error)


class _LibraryEar:
    """Brings the library's news to the loop, and what is filed to the journal."""

    def __init__(
        self, recorder: Recorder, loop: asyncio.AbstractEventLoop, journal: Journal
    ) -> None:
        self._recorder = recorder
        self._loop = loop
        self._journal = journal

    def filed(self, recording: bytes, end: int | None) -> None:
        self._journal.release(recording, end)

    def closed(self, recording: bytes, closed: Closed) -> None:
        self._loop.call_soon_threadsafe(self._recorder.closed, recording, closed)

    def room(self, free_bytes: int) -> None:
        self._loop.call_soon_threadsafe(self._recorder.room, free_bytes)

    def full(self, *, is_full: bool) -> None:
        self._loop.call_soon_threadsafe(lambda: self._recorder.full("library", is_full=is_full))

    def failed(self, error: MicwireError) -> None:
        self._loop.call_soon_threadsafe(self._recorder.fail, error)


def audio_url(recording: str) -> str:
    """Return the path of a recording's WAV on this server."""
    return f"/api/v1/recordings/{recording}/audio"


def count_nonfinite(data: bytes | memoryview) -> int:
    """Return how many float32 samples are NaN or infinite."""
    samples = np.frombuffer(data, dtype="<f4")
    with np.errstate(all="ignore"):  # a peer's numbers, however wild, are no news to warn of
        power = np.dot(samples, samples)
    if isfinite(power):  # the usual case, in one pass
        return 0
    return int(samples.size - np.count_nonzero(np.isfinite(samples)))
