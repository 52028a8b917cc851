"""How much may be recorded, by an invitation and by an owner: decided before it is stored."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from micwire.access.quotas import GRACE_S
from micwire.access.secrets import hash_secret
from micwire.access.store import Invitation, User
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
from tests.access.office import Browser, Office, office

MONO = Format(Encoding.S16, 8_000, 1)


def number(of: int) -> str:
    return f"{of:08x}-0000-4000-8000-000000000000"


class Line:
    """A connection of a browser, and what it hears."""

    def __init__(self, here: Office, browser: Browser) -> None:
        self._woken = asyncio.Event()
        cookie = "; ".join(f"{name}={value}" for name, value in browser.http.cookies.items())
        request: dict[str, Any] = {
            "type": "websocket",
            "path": "/v1/stream",
            "query_string": b"",
            "headers": [
                (b"host", b"127.0.0.1:8000"),
                (b"origin", b"http://127.0.0.1:8000"),
                (b"cookie", cookie.encode()),
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

    async def open(self, recording: int, take: int | None = None) -> ServerMessage:
        """Open a recording; return `opened` or the error."""
        taken = None if take is None else number(take)
        self.connection.feed(encode_client(Open(number(recording), "k" * 22, MONO, take=taken)))
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


def test_an_invitation_allows_so_many_takes_and_keeps_the_consent(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await guest(here, max_recordings=2)
            for recording, take in ((1, 100), (2, 100), (3, 200)):
                line = Line(here, browser)
                assert isinstance(await line.open(recording, take), Opened)
                line.send(0, 0.5)
                await line.finish(0.5)
            refused = await Line(here, browser).open(4, 300)
            assert isinstance(refused, Error)
            assert refused.code == "quota"
            # What was begun can be gone on with, however often.
            assert isinstance(await Line(here, browser).open(3, 200), Opened)
            users.update(here.users)

    users: dict[str, User] = {}
    asyncio.run(run())
    facts = [json.loads(path.read_bytes()) for path in tmp_path.glob("*/*.json")]
    assert len(facts) == 3
    for fields in facts:
        assert fields["owner"] == users["anna"].id
        assert fields["invitation"] == "study"
        assert fields["consent"]["version"] == "7"
        assert len(fields["consent"]["text_sha256"]) == 64
        assert fields["consent"]["accepted_at"].endswith("+00:00")


def test_a_guest_can_record_so_long_and_no_longer(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            line = Line(here, await guest(here, max_seconds=10.0))
            await line.open(1)
            line.send(0, 10 + GRACE_S)
            line.send(int((10 + GRACE_S) * 8_000), 0.001)
            refused = await line.next(Error)
            assert isinstance(refused, Error)
            assert refused.code == "quota"

    asyncio.run(run())


def test_an_invitation_that_is_taken_back_lets_nobody_do_anything(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await guest(here)
            assert isinstance(await Line(here, browser).open(1), Opened)
            here.app.desk.store.remove_invitation("study", here.users["anna"].id)
            for recording in (1, 2):
                refused = await Line(here, browser).open(recording)
                assert isinstance(refused, Error)
                assert refused.code == "unauthenticated"

    asyncio.run(run())


def test_the_hours_of_a_user_are_used_up_by_what_is_stored_and_what_comes_in(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta", quota_hours=30 / 3_600) as here:
            anna = await here.signed_in("anna")
            line = Line(here, anna)
            await line.open(1)
            line.send(0, 12)
            await line.finish(12)
            await asyncio.sleep(0.5)  # the catalogue hears of it
            line = Line(here, anna)
            assert isinstance(await line.open(2), Opened)
            line.send(0, 16)
            third = Line(here, anna)
            assert isinstance(await third.open(3), Opened)
            third.send(0, 2)
            third.send(16_000, 0.001)  # 30 s are full
            refused = await third.next(Error)
            assert isinstance(refused, Error)
            assert refused.code == "quota"
            assert isinstance(await Line(here, anna).open(4), Error)
            # One that is full can be finished all the same.
            third = Line(here, anna)
            assert isinstance(await third.open(3), Opened)
            await third.finish(2)
            assert isinstance(await Line(here, await here.signed_in("berta")).open(5), Opened)

    asyncio.run(run())


def test_the_gigabytes_of_a_user_are_counted_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", quota_gb=160_000 / 1e9) as here:
            line = Line(here, await here.signed_in("anna"))
            await line.open(1)
            line.send(0, 10)
            line.send(80_000, 0.001)
            refused = await line.next(Error)
            assert isinstance(refused, Error)
            assert refused.code == "quota"

    asyncio.run(run())


def test_so_many_recordings_of_a_user_stream_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta", quota_streams=2) as here:
            anna = await here.signed_in("anna")
            lines = [Line(here, anna) for _ in range(2)]
            for recording, line in enumerate(lines):
                assert isinstance(await line.open(recording), Opened)
            refused = await Line(here, anna).open(9)
            assert isinstance(refused, Error)
            assert refused.code == "quota"
            assert isinstance(await Line(here, anna).open(1), Opened)  # it takes its own over
            assert isinstance(await Line(here, await here.signed_in("berta")).open(8), Opened)
            lines[0].connection.lost()
            assert isinstance(await Line(here, anna).open(9), Opened)

    asyncio.run(run())
