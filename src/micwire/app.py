"""The ASGI application: joins journal, library, recorder, carriers and routes.

What the command line runs around it is in `server`.
"""

import os
import resource
import shutil
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from math import inf
from pathlib import Path
from typing import Any, Self

import structlog
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Mount

from micwire.access.audit import FILE as AUDIT_FILE
from micwire.access.audit import Audit
from micwire.access.desk import USERS_MARK, Desk, Mode
from micwire.access.guard import NOT_FROM_HERE, Guard, security_headers
from micwire.access.oidc import OidcSettings, Provider
from micwire.access.quotas import Quota, Quotas
from micwire.access.routes import AccessRoutes
from micwire.access.store import FILE as STORE_FILE
from micwire.access.store import Store
from micwire.access.watch import Revocable, Watch
from micwire.analysis import Analysis, load_analyzers
from micwire.api.endpoints import routes
from micwire.api.metrics import Metrics, Snapshot
from micwire.api.openapi import described
from micwire.api.origin import OriginRule
from micwire.api.problems import (
    ProblemError,
    crash_response,
    error_response,
    http_response,
    problem_response,
)
from micwire.api.recordings import RecordingRoutes
from micwire.api.service import ServiceRoutes
from micwire.api.shelf import Shelf
from micwire.api.sound import SoundRoutes
from micwire.api.web import WebFiles
from micwire.config import MIB, Config
from micwire.core.errors import AccessError, MicwireError
from micwire.core.interfaces import Access, Files, Readable
from micwire.core.people import Person
from micwire.core.recording import RecordingState
from micwire.core.session import Limits
from micwire.editing import Deletion
from micwire.embedding import Authenticate, HostAccess, LateStart
from micwire.events import Event, Events, Happening
from micwire.failpoints import failpoint
from micwire.files import FailpointFiles, LocalFiles
from micwire.hooks import FinishedHook, OnFinished, told_of
from micwire.journal.local import LocalJournal
from micwire.library.catalogue.keeper import CatalogueKeeper
from micwire.library.deletions import FILE as DELETIONS_FILE
from micwire.library.deletions import DeletionLog
from micwire.library.peaks import PeakStore
from micwire.library.writer import LibraryFiles, WavWriter
from micwire.link import Connection
from micwire.lock import DataLock
from micwire.opening import RecorderSettings
from micwire.recorder import Recorder
from micwire.retention import Recordings, Retention
from micwire.transports.handshake import Denied, Door
from micwire.transports.plain import PlainDoor
from micwire.transports.websocket import AsgiSockets, StreamDoor
from micwire.webhooks.queue import DeliveryQueue
from micwire.webhooks.secret import secret_of
from micwire.webhooks.sender import Webhooks

_HEADER_ROOM = 8192

AsgiScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class MicwireApp:
    """The ASGI application of one data directory.

    Args:
        config: Settings.
        on_failed: Called once when a write or sync has failed: the process should end.
        is_local: Only this machine can reach the server, by the loopback names.
        asks_token: Other machines can reach the server, and nobody before it asks who is
            there: without users, a token is asked for.
        access: Tells who asks, instead of users, tokens and invitations of our own.
        on_finished: Called with each recording whose WAV has become final.

    Everything begins with `start` and ends with `stop`, `close`; a server that speaks the
    lifespan protocol calls them, and so does `async with`. Mounted in an application that
    does neither, it begins with the first request and ends with the event loop.
    """

    def __init__(
        self,
        config: Config,
        on_failed: Callable[[MicwireError], None] = lambda error: None,
        *,
        is_local: bool = False,
        asks_token: bool = False,
        access: Access | None = None,
        on_finished: OnFinished | None = None,
    ) -> None:
        self.config = config
        self.authority: Path | None = None
        """The certificate of the server's own authority, if it made itself one."""
        self._is_local = is_local
        self._asks_token = asks_token
        self._others_access = access
        self._on_finished = on_finished
        self._on_failed = on_failed
        self._lock: DataLock | None = None
        self._late_start = LateStart(self.start, self._end)
        self._build()

    def _build(self) -> None:
        """Make all parts, none of which has begun."""
        config = self.config
        self.desk = _desk(config, asks_token=self._asks_token)
        """Users, sessions and tokens of our own; idle where `access` is somebody else's."""
        self._watch = Watch(self.desk.ended, self._open_to_people)
        self.access: Access = self._others_access or self.desk
        self.headers = security_headers(config.allow_embedding)
        """What every answer carries."""
        self.events = Events()
        self._hit = failpoint(config.failpoint)
        data = config.data
        self._journal = LocalJournal(
            data / ".micwire" / "journal",
            self._files("journal"),
            segment_bytes=int(config.segment_mb * MIB),
        )
        self._peaks = PeakStore(
            str(data / ".micwire" / "peaks"),
            self._files("peaks"),
            self._unfinished,
            _log_peaks,
        )
        self._library = WavWriter(
            data,
            LibraryFiles(self._files("wav"), self._files("sidecar"), self._files("closed")),
            oldest_pins=self._journal.oldest_pins,
            backlog_bytes=lambda: self._journal.kept_bytes,
            on_deleted=self._peaks.forget,
        )
        self._deletions = DeletionLog(str(data / DELETIONS_FILE), self._files("deletions"))
        self.catalogue = CatalogueKeeper(
            data, config.catalogue, lambda: self.recorder, self._library.closed
        )
        self.events.subscribe(self._tell_catalogue)
        self.events.subscribe(self._note)
        self._hook: FinishedHook | None = None
        if self._on_finished is not None:
            self._hook = FinishedHook(self._on_finished, data, self._library.closed)
            self.events.subscribe(self._hook.take)
        self._webhooks: Webhooks | None = None
        self._limits = Limits()
        self._is_started = False
        self._recorder: Recorder | None = None
        self._retention: Retention | None = None
        self._analysis: Analysis | None = None
        self.metrics = Metrics(self._snapshot)
        """What the recorder counts, for whoever keeps others away from it."""
        shelf = Shelf(data, lambda: self.recorder, self._library)
        sounds = SoundRoutes(shelf.find, shelf.hear, self._peaks, lambda: self.recorder.is_stopping)
        self._streams = sounds.streams
        self.endpoints = described(
            [
                *ServiceRoutes(
                    self._status,
                    self.metrics,
                    lambda: self.authority,
                    are_metrics_elsewhere=bool(config.metrics or config.public_url),
                ).endpoints(),
                *RecordingRoutes(
                    shelf, self.catalogue, lambda: self.recorder, self.desk.audit.note
                ).endpoints(),
                *sounds.endpoints(),
                *AccessRoutes(self.desk, config.public_url).endpoints(),
            ]
        )
        self._routes = Starlette(
            routes=[
                *routes(self.endpoints),
                Mount("/", GZipMiddleware(WebFiles(), compresslevel=4)),
            ],
            exception_handlers={
                ProblemError: problem_response,
                HTTPException: http_response,
                MicwireError: error_response,
                Exception: crash_response,
            },
        )
        self._rule = rule = OriginRule(
            config.allow_origin, is_local=self._is_local, public_url=config.public_url
        )
        self.doors: dict[str, Door] = {
            "/v1/stream": StreamDoor(self._connect, rule),
            "/websocket": PlainDoor(
                partial(self._connect, is_plain=True), rule, self._limits.max_message_bytes
            ),
        }
        self._sockets = AsgiSockets(self.doors)
        self._guarded = Guard(self._serve, self.access, rule, self.headers)

    def _note_deletion(self, deletion: Deletion) -> None:
        self._deletions.append(
            deletion.recording, owner=deletion.owner, why=deletion.why, by=deletion.by
        )

    def _note(self, event: Event) -> None:
        if event.happening not in (Happening.CHANGED, Happening.RESULT):
            self.desk.audit.note(
                f"recording-{event.happening}", recording=event.recording, owner=event.owner
            )

    def _tell_catalogue(self, event: Event) -> None:
        if event.happening is not Happening.RESULT:  # it is in no index
            self.catalogue.changed(event.recording)

    def _unfinished(self) -> list[tuple[str, Readable]]:
        return self._library.unfinished()

    def _open_to_people(self) -> list[Revocable]:
        return [*self.recorder.links(), *self._streams.open]

    def _files(self, area: str) -> Files:
        files = LocalFiles()
        return files if self._hit is None else FailpointFiles(files, area, self._hit)

    @property
    def recorder(self) -> Recorder:
        """The recorder; there is one from `start` on."""
        if self._recorder is None:
            raise RuntimeError("micwire was not started: run the app's lifespan, or call start()")
        return self._recorder

    def _connect(
        self, wake: Callable[[], None], request: Mapping[str, Any], *, is_plain: bool = False
    ) -> Connection:
        async def identify(ticket: str | None) -> Person | None:
            person = await self.access.person(request)
            if ticket is not None:  # spent, whether it is needed or not
                redeemed = await self.desk.redeem(ticket)
                person = person or redeemed
            connection.proof = "" if person is None else person.proof
            return person

        connection = self.recorder.connect(
            wake, is_plain=is_plain, identify=identify, prefix=request.get("root_path", "")
        )
        return connection

    # ---- life --------------------------------------------------------------------

    async def start(self) -> None:
        """Lock the data directory, recover, and be ready for connections.

        If that fails, all is as before, and it may be tried again.

        Raises:
            MicwireError: The directory can't be used or what is in it can't be recovered.
        """
        try:
            await self._start()
        except BaseException:
            if self._lock is not None:
                try:
                    await self.close()
                finally:
                    # Threads begin once, and what was read of the disk may be half.
                    self._build()
            raise

    async def _start(self) -> None:
        data = self.config.data
        analyzers = await to_thread.run_sync(load_analyzers, self.config.analyzers)
        self._lock = await to_thread.run_sync(DataLock, data)
        total = (await to_thread.run_sync(shutil.disk_usage, data)).total
        self._analysis = Analysis(
            data,
            self._files("results"),
            analyzers,
            self._library.readable,
            _log_stopped,
            self._tell_results,
        )
        self._analysis.start()
        await self.desk.start()
        if self.config.webhook:
            self._webhooks = await to_thread.run_sync(self._begin_webhooks)
            self.events.subscribe(self._webhooks.take)
        self._recorder = Recorder(
            self._journal,
            self._library,
            RecorderSettings(
                limits=replace(
                    self._limits, max_file_bytes=await to_thread.run_sync(_max_file_bytes, data)
                ),
                max_recordings=self.config.max_recordings,
                min_free_bytes=min(int(self.config.min_free_mb * MIB), total // 20),
                unfinished_days=self.config.unfinished_days,
            ),
            analysis=self._analysis,
            events=self.events,
            admit=Quotas(
                Quota(self.config.quota_hours, self.config.quota_gb, self.config.quota_streams),
                self.desk.store if self.access is self.desk else None,
                self.catalogue.usage,
                lambda: self.recorder,
                self._length_s,
            ),
            is_taken=lambda path: any(
                (data / f"{path}{end}").exists() for end in (".wav", ".json", ".jsonl")
            ),
            note_deletion=self._note_deletion,
            hit=self._hit,
            on_failed=self._on_failed,
        )
        await self._recorder.start()
        self._watch.start()
        self._peaks.start()
        await self.catalogue.start()
        if self.config.keep_rules.shortest_days < inf:
            self._retention = await self._begin_retention()
        self._is_started = True

    async def _length_s(self, recording: str) -> float:
        """Return how long a recording is by now, in seconds; 0 if there is none."""
        state = self.recorder.state(recording)
        if state is not None:
            return state.about.format.seconds(state.frames)
        closed = await to_thread.run_sync(self._library.closed, recording)
        return 0.0 if closed is None else closed.format.seconds(closed.frames)

    async def _begin_retention(self) -> Retention:
        retention = Retention(
            self.config.data,
            self.config.keep_rules,
            Recordings(
                self.catalogue.old,
                self._library.closed,
                partial(self.recorder.delete, why="expired", by="retention"),
            ),
        )
        await retention.start()
        self.events.subscribe(retention.take)
        return retention

    def _begin_webhooks(self) -> Webhooks:
        """Return the webhooks, begun. Blocks.

        Raises:
            MicwireError: An address or the secret can't be used.
        """
        config, directory = self.config, self.config.data / ".micwire" / "webhooks"
        told = partial(told_of, config.data, self._library.closed, config.public_url)
        webhooks = Webhooks(
            DeliveryQueue(directory, self._files("webhooks")),
            config.webhook,
            config.webhook_events,
            secret_of(config.webhook_secret, directory / "secret"),
            told,
            is_private_allowed=config.webhook_allow_private,
        )
        webhooks.start()
        return webhooks

    def _tell_results(self, state: RecordingState, texts: list[str]) -> None:
        about = state.about
        self.events.tell(Happening.RESULT, about.recording, about.owner, texts)

    async def stop(self) -> None:
        """Take nothing new, make everything durable, and close every link with 1012."""
        if self._recorder is not None:
            await self._recorder.stop()

    async def close(self) -> None:
        """Bring every WAV up to date and let the data directory go."""
        async with AsyncExitStack() as last:  # each is closed, whatever happens to another
            last.callback(self._release)
            last.push_async_callback(to_thread.run_sync, self.desk.close)
            last.push_async_callback(to_thread.run_sync, self._peaks.close)
            if self._webhooks is not None:
                last.push_async_callback(to_thread.run_sync, self._webhooks.close)
            if self._hook is not None:
                last.push_async_callback(self._hook.close)
            if self._analysis is not None:
                last.push_async_callback(to_thread.run_sync, self._analysis.close)
            if self._recorder is not None:
                last.push_async_callback(self._recorder.close)
            last.push_async_callback(self.catalogue.close)
            if self._retention is not None:
                last.push_async_callback(self._retention.close)
            last.push_async_callback(self._watch.close)

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    async def _end(self) -> None:
        await self.stop()
        await self.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Serve one connection of an ASGI server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if not self._is_started:
            await self._late_start.begin()
        await self._guarded(scope, receive, send)

    async def _serve(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send, await self._denied(scope))
        elif not self._rule.is_own_name(
            [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        ):
            # A page elsewhere made a name of its own point here (DNS rebinding).
            await Response("This server does not go by that name.\n", 403)(scope, receive, send)
        else:
            await self._routes(scope, receive, send)

    async def _denied(self, scope: AsgiScope) -> Denied | None:
        """Return why nobody can come in who sends this handshake, however it goes on."""
        if self.access is not self.desk:
            return None
        try:
            visitor = await self.desk.visitor(scope)
        except AccessError:
            return None  # whoever opens a recording is told
        if visitor.person is not None or visitor.mode is not Mode.OPEN:
            return None
        return Denied(HTTPStatus.FORBIDDEN, NOT_FROM_HERE)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except MicwireError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._end()
        await send({"type": "lifespan.shutdown.complete"})

    # ---- what the server says of itself -------------------------------------------

    def _status(self) -> str:
        recorder = self.recorder
        if recorder.error is not None:
            return "storage-failed"
        if recorder.is_full:
            return "storage-full"
        return "stopping" if recorder.is_stopping else "ok"

    def _snapshot(self) -> Snapshot:
        recorder, counters = self.recorder, self.recorder.counters
        return Snapshot(
            open_recordings=len(recorder.states()),
            connections=recorder.connections,
            unacked_frames=recorder.unacked_frames(),
            journal_bytes=self._journal.kept_bytes,
            frames_received=counters.frames_received,
            frames_durable=counters.frames_durable,
            frames_lost=counters.frames_lost,
            commits=self._journal.commits,
            commit_seconds=self._journal.commit_seconds,
            errors=counters.errors,
        )


def _desk(config: Config, *, asks_token: bool) -> Desk:
    folder = config.data / ".micwire"
    store = Store(folder / STORE_FILE)
    provider = None
    if config.oidc_issuer:
        provider = Provider(
            OidcSettings(
                config.oidc_issuer,
                config.oidc_client_id,
                config.oidc_client_secret,
                config.oidc_allow,
            ),
            store,
        )
    return Desk(
        store,
        Audit(folder / AUDIT_FILE, _log_no_audit),
        config.data / USERS_MARK,
        setting=config.access,
        asks_token=asks_token,
        provider=provider,
        session_days=config.session_days,
        public_url=config.public_url,
    )


def _log_no_audit(error: OSError) -> None:
    structlog.get_logger("micwire").error("the audit log can't be written", reason=repr(error))


def _log_stopped(analyzer: str | None, error: BaseException) -> None:
    """Note that an analyzer, or all of them, listen to a recording no more."""
    frames = traceback.extract_tb(error.__traceback__)
    structlog.get_logger("micwire").error(
        "analyzer stopped" if analyzer else "results can't be kept",
        analyzer=analyzer,
        reason=repr(error),
        where=f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None,
    )


def _log_peaks(error: OSError) -> None:
    """Note that waveforms can't be kept; they are computed again when there is room."""
    structlog.get_logger("micwire").warning("peaks can't be kept", reason=repr(error))


def _max_file_bytes(data: Path) -> int:
    """Return how large a WAV can become, header aside, on this disk and in this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    bits = os.pathconf(data, "PC_FILESIZEBITS")
    largest = 1 << ((bits if bits > 0 else 64) - 1)
    return (largest if limit == resource.RLIM_INFINITY else min(limit, largest)) - _HEADER_ROOM


def create_app(
    config: Config | None = None,
    *,
    authenticate: Authenticate | None = None,
    on_finished: OnFinished | None = None,
) -> MicwireApp:
    """Return the whole server as one ASGI application, to be run or mounted.

    Args:
        config: Settings; without it from environment and `micwire.toml`.
        authenticate: Tells who asks: called with the request, or the handshake of a socket,
            as Starlette has it; returns an id, a `Person`, or None for nobody. It may be a
            coroutine function. Without it the server's own users sign in; as long as there
            are none, this machine may do everything and nobody else anything, unless
            `access` is "open".
        on_finished: Called with each recording whose WAV has become final, also by an
            interruption: a coroutine function on the loop, any other on a thread. What it
            raises is logged. A process that is killed meanwhile doesn't call it again:
            webhooks do.
    """
    access = None if authenticate is None else HostAccess(authenticate)
    return MicwireApp(config or Config(), access=access, on_finished=on_finished)
