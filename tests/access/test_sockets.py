"""Who may open a socket, over either carrier: our own, and that of any ASGI server."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from micwire.access.passwords import hash_password
from micwire.access.secrets import hash_secret
from micwire.access.store import FILE, Store
from micwire.app import create_app
from micwire.client import connect
from micwire.config import Config
from micwire.core.audio import Encoding, Format
from micwire.core.errors import RefusedError
from micwire.core.people import Scope
from tests.faults.harness import Microphone, RefusedByServer, Server, dial, receive, refusal
from tests.test_app import under_uvicorn

PASSWORD = "correct horse"
TOKEN = "micwire_for-programs"


@dataclass
class Place:
    """A server with a user who has a cookie and a token."""

    port: int
    cookie: str
    csrf: str

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def page(self) -> dict[str, str]:
        """The headers of a socket that our own page opens."""
        return {"Origin": self.address, "Cookie": self.cookie}

    def ticket(self) -> str:
        """Return a new ticket."""
        answer = httpx.post(
            f"{self.address}/api/v1/tickets",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
        )
        assert answer.status_code == 200
        return str(answer.json()["ticket"])


@pytest.fixture(scope="module", params=["direct", "asgi"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """A running server of either kind."""
    data = tmp_path_factory.mktemp("sockets") / "data"
    store = Store(data / ".micwire" / FILE)
    user = store.add_user("anna", hash_password(PASSWORD))
    store.add_token(hash_secret(TOKEN), user.id, "x", frozenset({Scope.RECORD}))
    store.add_token(hash_secret("reader"), user.id, "x", frozenset({Scope.READ}))
    store.close()
    with contextlib.ExitStack() as stack:
        if request.param == "direct":
            port = stack.enter_context(Server(data)).port
        else:
            port = stack.enter_context(under_uvicorn(create_app(Config(data=data))))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            body = {"user": "anna", "password": PASSWORD}
            assert client.post("/api/v1/session", json=body).status_code == 204
            [(name, value)] = client.cookies.items()
            csrf = client.get("/api/v1/me").json()["csrf"]
        yield Place(port, f"{name}={value}", csrf)


async def opens(place: Place, ticket: str | None = None, **headers: str) -> str:
    """Open a recording; return `opened` or the code of the refusal."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    socket = await dial(place.port, additional_headers=fields)
    try:
        message = Microphone(place.port, 1).open_message | (
            {} if ticket is None else {"ticket": ticket}
        )
        await socket.send(json.dumps(message))
        return str((await receive(socket))["type"])
    except RefusedByServer as refused:
        return refused.code
    finally:
        await socket.close()


def test_a_socket_opens_by_cookie_bearer_or_ticket_and_by_nothing_else(place: Place) -> None:
    async def run() -> None:
        assert await opens(place) == "unauthenticated"
        assert await opens(place, **place.page) == "opened"
        assert await opens(place, Authorization=f"Bearer {TOKEN}") == "opened"
        assert await opens(place, Authorization="Bearer reader") == "forbidden"
        assert await opens(place, Authorization="Bearer nothing") == "unauthenticated"
        assert await opens(place, Authorization=f"Basic {TOKEN}") == "unauthenticated"
        assert await opens(place, "x" * 43) == "unauthenticated"
        ticket = place.ticket()
        assert await opens(place, ticket) == "opened"
        assert await opens(place, ticket) == "unauthenticated"
        # A cookie is no good beside another origin, even one that no page can have.
        assert await opens(place, Cookie=place.cookie, Sec_Fetch_Site="same-site") == (
            "unauthenticated"
        )

    asyncio.run(run())


def test_of_a_hundred_sockets_with_one_ticket_one_opens(place: Place) -> None:
    async def run() -> None:
        ticket = place.ticket()
        outcomes = await asyncio.gather(*(opens(place, ticket) for _ in range(100)))
        assert sorted(outcomes) == ["opened"] + ["unauthenticated"] * 99

    asyncio.run(run())


@pytest.mark.parametrize("way", ["cookie", "bearer", "ticket"])
def test_the_plain_socket_lets_in_the_same(place: Place, way: str) -> None:
    async def run() -> None:
        headers = {"cookie": place.page, "bearer": {"Authorization": f"Bearer {TOKEN}"}}.get(way)
        query = f"&ticket={place.ticket()}" if way == "ticket" else ""
        for attempt in range(2):
            socket = await dial(
                place.port, f"/websocket?events=1{query}", additional_headers=headers
            )
            if way == "ticket" and attempt:
                assert (await refusal(socket)).code == "unauthenticated"
            else:
                assert (await receive(socket))["type"] == "opened"
                await socket.close()
        socket = await dial(place.port, "/websocket?events=1")
        assert (await refusal(socket)).code == "unauthenticated"

    asyncio.run(run())


def test_the_command_says_what_is_missing(place: Place, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "talk.wav"), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(bytes(8_000))
    command = [
        str(Path(sys.executable).with_name("micwire")), "send", str(tmp_path / "talk.wav"),
        "--fast", "--url", place.address,
    ]  # fmt: skip
    for token, status in (("", 1), ("reader", 1), (TOKEN, 0)):
        environment = os.environ | ({"MICWIRE_TOKEN": token} if token else {})
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert ("--token" in done.stderr) is (status == 1)


def test_the_python_client_sends_with_a_token(place: Place) -> None:
    async def run() -> None:
        mono = Format(Encoding.S16, 8_000, 1)
        async with connect(place.address, mono, token=TOKEN) as recording:
            await recording.write(bytes(16_000))
        assert recording.receipt is not None
        assert recording.receipt.matches is True
        with pytest.raises(RefusedError, match="sign in"):
            async with connect(place.address, mono):
                pass

    asyncio.run(run())
