"""What the command line runs: the application under uvicorn, with our own order of life.

Sockets take the shorter way of `direct`. Whoever brings a server of their own needs
nothing from here.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Generator
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import structlog
import uvicorn
import uvloop
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from micwire.api.origin import is_loopback
from micwire.app import MicwireApp
from micwire.config import Config
from micwire.core.errors import MicwireError
from micwire.core.session import Limits
from micwire.https.keeper import Keeper, given_certificate, local_certificate
from micwire.transports.direct import DirectSocket
from micwire.transports.http import GuardedHttp

EXIT_TEMPORARY_FAILURE = 75
"""EX_TEMPFAIL of sysexits.h: a supervisor should start the server again."""
_GC_THRESHOLDS = (10_000, 20, 20)
_SWITCH_S = 0.001
"""Python lets a thread that is busy go on for 5 ms, each time that another one wants to run."""


class PortTakenError(MicwireError):
    """The address can't be listened on."""

    code = "port-taken"


class _Server(uvicorn.Server):
    """uvicorn, with micwire's order of starting and stopping."""

    def __init__(self, config: uvicorn.Config, app: MicwireApp, port: int) -> None:
        super().__init__(config)
        self._app = app
        self._port = port
        self.keeper: Keeper | None = None
        """Of the certificate, if the server speaks https."""

    def handle_exit(self, sig: int, frame: object) -> None:
        # Not raised again at the end, as uvicorn would: a stop that was asked for exits with 0.
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        address = _address(self._app.config, self._port)
        lines = [f"micwire is at {address}"]
        if self._app.desk.start_token is not None:
            public = self._app.config.public_url or address
            lines.append(f"sign in with {self._app.desk.link(public)}")
        if self.keeper is not None:
            self.config.ssl = self.keeper.certificate.context
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.keeper.reload)
            lines += await to_thread.run_sync(self.keeper.greet, self._port, self._app.desk.link)
        await super().startup(sockets=sockets)
        print("\n".join(lines), flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._app.stop()
        await super().shutdown(sockets=sockets)


class _MetricsServer(uvicorn.Server):
    """A second server in this process; signals are the first one's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def serve(config: Config) -> int:
    """Run a server until it is told to stop; return the exit status.

    Raises:
        MicwireError: It can't begin: the port or the data directory is taken, or what is
            in it can't be recovered.
    """
    configure_logging()
    _allow_descriptors()
    sock = _bind(config.host, config.port)
    port: int = sock.getsockname()[1]
    numbers = None
    if config.metrics:
        host, _, metrics_port = config.metrics.rpartition(":")
        numbers = _bind(host.strip("[]"), int(metrics_port), option="--metrics")
    if config.access == "open" and not is_loopback(config.host):
        address = _address(config, port)
        print(
            f"WARNING: {address} can be reached from other machines, and nothing asks who"
            " is there: everybody who reaches it can record and listen. Leave out --access open,"
            " or use --host 127.0.0.1.",
            file=sys.stderr,
        )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, sock, numbers))


def _address(config: Config, port: int) -> str:
    if config.is_https and config.host in ("0.0.0.0", "::"):
        return f"https://localhost:{port}"  # no certificate is for every address
    scheme = "https" if config.is_https else "http"
    return f"{scheme}://{_host(config.host)}:{port}"


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


async def _serve_metrics(app: MicwireApp, sock: socket.socket) -> None:
    """Tell the numbers at a place of their own, until cancelled."""

    async def numbers(request: Request) -> Response:
        return app.metrics.response()

    config = uvicorn.Config(
        Starlette(routes=[Route("/metrics", numbers)]),
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
    )
    await _MetricsServer(config).serve(sockets=[sock])


async def _serve(config: Config, sock: socket.socket, numbers: socket.socket | None) -> int:
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

    is_local = is_loopback(config.host)
    # A proxy on this machine lets the others in.
    asks_token = not is_local or bool(config.public_url)
    app = MicwireApp(config, on_failed, is_local=is_local, asks_token=asks_token)
    server = _Server(_uvicorn_config(app), app, sock.getsockname()[1])
    beside: list[asyncio.Task[None]] = []
    try:
        await app.start()
        if numbers is not None:
            beside.append(asyncio.create_task(_serve_metrics(app, numbers)))
        if config.is_https:
            server.keeper = await to_thread.run_sync(_keeper, config)
            app.authority = server.keeper.authority
            beside.append(asyncio.create_task(server.keeper.watch()))
        # What is there now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        if config.analyzers:  # an ack must not wait so long for one that computes
            sys.setswitchinterval(_SWITCH_S)
        await server.serve(sockets=[sock])
    finally:
        for task in beside:
            task.cancel()
        for taken in (sock, numbers):
            if taken is not None:
                taken.close()
        await app.close()
    return EXIT_TEMPORARY_FAILURE if failed else 0


def _keeper(config: Config) -> Keeper:
    """Return who looks after the certificate. Blocks."""
    if config.tls_cert is not None and config.tls_key is not None:
        return given_certificate(config.tls_cert, config.tls_key)
    return local_certificate(config.data / ".micwire" / "https", config.host)


def _uvicorn_config(app: MicwireApp) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", partial(GuardedHttp, app.headers)),
        ws=cast("type[asyncio.Protocol]", partial(DirectSocket, app.doors, app.headers)),
        # Above our own limit, so that a client that is over it is told so by an `error`.
        ws_max_size=4 * Limits().max_message_bytes,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
        root_path=urlsplit(app.config.public_url).path,
        forwarded_allow_ips=list(app.config.forwarded_allow_ips),
    )
    config.load()
    return config


def _allow_descriptors() -> None:
    """Raise the limit of open files as far as we may: a stream takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _bind(host: str, port: int, option: str = "--port") -> socket.socket:
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
            f" Choose another port with {option} (0 takes a free one)"
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
