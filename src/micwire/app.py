"""The ASGI application: joins journal, library, recorder, carriers and routes.

`create_app` is for embedding, `serve` is what the command line runs.
"""

import asyncio
import gc
import json
import os
import resource
import shutil
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog
import uvicorn
import uvloop
from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from micwire.analysis import Analysis, load_analyzers
from micwire.api.audio import audio_response
from micwire.api.metrics import Metrics, Snapshot
from micwire.api.origin import OriginRule, is_loopback
from micwire.api.web import WebFiles
from micwire.config import MIB, Config
from micwire.core.errors import DataDirectoryError, MicwireError
from micwire.core.interfaces import Files, Readable
from micwire.core.recording import Closed, sidecar_fields
from micwire.core.session import Limits
from micwire.core.wav import header_bytes
from micwire.core.wire import is_uuid
from micwire.failpoints import failpoint
from micwire.files import FailpointFiles, LocalFiles
from micwire.journal.local import LocalJournal
from micwire.library.writer import LibraryFiles, WavWriter
from micwire.link import Connection
from micwire.lock import DataLock
from micwire.recorder import Recorder, RecorderSettings
from micwire.transports.direct import DirectSocket
from micwire.transports.handshake import Door
from micwire.transports.plain import PlainDoor
from micwire.transports.websocket import AsgiSockets, StreamDoor

