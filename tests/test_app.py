"""The application joined together: embedded under a foreign server, and as our own."""

import asyncio
import contextlib
import http.client
import json
import socket as sockets
import threading
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import InvalidStatus

import micwire.server
from micwire.app import MicwireApp, create_app
from micwire.config import Config
from micwire.core.errors import DataDirectoryError
from micwire.server import PortTakenError, serve
from tests.faults.harness import Microphone, Server, check_recording, dial

Message = MutableMapping[str, Any]


@contextlib.contextmanager
def under_uvicorn(app: Any) -> Iterator[int]:
    """Run an ASGI application under plain uvicorn, as somebody else would; yield its port."""
    with sockets.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, ws="websockets-sansio", log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                thread.join(0.01)
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def test_an_embedded_app_records_under_a_foreign_server(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with under_uvicorn(create_app(Config(data=data))) as port:
        microphones = [Microphone(port, 24_000, speed=96_000, seed=seed) for seed in range(5)]

        async def run() -> None:
            await asyncio.gather(*(microphone.record() for microphone in microphones))

        asyncio.run(run())
    for microphone in microphones:
        check_recording(data, microphone, has_ffprobe=False)


def test_an_app_mounted_in_another_app_records_below_its_path(tmp_path: Path) -> None:
    inner = create_app(Config(data=tmp_path / "data"))

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        await inner.start()
        yield
        await inner.stop()
        await inner.close()

    outer = Starlette(routes=[Mount("/mic", inner)], lifespan=life)
    with under_uvicorn(outer) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/mic/healthz", trust_env=False).status_code == 200

        async def run() -> None:
            socket = await dial(port, "/mic/v1/stream", subprotocols=["micwire.v1"])
            await Microphone(port, 1).open(socket)
            await socket.close()

        asyncio.run(run())


def test_an_app_that_was_not_started_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lifespan"):
        _ = MicwireApp(Config(data=tmp_path)).recorder


def test_a_lifespan_that_cannot_begin_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    sent: list[Message] = []

    async def run() -> None:
        app = create_app(Config(data=tmp_path / "file"))
        incoming = iter([{"type": "lifespan.startup"}])

        async def receive() -> Message:
            return next(incoming)

        async def send(message: Message) -> None:
            sent.append(message)

        await app({"type": "lifespan"}, receive, send)

    asyncio.run(run())
    assert sent[0]["type"] == "lifespan.startup.failed"
    assert "--data" in sent[0]["message"]


def test_a_port_that_is_taken_is_a_sentence(tmp_path: Path) -> None:
    with sockets.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port}.*--port"):
            serve(Config(data=tmp_path / "data", port=port))


def test_a_directory_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryError, match="--data"):
        serve(Config(data=tmp_path / "file", port=0))


def listen_on_loopback_only() -> None:
    """In a server's process: whatever the address, be reachable from this machine only."""
    bind = micwire.server._bind
    micwire.server._bind = lambda host, port, option="--port": bind("127.0.0.1", port, option)


def test_only_an_open_address_without_a_sign_in_brings_a_warning(tmp_path: Path) -> None:
    with Server(tmp_path / "local") as server:
        assert server.stderr == ""
        assert server.stop() == 0
    with Server(tmp_path / "spelled", host="localhost") as server:
        assert "WARNING" not in server.stderr
    with Server(tmp_path / "token", host="0.0.0.0", prepare=listen_on_loopback_only) as server:
        assert "WARNING" not in server.stderr
    with Server(
        tmp_path / "open", access="open", host="0.0.0.0", prepare=listen_on_loopback_only
    ) as server:
        assert "WARNING" in server.stderr
        assert "--host 127.0.0.1" in server.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that the tests below share."""
    data = tmp_path_factory.mktemp("app") / "data"
    with Server(data, allow_origin="https://app.example") as started:
        yield started


@pytest.mark.parametrize("path", ["/v1/stream", "/websocket"])
def test_foreign_pages_get_403_on_either_socket(server: Server, path: str) -> None:
    here = f"127.0.0.1:{server.port}"
    elsewhere = f"evil.example:{server.port}"  # a name that its owner lets point here
    rows = [
        (here, None, 101),
        (here, f"http://{here}", 101),
        (here, "https://app.example", 101),
        (here, "https://evil.example", 403),
        (here, "null", 403),
        (here, "http://127.0.0.1:1", 403),
        (elsewhere, f"http://{elsewhere}", 403),
        (elsewhere, f"http://{here}", 403),
    ]
    for host, origin, status in rows:
        assert knock(server.port, path, host, origin) == status, (host, origin)


def knock(port: int, path: str, host: str, origin: str | None) -> int:
    """Ask for a socket with these very headers; return the status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {
        "Host": host,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "micwire.v1",
    }
    if origin is not None:
        headers["Origin"] = origin
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as answer:
            return answer.status


def test_routes_answer_and_what_is_no_route_does_not(server: Server) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        assert client.get("/").headers["content-type"].startswith("text/html")
        assert json.loads(client.get("/healthz").content) == {"status": "ok"}
        assert client.get("/metrics").status_code == 200
        assert client.get("/nothing").status_code == 404
        assert client.get("/v1/stream").status_code in (400, 404, 426)
        assert "server" not in client.get("/healthz").headers


def test_there_is_no_socket_at_another_path(server: Server) -> None:
    async def run() -> None:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server.port, "/v1/other")
        assert refused.value.response.status_code == 404

    asyncio.run(run())
