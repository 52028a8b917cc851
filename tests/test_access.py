"""Who may open and read what, with people that a test makes up."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from micwire.app import MicwireApp
from micwire.config import Config
from micwire.core.audio import Encoding, Format
from micwire.core.people import Person, Scope
from micwire.core.session import State
from micwire.core.wire import (
    Error,
    Finish,
    Open,
    Opened,
    ServerMessage,
    decode_server,
    encode_client,
)
from micwire.events import Event
from micwire.link import Connection

KEY = "k" * 22
MONO = Format(Encoding.S16, 48_000, 1)
EVERYTHING = frozenset(Scope)
PEOPLE = {
    "anna": Person("anna", scopes=EVERYTHING, invitation="i1", consent={"version": "1"}),
    "berta": Person("berta", scopes=EVERYTHING),
    "reader": Person("reader", scopes=frozenset({Scope.READ})),
    "recorder": Person("recorder", scopes=frozenset({Scope.RECORD})),
    "admin": Person("admin", scopes=EVERYTHING, is_admin=True),
}


class MadeUpAccess:
    """A bearer token is a person's name."""

    is_open = False

    async def person(self, request: Mapping[str, Any]) -> Person | None:
        token = dict(request["headers"]).get(b"authorization", b"").decode()
        return PEOPLE.get(token.removeprefix("Bearer "))


@contextlib.asynccontextmanager
async def running(data: Path) -> AsyncIterator[MicwireApp]:
    """Let an app run whose people are made up."""
    app = MicwireApp(Config(data=data), access=MadeUpAccess())
    try:
        await app.start()
        yield app
    finally:
        await app.stop()
        await app.close()


def recording_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def request_of(name: str | None) -> dict[str, Any]:
    """Return the handshake of a socket, signed in or not."""
    token = [] if name is None else [(b"authorization", f"Bearer {name}".encode())]
    return {"type": "websocket", "path": "/v1/stream", "query_string": b"", "headers": token}


async def opened(
    app: MicwireApp,
    recording: str,
    *,
    name: str | None = None,
    ticket: str | None = None,
    key: str = KEY,
) -> tuple[Connection, ServerMessage]:
    """Open a recording; return the connection and the first answer."""
    woken = asyncio.Event()
    connection = app._connect(woken.set, request_of(name))
    connection.feed(encode_client(Open(recording, key, MONO, ticket=ticket)))
    while not (texts := connection.outgoing()):
        await woken.wait()
        woken.clear()
    answer = decode_server(texts[0])
    assert answer is not None
    return connection, answer


async def finish(connection: Connection, frames: int = 0) -> None:
    """End a recording; return when it is final."""
    connection.feed(encode_client(Finish(frames)))
    async with asyncio.timeout(10):
        while connection.session.state is not State.FINISHED:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)


def code_of(answer: ServerMessage) -> str | None:
    """Return the code of an error; None for anything else."""
    return answer.code if isinstance(answer, Error) else None


def client_of(app: MicwireApp, name: str | None) -> httpx.AsyncClient:
    """Return a client that is signed in, or not."""
    headers = {} if name is None else {"authorization": f"Bearer {name}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers
    )


@pytest.mark.parametrize(
    ("name", "ticket", "code"),
    [
        (None, None, "unauthenticated"),
        (None, "stolen", "unauthenticated"),
        ("reader", None, "forbidden"),
        (None, "reader", "forbidden"),
        ("anna", None, None),
        (None, "anna", None),
        ("anna", "stolen", None),  # who is signed in needs no ticket
    ],
)
def test_only_who_may_record_opens(
    tmp_path: Path, name: str | None, ticket: str | None, code: str | None
) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            given = app.desk.issue_ticket(PEOPLE[ticket]) if ticket in PEOPLE else ticket
            connection, answer = await opened(app, recording_id(1), name=name, ticket=given)
            assert code_of(answer) == code
            connection.lost()
            state = app.recorder.state(recording_id(1))
            assert (state is None) is (code is not None)
            if state is not None:
                assert state.about.owner == "anna"
                assert state.about.invitation == "i1"
                assert state.about.consent == {"version": "1"}

    asyncio.run(run())


def test_a_ticket_lets_one_in_and_is_used_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            ticket = app.desk.issue_ticket(PEOPLE["anna"])
            answers = await asyncio.gather(
                *(opened(app, recording_id(n), ticket=ticket) for n in range(100))
            )
            codes = [code_of(answer) for _, answer in answers]
            assert codes.count(None) == 1
            assert codes.count("unauthenticated") == 99

    asyncio.run(run())


def test_nobody_continues_what_is_somebody_elses_even_with_its_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            for recording, is_finished in ((recording_id(1), False), (recording_id(2), True)):
                connection, _ = await opened(app, recording, name="anna")
                if is_finished:
                    await finish(connection)
                _, answer = await opened(app, recording, name="berta")
                assert code_of(answer) == "forbidden"
                _, wrong_key = await opened(app, recording, name="anna", key="w" * 22)
                assert wrong_key == answer  # which of the two it was isn't told
                for name in ("anna", "admin"):
                    _, answer = await opened(app, recording, name=name)
                    assert isinstance(answer, Opened)

    asyncio.run(run())


def test_a_recording_is_there_for_its_owner_and_admins_only(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path / "data") as app:
            connection, _ = await opened(app, recording_id(1), name="anna")
            await finish(connection)
            await opened(app, recording_id(2), name="anna")
            statuses: dict[str | None, list[int]] = {}
            bodies: set[bytes] = set()
            for name in (None, "recorder", "berta", "anna", "admin"):
                async with client_of(app, name) as client:
                    answers = [
                        await client.get(f"/api/v1/recordings/{recording}{end}")
                        for recording in (recording_id(1), recording_id(2), recording_id(3), "x")
                        for end in ("", "/audio")
                    ]
                statuses[name] = [answer.status_code for answer in answers]
                if name == "berta":
                    bodies = {answer.content for answer in answers}
            assert statuses[None] == [401] * 8
            assert statuses["recorder"] == [403] * 8
            assert statuses["berta"] == [404] * 8
            assert len(bodies) == 1
            for name in ("anna", "admin"):
                assert statuses[name] == [200] * 4 + [404] * 4

    asyncio.run(run())


def test_what_happens_to_a_recording_is_told_with_its_owner(tmp_path: Path) -> None:
    heard: list[Event] = []

    async def run() -> None:
        async with running(tmp_path / "data") as app:
            app.events.subscribe(heard.append)
            connection, _ = await opened(app, recording_id(1), name="anna")
            await finish(connection)
            await opened(app, recording_id(1), name="anna")

    asyncio.run(run())
    assert [(str(event.happening), event.recording, event.owner) for event in heard] == [
        ("started", recording_id(1), "anna"),
        ("finished", recording_id(1), "anna"),
    ]
