"""What every answer of a server carries, whatever it is; and heads and bodies without end."""

import asyncio
import contextlib
import http.client
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

import micwire.transports.http
from micwire.access.guard import security_headers
from micwire.app import MicwireApp
from micwire.config import Config
from tests.faults.harness import Server

NOWHERE = "00000000-0000-4000-8000-000000000000"


def be_impatient() -> None:
    """In a server's process: wait for the end of a head no longer than a test does."""
    micwire.transports.http.HEAD_TIMEOUT_S = 1.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a token, which the tests below share."""
    data = tmp_path_factory.mktemp("headers") / "data"
    with Server(data, access="token", prepare=be_impatient) as started:
        yield started


def asked(tmp_path: Path) -> list[tuple[str, str]]:
    """Return every route by every method, and what is none."""
    table = MicwireApp(Config(data=tmp_path)).endpoints
    rows = [(endpoint.method, endpoint.path.replace("{recording}", NOWHERE)) for endpoint in table]
    rows += [("HEAD", path) for method, path in rows if method == "GET"]
    files = ["/", "/page.js", "/sign-in", "/library", "/recorder/micwire.js", "/recorder", "/x"]
    rows += [(method, path) for path in files for method in ("GET", "POST", "DELETE", "OPTIONS")]
    rows += [("GET", "/api/v1/nothing"), ("GET", "/v1/stream"), ("GET", "/..%2f..%2fetc/passwd")]
    return [(method, path) for method, path in rows if "changes" not in path]


def assert_all_there(headers: Mapping[str, str], where: object) -> None:
    expected = security_headers()
    if headers.get("cross-origin-resource-policy") == "cross-origin":  # modules for other pages
        is_probe = "/healthz" in str(where)
        assert headers.get("access-control-allow-origin") == (None if is_probe else "*")
        del expected["cross-origin-resource-policy"]
    for name, value in expected.items():
        assert headers.get(name) == value, (where, name)


def test_every_answer_of_every_route_carries_them(server: Server, tmp_path: Path) -> None:
    statuses: set[int] = set()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        for method, path in asked(tmp_path):
            answer = client.request(method, path)
            assert_all_there(answer.headers, (method, path))
            statuses.add(answer.status_code)
            if path.startswith("/api/"):
                assert answer.headers["cache-control"] == "no-store"
        for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            answer = client.post("/api/v1/session", headers=headers, json={})
            assert_all_there(answer.headers, headers)
            statuses.add(answer.status_code)
    assert {200, 401, 403, 404, 405} <= statuses


def test_a_policy_has_no_way_around_it() -> None:
    policy = security_headers()["content-security-policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy
    assert policy.startswith("default-src 'none';")
    assert policy.endswith("frame-ancestors 'none'")
    embedded = security_headers(("https://a.example", "https://b.example"))
    assert embedded["content-security-policy"].endswith(
        "frame-ancestors https://a.example https://b.example"
    )
    assert "x-frame-options" not in embedded


@pytest.mark.parametrize(
    ("path", "origin", "status"),
    [("/v1/stream", "https://evil.example", 403), ("/v1/stream", "", 400), ("/nothing", "", 404)],
)
def test_a_refused_socket_carries_them(server: Server, path: str, origin: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    connection.request("GET", path, headers=headers | ({"Origin": origin} if origin else {}))
    answer = connection.getresponse()
    assert answer.status == status
    assert_all_there({name.lower(): value for name, value in answer.getheaders()}, path)
    connection.close()


@pytest.mark.parametrize(
    ("line", "key", "version", "status"),
    [
        ("GET", "dGhlIHNhbXBsZSBub25jZQ==", "12", 400),
        ("GET", "", "13", 400),
        ("GET", "short", "13", 400),
        ("POST", "dGhlIHNhbXBsZSBub25jZQ==", "13", 405),
    ],
    ids=["another version", "no key", "a key that is none", "POST"],
)
def test_a_handshake_that_is_none_gets_them_too(
    server: Server, line: str, key: str, version: str, status: int
) -> None:
    head = (
        f"{line} /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: {version}\r\n"
        "Sec-WebSocket-Protocol: micwire.v1\r\n"
    )
    head += f"Sec-WebSocket-Key: {key}\r\n" if key else ""
    found, headers = exchange(server, f"{head}\r\n".encode())
    assert found == status
    assert set(security_headers()) <= set(headers)


def test_a_mistake_of_ours_carries_them(tmp_path: Path) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def run() -> None:
        app = MicwireApp(Config(data=tmp_path))
        async with app:
            app._routes.router.routes[0].app = fail  # type: ignore[attr-defined]  # a route that fails
            path = app._routes.router.routes[0].path  # type: ignore[attr-defined]  # as above
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http_:
                answer = await http_.get(path)
        assert answer.status_code == 500
        assert_all_there(answer.headers, path)

    asyncio.run(run())


def exchange(server: Server, *pieces: bytes) -> tuple[int, dict[str, str]]:
    """Send bytes; return the status and the headers of what comes before the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                raw.sendall(piece)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := raw.recv(65_536):
                answer += piece
    head, *rest = answer.split(b"\r\n\r\n")[0].decode().split("\r\n")
    return int(head.split()[1]), dict(line.lower().split(": ", 1) for line in rest)


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"this is no HTTP\r\n\r\n",), 400),
        ((b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: " + b"y" * 80_000 + b"\r\n\r\n",), 400),
        ((b"GET / HTTP/1.1\r\nX: ", *[b"y" * 8_192] * 10), 431),
        ((b"GET /" + b"a" * 16_000, *[b"a" * 16_000] * 5), 431),
        ((b"GET / HTTP/1.1\r\nHost: 127.0",), 408),
        ((), 408),
    ],
)
def test_a_head_that_is_none_or_has_no_end_is_answered_and_closed(
    server: Server, pieces: tuple[bytes, ...], status: int
) -> None:
    found, headers = exchange(server, *pieces)
    assert found == status
    expected = {name: value.lower() for name, value in security_headers().items()}
    assert expected.items() <= headers.items()


def test_a_connection_is_good_for_many_requests(server: Server) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        for number in range(100):
            answer = client.post("/api/v1/session", json={"token": "x" * 1_000})
            assert answer.status_code == 401
            assert client.get("/healthz", headers={"x": "y" * 500}).status_code == 200, number
