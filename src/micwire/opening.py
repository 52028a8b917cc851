"""Opening a recording: who may, and whether it is new, goes on, or is over.

One at a time for each recording, on the event loop. What the library must be asked is
asked on a thread.
"""

import asyncio
import hashlib
import hmac
import time
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Any, Protocol, TypeVar

import structlog

from micwire.core.errors import AccessError, MicwireError, RegisterDamagedError, StorageFailedError
from micwire.core.interfaces import Admit, Analysis, Library
from micwire.core.people import Person, Scope
from micwire.core.recording import About, Closed, Ending, RecordingState
from micwire.core.records import recording_bytes
from micwire.core.session import Limits, State
from micwire.core.storage import is_no_room
from micwire.core.tags import STORED_HEADER_BYTES
from micwire.core.wire import MAX_COUNT, Open, Opened
from micwire.events import Events, Happening
from micwire.link import Connection, Live
from micwire.unfinished import Unfinished

T = TypeVar("T")

ANSWER_TIMEOUT_S = 10.0
UNFINISHED_SHARE = 5
"""How many recordings may wait for their clients, as a multiple of those that may stream."""


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


class Host(Protocol):
    """What opening needs of the recorder."""

    def limits(self) -> Limits:
        """Return what a connection may do now."""
        ...

    def is_unable(self, connection: Connection) -> bool:
        """Refuse a connection if nothing can be recorded now; tell whether that was so."""
        ...

    def refuse(
        self, connection: Connection, code: str, message: str, *, frames: int | None = None
    ) -> None:
        """Close a link with an error of the wire."""
        ...

    def finish(self, connection: Connection, closed: Closed) -> None:
        """Tell a client that its recording is final."""
        ...

    def fail(self, error: MicwireError) -> None:
        """Nothing more can be made durable."""
        ...

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let something go on by itself, until the recorder ends."""
        ...


class Opener:
    """Answers each `open`.

    Args:
        host: The recorder.
        unfinished: All recordings that are not over.
        library: Knows those that are.
        settings: Limits.
        analysis: Runs analyzers beside; None where there are none.
        events: Told what begins.
        utc_now: The wall clock; it gives file names and dates.
        is_taken: Whether a path below the data directory is in use; may block.
        admit: Says how long a recording may be, and whether it may begin.
    """

    def __init__(
        self,
        host: Host,
        unfinished: Unfinished,
        library: Library,
        settings: RecorderSettings,
        *,
        analysis: Analysis | None,
        events: Events,
        utc_now: Callable[[], datetime],
        is_taken: Callable[[str], bool],
        admit: Admit,
    ) -> None:
        self._host = host
        self._unfinished = unfinished
        self._library = library
        self._settings = settings
        self._analysis = analysis
        self._events = events
        self._utc_now = utc_now
        self._is_taken = is_taken
        self._admit = admit
        self._creating = 0

    async def open(self, connection: Connection, message: Open) -> None:
        """Answer an `open`: with `opened`, or with why not."""
        lock = self._unfinished.lock(message.recording)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), lock:
                person = await self._asked(lambda: connection.identify(message.ticket))
                if person is None:
                    self._host.refuse(connection, "unauthenticated", "sign in first", frames=0)
                elif not person.may(Scope.RECORD):
                    self._host.refuse(connection, "forbidden", "you may not record here", frames=0)
                else:
                    await self._open_alone(connection, message, person)
        except TimeoutError:
            self._host.refuse(
                connection, "storage-failed", "the server does not answer in time; try again later"
            )
            self._end_orphan(message.recording, connection)
        except OSError as error:
            if is_no_room(error):
                self._host.refuse(
                    connection, "storage-full", "no room left on the server", frames=0
                )
            else:
                self._host.fail(StorageFailedError(f"the data directory can't be used: {error}"))
        except StorageFailedError as error:
            self._host.fail(error)
        except AccessError:
            self._host.refuse(
                connection,
                "storage-failed",
                "who may record can't be told now; try again later",
                frames=0,
            )
        except RegisterDamagedError:
            self._host.refuse(
                connection, "storage-failed", "what is known of this recording is damaged", frames=0
            )
        except Exception as error:  # a mistake of ours; the link is due an answer all the same
            _log("a recording can't be opened", error)
            self._host.refuse(connection, "storage-failed", "try again later", frames=0)
        connection.wake()

    async def _asked(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask those who know the people. What is wrong with them is this one link's trouble.

        Raises:
            AccessError: They failed, whatever the reason.
        """
        # A task of its own: what blocks on a thread can't be cancelled, and the link is due
        # an answer in time.
        task = self._host.spawn(_answered(question))
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        answer = AccessError("who asked gave up") if task.cancelled() else task.result()
        if isinstance(answer, AccessError):
            raise answer
        return answer

    async def _open_alone(self, connection: Connection, message: Open, person: Person) -> None:
        key = recording_bytes(message.recording)
        if self._host.is_unable(connection):
            return
        live = self._unfinished.lives.get(key)
        if live is None:
            closed = await asyncio.to_thread(self._library.closed, message.recording)
            if closed is not None:
                await self._open_closed(connection, message, closed, person)
                return
            if self._may_not_create(connection):
                return
            self._creating += 1  # from here on it counts: others ask meanwhile
            try:
                live = await self._create(connection, message, key, person)
            finally:
                self._creating -= 1
            if live is None:
                return
        else:
            # No wait between this question and what follows from it.
            if not self._may_continue(connection, message, live, person):
                return
            self._dismiss_owner(live)
            if live.state.ending is not None:
                # What is over grants its epochs itself, once it is in the library.
                await live.over.wait()
                await self._open_alone(connection, message, person)
                return
            await self._take_over(live)
        if self._host.is_unable(connection):  # since we waited
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
        live = self._unfinished.lives.get(recording_bytes(recording))
        if live is not None and connection.is_plain:
            self._unfinished.end(live, Ending("finished"))

    def _may_not_create(self, connection: Connection) -> bool:
        lives, settings = self._unfinished.lives, self._settings
        streaming = sum(live.owner is not None for live in lives.values())
        if self._host.limits().max_room_bytes < settings.min_free_bytes:
            self._host.refuse(connection, "storage-full", "no room for a new recording", frames=0)
        elif streaming + self._creating >= settings.max_recordings:
            self._host.refuse(
                connection, "quota", "too many recordings at once; try later", frames=0
            )
        elif len(lives) >= UNFINISHED_SHARE * settings.max_recordings:
            self._host.refuse(connection, "quota", "too many recordings are unfinished", frames=0)
        else:
            return False
        return True

    async def _create(
        self, connection: Connection, message: Open, key: bytes, person: Person
    ) -> Live | None:
        """Begin a recording; None if it may not be, and the link is refused or gone."""
        allowed_s = await self._asked(lambda: self._admit(person, message))
        if isinstance(allowed_s, str):
            self._host.refuse(connection, "quota", allowed_s, frames=0)
            return None
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
            data_offset=STORED_HEADER_BYTES,
            max_frames=None if allowed_s == inf else int(allowed_s * message.format.sample_rate),
        )
        if self._host.is_unable(connection) or connection.session.state is not State.OPENING:
            self._unfinished.paths.discard(path)  # it changed while we waited
            return None
        live = Live(key, RecordingState(about, epoch=1), 0, idle_since=time.monotonic())
        self._unfinished.add(live)
        # It begins even if its client waits no longer.
        await asyncio.shield(self._host.spawn(self._begin(live)))
        return live

    async def _begin(self, live: Live) -> None:
        await self._unfinished.commit(live.state.record())
        about = live.state.about
        self._events.tell(Happening.STARTED, about.recording, about.owner)

    async def _free_path(self, now: datetime, recording: str) -> str:
        stem = f"{now:%Y-%m-%d}/{now:%H-%M-%S}_{recording[:8]}"
        path, number = stem, 1
        while True:
            # Reserved before the disk is asked: another `open` may run meanwhile.
            if path not in self._unfinished.paths:
                self._unfinished.paths.add(path)
                is_taken = True
                try:
                    is_taken = await asyncio.to_thread(self._is_taken, path)
                finally:
                    if is_taken:
                        self._unfinished.paths.discard(path)
                if not is_taken:
                    return path
            number += 1
            path = f"{stem}_{number}"

    def _may_continue(
        self, connection: Connection, message: Open, live: Live, person: Person
    ) -> bool:
        state = live.state
        if state.is_deleted:
            self._host.refuse(connection, "deleted", "the recording was deleted", frames=0)
        elif not (
            is_key(message.key, state.about.key_hash) and person.may_continue(state.about.owner)
        ):
            self._forbid(connection)
        elif message.format != state.about.format:
            self._host.refuse(
                connection, "diverged", "the recording has another format", frames=state.frames
            )
        elif (message.acked or 0) > state.frames:
            self._host.refuse(
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
        self._host.refuse(
            connection, "forbidden", "the recording is not yours, or the key not its", frames=0
        )

    def _dismiss_owner(self, live: Live) -> None:
        """From here on an older connection has no effect."""
        if live.owner is not None:
            self._host.refuse(live.owner, "taken-over", "a newer connection opened this recording")

    async def _take_over(self, live: Live) -> None:
        # What the older connection sent is in the log before the new epoch, and so durable
        # before `opened` is sent.
        live.state.epoch += 1
        live.state.idle_s, live.idle_since = 0.0, time.monotonic()
        await self._unfinished.commit(live.state.record())

    async def _open_closed(
        self, connection: Connection, message: Open, closed: Closed, person: Person
    ) -> None:
        if closed.status == "deleted":
            self._host.refuse(connection, "deleted", "the recording was deleted", frames=0)
        elif not (is_key(message.key, closed.key_hash) and person.may_continue(closed.owner)):
            self._forbid(connection)
        elif closed.status != "finished" or message.format != closed.format:
            self._host.refuse(
                connection, "diverged", f"the recording is {closed.status}", frames=closed.frames
            )
        elif (message.acked or 0) > closed.frames:
            self._host.refuse(
                connection, "diverged", "more was acknowledged than is here", frames=closed.frames
            )
        else:
            closed = await asyncio.to_thread(self._library.reopen, closed)
            if closed.status == "deleted":
                self._host.refuse(connection, "deleted", "the recording was deleted", frames=0)
                return
            state = RecordingState(
                About(closed.recording, closed.key_hash, closed.format, closed.path, ""),
                epoch=closed.epoch,
                frames=closed.frames,
                marks=dict.fromkeys(closed.marks),
            )
            if self._analysis is not None:
                connection.results = self._analysis.attach_closed(closed, message, connection.wake)
            self._grant(connection, state, is_ending=True)
            self._host.finish(connection, closed)

    def _grant(
        self,
        connection: Connection,
        state: RecordingState,
        *,
        is_ending: bool = False,
    ) -> None:
        limits = self._settings.limits
        audio_format = state.about.format
        max_frames = state.about.max_frames
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
            {(mark.frame, mark.label) for mark in state.known_marks},
            state.gap_frames,
            gaps=len(state.gaps),
            is_ending=is_ending,
            max_frames=MAX_COUNT if max_frames is None else max_frames,
        )


async def _answered(question: Callable[[], Awaitable[T]]) -> T | AccessError:
    try:
        return await question()
    except Exception as error:  # anything: they may be the host application's
        _log("who may record can't be told", error)
        return AccessError(type(error).__name__)


def _log(event: str, error: Exception) -> None:
    # Not what it says: the text may hold a secret, such as the address of a database.
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
    structlog.get_logger("micwire").error(event, error=type(error).__name__, where=where)


async def without_limit(person: Person, message: Open) -> float | str:
    """Let everybody record as long as they like."""
    return inf


def hash_key(key: str) -> str:
    """Return what is stored of a recording's key."""
    return hashlib.sha256(key.encode()).hexdigest()


def is_key(key: str, key_hash: str) -> bool:
    """Tell whether a key is the one that was hashed; never for an empty hash."""
    return bool(key_hash) and hmac.compare_digest(hash_key(key), key_hash)