EXIT_TEMPORARY_FAILURE = 75
"""EX_TEMPFAIL of sysexits.h: a supervisor should start the server again."""
_GC_THRESHOLDS = (10_000, 20, 20)
_SWITCH_S = 0.001
"""Python lets a thread that is busy go on for 5 ms, each time that another one wants to run."""
_HEADER_ROOM = 4096

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class MicwireApp:
    """The ASGI application of one data directory.

    Args:
        config: Settings.
        on_failed: Called once when a write or sync has failed: the process should end.
        is_local: Only this machine can reach the server, by the loopback names.

    Everything begins with `start` and ends with `stop`, `close`; a server that speaks the
    lifespan protocol calls them.
    """

    def __init__(
        self,
        config: Config,
        on_failed: Callable[[MicwireError], None] = lambda error: None,
        *,
        is_local: bool = False,
    ) -> None:
        self.config = config
        self._hit = failpoint(config.failpoint)
        self._lock: DataLock | None = None
        data = config.data
        self._journal = LocalJournal(
            data / ".micwire" / "journal",
            self._files("journal"),
            segment_bytes=int(config.segment_mb * MIB),
        )
        self._library = WavWriter(
            data,
            LibraryFiles(self._files("wav"), self._files("sidecar"), self._files("closed")),
            oldest_pins=self._journal.oldest_pins,
            backlog_bytes=lambda: self._journal.kept_bytes,
        )
        self._limits = Limits()
        self._recorder: Recorder | None = None
        self._analysis: Analysis | None = None
        self._on_failed = on_failed
        metrics = Metrics(self._snapshot)
        self._routes = Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/metrics", partial(_metrics, metrics)),
                Route("/api/v1/recordings/{recording}", self._recording),
                Route("/api/v1/recordings/{recording}/audio", self._audio),
                Mount("/", GZipMiddleware(WebFiles(), compresslevel=4)),
            ]
        )
        self._rule = rule = OriginRule(config.allow_origin, is_local=is_local)
        self.doors: dict[str, Door] = {
            "/v1/stream": StreamDoor(self._connect, rule),
            "/websocket": PlainDoor(
                partial(self._connect, is_plain=True), rule, self._limits.max_message_bytes
            ),
        }
        self._sockets = AsgiSockets(self.doors)

    def _files(self, area: str) -> Files:
        files = LocalFiles()
        return files if self._hit is None else FailpointFiles(files, area, self._hit)

    @property
    def recorder(self) -> Recorder:
        """The recorder; there is one from `start` on."""
        if self._recorder is None:
            raise RuntimeError("micwire was not started: run the app's lifespan, or call start()")
        return self._recorder

    def _connect(self, wake: Callable[[], None], *, is_plain: bool = False) -> Connection:
        return self.recorder.connect(wake, is_plain=is_plain)

    # ---- life --------------------------------------------------------------------

    async def start(self) -> None:
        """Lock the data directory, recover, and be ready for connections.

        Raises:
            MicwireError: The directory can't be used or what is in it can't be recovered.
        """
        data = self.config.data
        analyzers = await to_thread.run_sync(load_analyzers, self.config.analyzers)
        self._lock = await to_thread.run_sync(DataLock, data)
        total = (await to_thread.run_sync(shutil.disk_usage, data)).total
        self._analysis = Analysis(
            data, self._files("results"), analyzers, self._library.readable, _log_stopped
        )
        self._analysis.start()
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
            is_taken=lambda path: any(
                (data / f"{path}{end}").exists() for end in (".wav", ".json", ".jsonl")
            ),
            hit=self._hit,
            on_failed=self._on_failed,
        )
        await self._recorder.start()

    async def stop(self) -> None:
        """Take nothing new, make everything durable, and close every link with 1012."""
        if self._recorder is not None:
            await self._recorder.stop()

    async def close(self) -> None:
        """Bring every WAV up to date and let the data directory go."""
        if self._recorder is not None:
            await self._recorder.close()
        if self._analysis is not None:
            await to_thread.run_sync(self._analysis.close)
        if self._lock is not None:
            self._lock.release()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection of an ASGI server."""
        if scope["type"] == "websocket":
            await self._sockets(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif not self._rule.is_own_name(
            [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        ):
            # A page elsewhere made a name of its own point here (DNS rebinding).
            await Response("This server does not go by that name.\n", 403)(scope, receive, send)
        else:
            await self._routes(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except MicwireError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    # ---- routes ------------------------------------------------------------------

    async def _health(self, request: Request) -> Response:
        recorder = self.recorder
        if recorder.error is not None:
            status = "storage-failed"
        elif recorder.is_full:
            status = "storage-full"
        else:
            status = "stopping" if recorder.is_stopping else "ok"
        return JSONResponse({"status": status}, 200 if status == "ok" else 503)

    async def _recording(self, request: Request) -> Response:
        recording = request.path_params["recording"]
        state = self.recorder.state(recording) if is_uuid(recording) else None
        if state is not None:
            return JSONResponse(sidecar_fields(state, "recording", None))
        closed = await self._closed(recording)
        if closed is None:
            return _not_found()
        sidecar = self.config.data / f"{closed.path}.json"
        try:
            return JSONResponse(json.loads(await to_thread.run_sync(sidecar.read_bytes)))
        except FileNotFoundError:
            return _not_found()

    async def _audio(self, request: Request) -> Response:
        recording = request.path_params["recording"]
        readable = self._library.readable(recording) if is_uuid(recording) else None
        if readable is not None and self.recorder.state(recording) is not None:
            return audio_response(request, readable, None, partial(self._is_there, recording))
        closed = await self._closed(recording)
        if closed is None:
            return _not_found()
        path = self.config.data / f"{closed.path}.wav"
        if not await to_thread.run_sync(path.exists):
            return _not_found()
        offset = header_bytes(closed.format)
        return audio_response(
            request,
            Readable(str(path), closed.format, offset, closed.frames),
            closed.digest,
            lambda: True,
        )

    def _is_there(self, recording: str) -> bool:
        # A recording that grew when the download began may have been finished since; only
        # a deleted one is neither known here nor readable.
        return not self.recorder.was_deleted(recording)

    async def _closed(self, recording: str) -> Closed | None:
        if not is_uuid(recording):
            return None
        closed = await to_thread.run_sync(self._library.closed, recording)
        return None if closed is None or closed.status == "deleted" else closed

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


async def _metrics(metrics: Metrics, request: Request) -> Response:
    return Response(metrics.text(), media_type=metrics.content_type)


def _log_stopped(analyzer: str | None, error: BaseException) -> None:
    """Note that an analyzer, or all of them, listen to a recording no more."""
    frames = traceback.extract_tb(error.__traceback__)
    structlog.get_logger("micwire").error(
        "analyzer stopped" if analyzer else "results can't be kept",
        analyzer=analyzer,
        reason=repr(error),
        where=f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None,
    )


def _max_file_bytes(data: Path) -> int:
    """Return how large a WAV can become, header aside, on this disk and in this process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    bits = os.pathconf(data, "PC_FILESIZEBITS")
    largest = 1 << ((bits if bits > 0 else 64) - 1)
    return (largest if limit == resource.RLIM_INFINITY else min(limit, largest)) - _HEADER_ROOM


