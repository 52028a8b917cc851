"""The walk of a frame: link -> session -> journal -> ack.

Everything here runs on one event loop and never touches a file: the journal and the
library do, on their own threads. A carrier calls `connect`, feeds the connection with
what arrives, and sends what is outgoing; it needs no framework for that.
"""

import asyncio
import contextlib
import hashlib
import hmac
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from weakref import WeakValueDictionary

import numpy as np

from micwire.acks import Acks
from micwire.core.errors import (
    SERVICE_RESTART,
    MicwireError,
    RegisterDamagedError,
    StorageFailedError,
)
from micwire.core.interfaces import Analysis, Identify, Journal, Library, ResultReader
from micwire.core.people import Person, Scope
from micwire.core.recording import (
    About,
    Closed,
    Ending,
    RecordingState,
    finish_record,
    gap_record,
    mark_record,
)
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
from micwire.core.storage import is_no_room
from micwire.core.wire import Finished, Open, Opened
from micwire.events import Event as Happened
from micwire.events import Events, Happening
from micwire.link import Connection, Live, everybody

_FRAMES = Kind.FRAMES
OPEN_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 10.0
UNFINISHED_SHARE = 5
"""How many recordings may wait for their clients, as a multiple of those that may stream."""
FINISHED_CLOSE_S = 10.0
RESULTS_WAIT_S = 0.25
"""So long `finished` waits for the last results of analyzers."""
HOUSEKEEPING_S = 60.0
STOP_TIMEOUT_S = 8.0


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """What the recorder may use.

    Args:
        limits: What one connection may do.
        max_recordings: How many may stream at once; more are refused with `quota`.
        min_free_bytes: Below this, new recordings are refused; below half, all stop.
        unfinished_days: How long an unfinished recording waits for its client.
    """

    limits: Limits = field(default_factory=Limits)
    max_recordings: int = 2_000
    min_free_bytes: int = 256 << 20
    unfinished_days: float = 7.0


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
        self._utc_now = utc_now
        self._events = events or Events()
        self._is_taken = is_taken
        self._on_failed = on_failed
        self._live: dict[bytes, Live] = {}
        self._paths: set[str] = set()
        self._creating = 0
        self._deleted: set[bytes] = set()
        self._connections: set[Connection] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiters: dict[int, asyncio.Future[None]] = {}
        self._acks = Acks(settings.limits.ack_interval_ms / 1000, hit)
        self._free_bytes: int | None = None
        self._full: set[str] = set()
        self._is_room_low = False
        self._tasks: set[asyncio.Task[None]] = set()
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
            self._live[key] = live
            self._paths.add(state.about.path)
        self._journal.start(_JournalEar(self, self._loop, self._library, self._analysis))
        self._library.start(_LibraryEar(self, self._loop, self._journal))
        for key in recovery.altered:
            self._journal.append(self._live[key].state.record())
        for key in closed:
            self._journal.append(Record(Kind.CLOSED, key))
            self._journal.release(key, None)
        for live in self._live.values():
            if live.state.about.plain:
                self._end(live, Ending("interrupted"))
        self._spawn(self._acks.heartbeat(self._connections))
        self._spawn(self._keep_house())

    async def stop(self) -> None:
        """Take nothing new, make all durable, say so, and close every link with 1012."""
        if self.is_stopping:
            return
        self.is_stopping = True
        connections = tuple(self._connections)
        if self.error is None:
            for live in self._live.values():
                if live.state.about.plain:
                    self._end(live, Ending("finished"))
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
        for live in self._live.values():
            self._count_idle(live, now)
        waiting = [self._commit(live.state.record()) for live in self._live.values()]
        await asyncio.gather(*waiting)
        while any(live.state.about.plain for live in self._live.values()):
            self._all_closed.clear()
            await self._all_closed.wait()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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

    def states(self) -> list[RecordingState]:
        """Return the states of all unfinished recordings, the newest last."""
        return [live.state for live in self._live.values() if not live.state.is_deleted]

    def state(self, recording: str) -> RecordingState | None:
        """Return the state of an unfinished recording."""
        live = self._live.get(recording_bytes(recording))
        return None if live is None or live.state.is_deleted else live.state

    def was_deleted(self, recording: str) -> bool:
        """Tell whether a recording was deleted since this process began."""
        return recording_bytes(recording) in self._deleted

    def unacked_frames(self) -> int:
        """Return how many frames are taken and not durable yet."""
        return sum(live.state.frames - live.durable for live in self._live.values())

    def streaming(self) -> int:
        """Return how many unfinished recordings have a client connected."""
        return sum(live.owner is not None for live in self._live.values())

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
                self._end(live, Ending("finished"))
            self._detach(connection)

    def _detach(self, connection: Connection) -> None:
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
                self._spawn(self._open(connection, message))
            case Refused(code, _):
                self.counters.errors[code] = self.counters.errors.get(code, 0) + 1
                if live is not None and connection.is_plain:
                    self._end(live, Ending("finished"))
                self._detach(connection)
                connection.wake()
            case _ if live is None or self.is_stopping:
                pass
            case GapArrived(gap):
                self._append(live, gap_record(live.key, live.state.epoch, gap))
                self.counters.frames_lost += gap.frames
            case MarkArrived(mark):
                self._append(live, mark_record(live.key, live.state.epoch, mark))
            case FinishAsked(message):
                self._end(live, Ending("finished", message.digest))
            case DiscardAsked():
                self._deleted.add(live.key)
                if self._analysis is not None:
                    self._analysis.forget(live.key)
                self._append(live, Record(Kind.DELETE, live.key, epoch=live.state.epoch))

    def _append(self, live: Live, record: Record) -> None:
        live.state.apply(record)
        self._journal.append(record)

    def _end(self, live: Live, ending: Ending) -> None:
        if live.state.ending is None and not live.state.is_deleted:
            state = live.state
            self._append(live, finish_record(live.key, state.epoch, state.frames, ending))

    async def _commit(self, record: Record) -> None:
        """Append a record and wait until it is durable, with all before it."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters[id(record)] = waiter
        try:
            self._journal.append(record)
            await waiter
        finally:
            self._waiters.pop(id(record), None)

    # ---- open ----------------------------------------------------------------------

    async def _open(self, connection: Connection, message: Open) -> None:
        lock = self._locks.setdefault(message.recording, asyncio.Lock())
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), lock:
                person = await connection.identify(message.ticket)
                if person is None:
                    self.refuse(connection, "unauthenticated", "sign in first", frames=0)
                elif not person.may(Scope.RECORD):
                    self.refuse(connection, "forbidden", "you may not record here", frames=0)
                else:
                    await self._open_alone(connection, message, person)
        except TimeoutError:
            self.refuse(
                connection, "storage-failed", "the server's disk does not answer; try again later"
            )
            self._end_orphan(message.recording, connection)
        except OSError as error:
            if is_no_room(error):
                self.refuse(connection, "storage-full", "no room left on the server", frames=0)
            else:
                self.fail(StorageFailedError(f"the data directory can't be used: {error}"))
        except StorageFailedError as error:
            self.fail(error)
        except RegisterDamagedError:
            self.refuse(
                connection, "storage-failed", "what is known of this recording is damaged", frames=0
            )
        connection.wake()

    async def _open_alone(self, connection: Connection, message: Open, person: Person) -> None:
        key = recording_bytes(message.recording)
        if self._is_unable(connection):
            return
        live = self._live.get(key)
        if live is None:
            closed = await asyncio.to_thread(self._library.closed, message.recording)
            if closed is not None:
                await self._open_closed(connection, message, closed, person)
                return
            if self._may_not_create(connection):
                return
            self._creating += 1
            try:
                live = await self._create(connection, message, key, person)
            finally:
                self._creating -= 1
        else:
            if not self._may_continue(connection, message, live, person):
                return
            self._dismiss_owner(live)
            if live.state.ending is not None:
                # What is over grants its epochs itself, once it is in the library.
                await live.over.wait()
                await self._open_alone(connection, message, person)
                return
            await self._take_over(live)
        if self._is_unable(connection):  # since we waited
            self._end_orphan(message.recording, connection)
            return
        if connection.session.state is not State.OPENING:  # the client has left meanwhile
            self._end_orphan(message.recording, connection)
            return
        if live.state.is_deleted or live.state.ending is not None:
            # It ended while its epoch was being made durable: look again.
            await self._open_alone(connection, message, person)
            return
        live.owner, connection.live = connection, live
        if self._analysis is not None:
            connection.results = self._analysis.attach(live.state, message, connection.wake)
        self._grant(connection, live.state)

    def _end_orphan(self, recording: str, connection: Connection) -> None:
        """End a plain recording that was created for a link that is gone: nobody can return."""
        live = self._live.get(recording_bytes(recording))
        if live is not None and connection.is_plain:
            self._end(live, Ending("finished"))

    def _is_unable(self, connection: Connection) -> bool:
        if self.error is not None:
            self.refuse(connection, "storage-failed", "the server's storage failed", frames=0)
        elif self.is_stopping:
            connection.session.leave(SERVICE_RESTART)
        elif self.is_full:
            self.refuse(connection, "storage-full", "no room left on the server", frames=0)
        else:
            return False
        return True

    def _may_not_create(self, connection: Connection) -> bool:
        if self._free_bytes is not None and self._free_bytes < self.settings.min_free_bytes:
            self.refuse(connection, "storage-full", "no room for a new recording", frames=0)
        elif self.streaming() + self._creating >= self.settings.max_recordings:
            self.refuse(connection, "quota", "too many recordings at once; try later", frames=0)
        elif len(self._live) >= UNFINISHED_SHARE * self.settings.max_recordings:
            self.refuse(connection, "quota", "too many recordings are unfinished", frames=0)
        else:
            return False
        return True

    async def _create(
        self, connection: Connection, message: Open, key: bytes, person: Person
    ) -> Live:
        now = self._utc_now()
        path = await self._free_path(now, message.recording)
        about = About(
            recording=message.recording,
            key_hash="" if connection.is_plain else hash_key(message.key),
            format=message.format,
            path=path,
            created_at=now.isoformat(timespec="milliseconds"),
            plain=connection.is_plain,
            title=message.title,
            started_at=message.started_at,
            take=message.take,
            part=message.part,
            take_time_s=message.take_time_s,
            device=message.device,
            settings=None if message.settings is None else dict(message.settings),
            metadata=None if message.metadata is None else dict(message.metadata),
            owner=person.id,
            consent=person.consent,
            invitation=person.invitation,
        )
        live = Live(key, RecordingState(about, epoch=1), 0, idle_since=time.monotonic())
        self._live[key] = live
        await self._commit(live.state.record())
        self._publish(Happening.STARTED, about)
        return live

    def _publish(self, happening: Happening, about: About) -> None:
        now = self._utc_now().isoformat(timespec="milliseconds")
        self._events.publish(Happened(happening, about.recording, about.owner, now))

    async def _free_path(self, now: datetime, recording: str) -> str:
        stem = f"{now:%Y-%m-%d}/{now:%H-%M-%S}_{recording[:8]}"
        path, number = stem, 1
        while True:
            # Reserved before the disk is asked: another `open` may run meanwhile.
            if path not in self._paths:
                self._paths.add(path)
                if not await asyncio.to_thread(self._is_taken, path):
                    return path
                self._paths.discard(path)
            number += 1
            path = f"{stem}_{number}"

    def _may_continue(
        self, connection: Connection, message: Open, live: Live, person: Person
    ) -> bool:
        state = live.state
        if state.is_deleted:
            self.refuse(connection, "deleted", "the recording was deleted", frames=0)
        elif not (
            is_key(message.key, state.about.key_hash) and person.may_continue(state.about.owner)
        ):
            self._forbid(connection)
        elif message.format != state.about.format:
            self.refuse(
                connection, "diverged", "the recording has another format", frames=state.frames
            )
        elif (message.acked or 0) > state.frames:
            self.refuse(
                connection,
                "diverged",
                f"{message.acked} frames were acknowledged, and only {state.frames} are here",
                frames=state.frames,
            )
        else:
            return True
        return False

    def _forbid(self, connection: Connection) -> None:
        # One sentence for both: neither the key nor the owner is told apart.
        self.refuse(
            connection, "forbidden", "the recording is not yours, or the key not its", frames=0
        )

    def _dismiss_owner(self, live: Live) -> None:
        """From here on an older connection has no effect."""
        if live.owner is not None:
            self.refuse(live.owner, "taken-over", "a newer connection opened this recording")

    async def _take_over(self, live: Live) -> None:
        # What the older connection sent is in the log before the new epoch, and so durable
        # before `opened` is sent.
        live.state.epoch += 1
        live.state.idle_s, live.idle_since = 0.0, time.monotonic()
        await self._commit(live.state.record())

    async def _open_closed(
        self, connection: Connection, message: Open, closed: Closed, person: Person
    ) -> None:
        if closed.status == "deleted":
            self.refuse(connection, "deleted", "the recording was deleted", frames=0)
        elif not (is_key(message.key, closed.key_hash) and person.may_continue(closed.owner)):
            self._forbid(connection)
        elif closed.status != "finished" or message.format != closed.format:
            self.refuse(
                connection, "diverged", f"the recording is {closed.status}", frames=closed.frames
            )
        elif (message.acked or 0) > closed.frames:
            self.refuse(
                connection, "diverged", "more was acknowledged than is here", frames=closed.frames
            )
        else:
            closed = await asyncio.to_thread(self._library.reopen, closed)
            state = RecordingState(
                About(closed.recording, closed.key_hash, closed.format, closed.path, ""),
                epoch=closed.epoch,
                frames=closed.frames,
                marks=dict.fromkeys(closed.marks),
            )
            if self._analysis is not None:
                connection.results = self._analysis.attach_closed(closed, message, connection.wake)
            self._grant(connection, state, is_ending=True)
            self._finish(connection, closed)

    def _grant(
        self, connection: Connection, state: RecordingState, *, is_ending: bool = False
    ) -> None:
        limits = self.settings.limits
        audio_format = state.about.format
        connection.last_ack = time.monotonic()
        connection.session.opened(
            Opened(
                recording=state.about.recording,
                epoch=state.epoch,
                frames=state.frames,
                level="durable",
                ack_interval_ms=limits.ack_interval_ms,
                max_message_bytes=limits.max_message_bytes,
                max_unacked_frames=limits.max_unacked_frames(audio_format),
            ),
            audio_format,
            {(mark.frame, mark.label) for mark in state.marks},
            state.gap_frames,
            gaps=len(state.gaps),
            is_ending=is_ending,
        )

    def _finish(self, connection: Connection, closed: Closed) -> None:
        """Tell a client that its recording is final, behind the last results if they are near."""
        if connection.results is None or self.is_stopping:
            self._tell_finished(connection, closed)
        else:
            self._spawn(self._finish_behind_results(connection, connection.results, closed))

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
        for record in records:
            if record.is_audio:
                live = self._live.get(record.recording)
                if live is not None:
                    live.durable = end = record.end
                    owner = live.owner
                    if owner is not None:
                        owner.session.durable(end)
                        self._acks.add(owner)
                self.counters.frames_durable += record.frames
            else:
                waiter = self._waiters.get(id(record))
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)
        self._acks.send()

    async def _keep_house(self) -> None:
        """Close recordings whose client stays away for too long."""
        limit_s = self.settings.unfinished_days * 86_400
        while True:
            await asyncio.sleep(min(HOUSEKEEPING_S, max(limit_s / 4, 0.05)))
            now = time.monotonic()
            for live in tuple(self._live.values()):
                self._count_idle(live, now)
                if live.state.idle_s > limit_s:
                    self._end(live, Ending("interrupted"))

    @staticmethod
    def _count_idle(live: Live, now: float) -> None:
        # By the monotonic clock: a step of the wall clock must not end a recording.
        if live.owner is None:
            live.state.idle_s += now - live.idle_since
            live.idle_since = now

    def closed(self, key: bytes, closed: Closed) -> None:
        """A recording is in the library for good, or gone for good."""
        live = self._live.pop(key, None)
        self._journal.append(Record(Kind.CLOSED, key))
        self._all_closed.set()
        if live is None:
            return
        live.over.set()
        self._paths.discard(live.state.about.path)
        self._publish(Happening(closed.status), live.state.about)
        owner = live.owner
        if owner is None:
            return
        self._detach(owner)
        if closed.status == "deleted":
            owner.session.discarded()
            owner.wake()
        elif closed.status == "finished":
            self._finish(owner, closed)
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
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(StorageFailedError(str(error)))
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


def hash_key(key: str) -> str:
    """Return what is stored of a recording's key."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_key(key: str, key_hash: str) -> bool:
    """Tell whether a key is the one that was hashed; never for an empty hash."""
    return bool(key_hash) and hmac.compare_digest(hash_key(key), key_hash)


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
