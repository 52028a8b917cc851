"""Where a webhook may go: nowhere but to the internet, and never on from there."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from micwire.https.authority import Authority, Identity
from micwire.webhooks import post as posting
from micwire.webhooks.post import PostError, check_url, is_public, post


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1::909:909",
        "::7f00:1",
        "::a9fe:a9fe",
        "fec0::1",
    ],
)
def test_an_address_of_no_internet_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["9.9.9.9", "2620:fe::fe", "64:ff9b::909:909"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "ftp://hooks.example/",
        "https://",
        "https://user:password@hooks.example/",
        "https://hooks.example:99999/",
        "hooks.example",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_https_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_url(url, is_private_allowed=False)


Answer = tuple[int, dict[str, str]]


@contextmanager
def receiver(answer: Answer, identity: Identity | None = None) -> Iterator[tuple[str, list[str]]]:
    """Run a server that answers so; yield its address, and what was asked for and of whom."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            paths.append(f"{self.headers['Host'].partition(':')[0]}{self.path}")
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(answer[0])
            for name, value in answer[1].items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if identity is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity.chain, identity.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", paths
        finally:
            server.shutdown()
            thread.join()


def lead(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Let names lead to these addresses, with each question to the next list."""
    left = iter(answers)

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        kind = socket.SOCK_STREAM
        return [(socket.AF_INET, kind, 6, "", (address, port)) for address in next(left)]

    monkeypatch.setattr("socket.getaddrinfo", resolve)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["9.9.9.9", "10.0.0.1"]])
def test_a_name_that_leads_inside_is_not_called(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    lead(monkeypatch, addresses)
    with pytest.raises(PostError, match="not of the internet"):
        post("https://hooks.example/", b"{}", {}, is_private_allowed=False)


def test_a_name_is_resolved_once_and_that_address_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[tuple[str, int]] = []

    class NoSocket(socket.socket):
        def connect(self, address: Any) -> None:
            called.append(address)
            raise ConnectionRefusedError

    lead(monkeypatch, ["9.9.9.9"], ["127.0.0.1"])
    monkeypatch.setattr("socket.socket", NoSocket)
    with pytest.raises(PostError):
        post("https://hooks.example/", b"{}", {}, is_private_allowed=False)
    assert called == [("9.9.9.9", 443)]


def test_a_redirect_is_an_answer_and_not_followed() -> None:
    with receiver((302, {"Location": "/elsewhere"})) as (url, paths):
        assert post(f"{url}/here?a=b", b"{}", {}, is_private_allowed=True) == 302
        assert paths == ["127.0.0.1/here?a=b"]


def test_over_https_the_certificate_has_to_be_that_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    with receiver((204, {}), authority.identity(["localhost"])) as (url, paths):
        port = url.rpartition(":")[2]
        with pytest.raises(PostError, match="CERTIFICATE_VERIFY_FAILED"):
            post(f"https://localhost:{port}/", b"{}", {}, is_private_allowed=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert post(f"https://localhost:{port}/", b"{}", {}, is_private_allowed=True) == 204
        with pytest.raises(PostError, match="IP address mismatch"):
            post(f"https://127.0.0.1:{port}/", b"{}", {}, is_private_allowed=True)
    assert paths == ["localhost/"]


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def drip() -> None:
            client, _ = listening.accept()
            with client:
                client.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.05):
                    try:
                        client.sendall(b"X-More: and more\r\n")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with pytest.raises(PostError):
            post(address, b"{}", {}, is_private_allowed=True)
        ended.set()
        thread.join()