def _not_found() -> Response:
    return JSONResponse(
        {"status": 404, "title": "There is no such recording."},
        404,
        media_type="application/problem+json",
    )


def create_app(config: Config | None = None) -> MicwireApp:
    """Return the ASGI application; without a config, from environment and `micwire.toml`."""
    return MicwireApp(config or Config())


# ---- the server that the command line runs ---------------------------------------------


class PortTakenError(MicwireError):
    """The address can't be listened on."""

    code = "port-taken"


class _Server(uvicorn.Server):
    """uvicorn, with micwire's order of starting and stopping."""

    def __init__(self, config: uvicorn.Config, app: MicwireApp, address: str) -> None:
        super().__init__(config)
        self._app = app
        self._address = address

    def handle_exit(self, sig: int, frame: object) -> None:
        # Not raised again at the end, as uvicorn would: a stop that was asked for exits with 0.
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        print(f"micwire is at {self._address}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.stop()
        await super().shutdown(sockets=sockets)


def serve(config: Config) -> int:
    """Run a server until it is told to stop; return the exit status.

    Raises:
        MicwireError: It can't begin: the port or the data directory is taken, or what is
            in it can't be recovered.
    """
    configure_logging()
    _allow_descriptors()
    sock = _bind(config.host, config.port)
    host = f"[{config.host}]" if ":" in config.host else config.host
    address = f"http://{host}:{sock.getsockname()[1]}"
    if not is_loopback(config.host):
        print(
            f"WARNING: {address} can be reached from other machines, and nothing asks who"
            " is there: everybody who reaches it can record and listen. Put it behind a"
            " proxy with a sign-in, or use --host 127.0.0.1.",
            file=sys.stderr,
        )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, sock, address))


async def _serve(config: Config, sock: socket.socket, address: str) -> int:
    log = structlog.get_logger("micwire")
    failed = False

    def on_failed(error: MicwireError) -> None:
        nonlocal failed
        failed = True
        log.error("storage failed; exiting", code=error.code, reason=str(error))
        # Time for clients to hear it; and an end even if a thread hangs in the kernel.
        asyncio.get_running_loop().call_later(1.5, partial(setattr, server, "should_exit", True))
        deadline = threading.Timer(4.0, os._exit, (EXIT_TEMPORARY_FAILURE,))
        deadline.daemon = True
        deadline.start()

    app = MicwireApp(config, on_failed, is_local=is_loopback(config.host))
    server = _Server(_uvicorn_config(app), app, address)
    try:
        await app.start()
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        if config.analyzers:  # an ack must not wait so long for one that computes
            sys.setswitchinterval(_SWITCH_S)
        await server.serve(sockets=[sock])
    finally:
        sock.close()
        await app.close()
    return EXIT_TEMPORARY_FAILURE if failed else 0


def _uvicorn_config(app: MicwireApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        ws=cast("type[asyncio.Protocol]", partial(DirectSocket, app.doors)),
        # Above our own limit, so that a client that is over it is told so by an `error`.
        ws_max_size=4 * Limits().max_message_bytes,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _allow_descriptors() -> None:
    """Raise the limit of open files as far as we may: a stream takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise PortTakenError(
            f"can't listen on {host}:{port}: {error.strerror or error}."
            " Choose another port with --port (0 takes a free one)"
        ) from error
    sock.setblocking(False)
    return sock


def configure_logging() -> None:
    """Log to standard error, one line an event: fixed text, values as fields."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


__all__ = ["DataDirectoryError", "MicwireApp", "PortTakenError", "create_app", "serve"]
