"""A server with users, in this process, and browsers that come to it.

Nothing listens: requests go to the ASGI application as a server would hand them over.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
from argon2 import PasswordHasher

from micwire.access import passwords
from micwire.access.secrets import hash_secret
from micwire.access.store import Invitation, User
from micwire.app import MicwireApp
from micwire.config import Config
from micwire.core.audio import Encoding, Format
from micwire.core.wire import (
    AUDIO_HEADER,
    Error,
    Finish,
    Finished,
    Open,
    Opened,
    ServerMessage,
    decode_server,
    encode_client,
)
from micwire.link import Connection

MONO = Format(Encoding.S16, 8_000, 1)
ADDRESS = "http://127.0.0.1:8000"
PASSWORDS = {"anna": "correct horse", "berta": "battery staple", "admin": "Tr0ub4dor&3"}


@dataclass
class Browser:
    """Something with cookies, that does what our pages do."""

    http: httpx.AsyncClient
    csrf: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send what a page of the server would send."""
        headers = {"origin": str(self.http.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
        if self.csrf:
            headers["x-micwire-csrf"] = self.csrf
        headers |= self.headers | options.pop("headers", {})
        return await self.http.request(method, path, headers=headers, **options)

    async def me(self) -> dict[str, Any]:
        """Return who the server thinks this is."""
        answer = await self.call("GET", "/api/v1/me")
        assert answer.status_code == 200
        fields: dict[str, Any] = answer.json()
        self.csrf = fields["csrf"] or ""
        return fields

    async def enter(self, **fields: str) -> httpx.Response:
        """Sign in."""
        answer = await self.call("POST", "/api/v1/session", json=fields)
        await self.me()
        return answer


@dataclass
class Office:
    """A running application."""

    app: MicwireApp
    users: dict[str, User] = field(default_factory=dict)

    def browser(self, address: str = ADDRESS, client: str = "192.0.2.7") -> Browser:
        """Return a browser without cookies."""
        transport = httpx.ASGITransport(self.app, client=(client, 1234))
        return Browser(httpx.AsyncClient(transport=transport, base_url=address))

    async def signed_in(self, name: str, address: str = ADDRESS) -> Browser:
        """Return a browser of a user."""
        browser = self.browser(address)
        assert (await browser.enter(user=name, password=PASSWORDS[name])).status_code == 204
        return browser


def number(of: int) -> str:
    return f"{of:08x}-0000-4000-8000-000000000000"


class Line:
    """A connection of a browser, and what it hears."""

    def __init__(
        self,
        here: Office,
        browser: Browser,
        bearer: str = "",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._woken = asyncio.Event()
        cookie = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
        request: dict[str, Any] = {
            "type": "websocket",
            "path": "/v1/stream",
            "query_string": b"",
            "client": ("127.0.0.1", 1234),
            "headers": [
                (b"host", b"127.0.0.1:8000"),
                (b"origin", b"http://127.0.0.1:8000"),
                (b"cookie", cookie.encode()),
                *([(b"authorization", f"Bearer {bearer}".encode())] if bearer else []),
                *(
                    (name.lower().encode(), value.encode())
                    for name, value in (headers or {}).items()
                ),
            ],
        }
        self.connection: Connection = here.app._connect(self._woken.set, request)

    async def next(self, *kinds: type[ServerMessage]) -> ServerMessage:
        """Return the next message of some kinds."""
        async with asyncio.timeout(5):
            while True:
                for text in self.connection.outgoing():
                    message = decode_server(text)
                    if isinstance(message, kinds):
                        return message
                await self._woken.wait()
                self._woken.clear()

    async def open(
        self, recording: int, take: int | None = None, ticket: str | None = None
    ) -> ServerMessage:
        """Open a recording; return `opened` or the error."""
        taken = None if take is None else number(take)
        message = Open(number(recording), "k" * 22, MONO, take=taken, ticket=ticket)
        self.connection.feed(encode_client(message))
        return await self.next(Opened, Error)

    def send(self, first_frame: int, seconds: float) -> None:
        """Send silence."""
        self.connection.feed(AUDIO_HEADER.pack(first_frame) + bytes(int(seconds * 16_000)))

    async def finish(self, seconds: float) -> None:
        """Finish, and wait until the WAV is final."""
        self.connection.feed(encode_client(Finish(int(seconds * 8_000))))
        await self.next(Finished)
        self.connection.lost()


async def guest(here: Office, **facts: Any) -> Browser:
    """Return a browser that came by an invitation."""
    fields: dict[str, Any] = {
        "id": "study", "user": here.users["anna"].id, "name": "Study", "max_recordings": None,
        "max_seconds": None, "until": None, "consent_version": "7", "consent_text": "I agree.",
        "created_at": time.time(),
    }  # fmt: skip
    here.app.desk.store.add_invitation(hash_secret("code"), Invitation(**(fields | facts)))
    browser = here.browser()
    assert (await browser.enter(invitation="code", consent_version="6")).status_code == 409
    assert (await browser.enter(invitation="code", consent_version="7")).status_code == 204
    return browser


@contextlib.asynccontextmanager
async def office(
    data: Path,
    *names: str,
    asks_token: bool = False,
    has_real_hashes: bool = False,
    **settings: Any,
) -> AsyncIterator[Office]:
    """Run an application with some users; their passwords are hashed in no time, unless asked."""
    with contextlib.ExitStack() as stack:
        if not has_real_hashes:
            cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
            stack.enter_context(mock.patch.object(passwords, "_HASHER", cheap))
            stack.enter_context(mock.patch.object(passwords, "_NOBODYS", cheap.hash("nobody's")))
        async with _running(data, names, asks_token, settings) as here:
            yield here


@contextlib.asynccontextmanager
async def _running(
    data: Path, names: tuple[str, ...], asks_token: bool, settings: dict[str, Any]
) -> AsyncIterator[Office]:
    app = MicwireApp(Config(data=data, **settings), asks_token=asks_token)
    built = Office(app)
    for name in names:
        is_admin = name == "admin"
        built.users[name] = app.desk.store.add_user(
            name, passwords.hash_password(PASSWORDS[name]), is_admin=is_admin
        )
    try:
        await app.start()
        yield built
    finally:
        await app.stop()
        await app.close()
