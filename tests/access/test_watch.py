"""Who is let in no more keeps nothing open: sockets, listeners, tickets."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest

from micwire.access import watch
from micwire.access.secrets import hash_secret
from micwire.access.store import FILE, LINGERS_S, Store
from micwire.access.watch import Watch
from micwire.core.errors import AccessError
from micwire.core.people import Scope
from micwire.core.wire import Ack, Error, Opened
from tests.access.office import Browser, Line, Office, guest, office


@pytest.fixture(autouse=True)
def _looks_often() -> Iterator[None]:
    with mock.patch.object(watch, "LOOK_S", 0.02):
        yield


@contextlib.contextmanager
def command_line(data: Path) -> Iterator[Store]:
    """The store as another process has it."""
    store = Store(data / ".micwire" / FILE)
    try:
        yield store
    finally:
        store.close()


async def recording(here: Office, browser: Browser, number: int) -> Line:
    """Return a socket that has a second of sound acknowledged."""
    line = Line(here, browser)
    assert isinstance(await line.open(number), Opened)
    line.send(0, 1.0)
    await line.next(Ack)
    return line


async def is_closed(line: Line) -> None:
    """Wait for the end."""
    error = await line.next(Error)
    assert isinstance(error, Error)
    assert error.code == "unauthenticated"
    assert line.connection.closing == (4401, "unauthenticated")


@pytest.mark.parametrize("way", ["everywhere", "this one", "removed", "password"])
def test_a_socket_ends_with_its_session_and_keeps_what_it_acknowledged(
    tmp_path: Path, way: str
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta") as here:
            browser, other = await here.signed_in("anna"), await here.signed_in("berta")
            line, bertas = await recording(here, browser, 1), await recording(here, other, 2)
            if way == "everywhere":
                elsewhere = await here.signed_in("anna")
                await elsewhere.call("DELETE", "/api/v1/session?everywhere=true")
            elif way == "this one":
                await browser.call("DELETE", "/api/v1/session")
            else:
                with command_line(tmp_path) as store:
                    if way == "removed":
                        store.remove_user("anna")
                    else:
                        store.set_password("anna", "x")
            await is_closed(line)
            [state] = [s for s in here.app.recorder.states() if s.about.recording[7] == "1"]
            assert state.frames == 8_000
            await bertas.finish(1.0)

    asyncio.run(run())


@pytest.mark.parametrize("way", ["token", "invitation", "no admin"])
def test_what_is_taken_back_in_another_process_ends_what_came_by_it(
    tmp_path: Path, way: str
) -> None:
    async def run() -> None:
        async with office(tmp_path, "admin", "anna") as here:
            store, browser = here.app.desk.store, here.browser()
            if way == "token":
                user = here.users["anna"].id
                token = store.add_token(hash_secret("t"), user, "x", frozenset(Scope))
                line = Line(here, browser, bearer="t")
            elif way == "invitation":
                line = Line(here, await guest(here))
            else:
                line = Line(here, await here.signed_in("admin"))
            assert isinstance(await line.open(1), Opened)
            await here.app._watch.look()
            assert line.connection.closing is None
            with command_line(tmp_path) as other:
                if way == "token":
                    assert other.remove_token(token, user)
                elif way == "invitation":
                    assert other.remove_invitation("study", here.users["anna"].id)
                else:
                    other.set_admin("admin", is_admin=False)
            await is_closed(line)

    asyncio.run(run())


def test_with_the_first_user_ends_what_was_let_in_before(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, asks_token=True) as here:
            token = here.app.desk.start_token
            assert token is not None
            browser = here.browser()
            assert (await browser.enter(token=token)).status_code == 204
            lines = [Line(here, browser), Line(here, here.browser(), bearer=token)]
            for number, line in enumerate(lines):
                assert isinstance(await line.open(number), Opened)
            await here.app._watch.look()
            assert all(line.connection.closing is None for line in lines)
            with command_line(tmp_path) as store:
                store.add_user("anna", None)
            for line in lines:
                await is_closed(line)

    asyncio.run(run())


def test_a_ticket_is_worth_no_more_than_what_it_was_issued_for(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser, desk = await here.signed_in("anna"), here.app.desk
            answers = [await browser.call("POST", "/api/v1/tickets") for _ in range(2)]
            first, second = (str(answer.json()["ticket"]) for answer in answers)
            person = await desk.redeem(first)
            assert person is not None
            assert person.id == here.users["anna"].id
            with command_line(tmp_path) as store:
                store.remove_user("anna")
            assert await desk.redeem(second) is None

    asyncio.run(run())


def test_a_ticket_beside_a_cookie_is_spent_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna")
            ticket = (await browser.call("POST", "/api/v1/tickets")).json()["ticket"]
            assert isinstance(await Line(here, browser).open(1, ticket=ticket), Opened)
            refused = await Line(here, here.browser()).open(2, ticket=ticket)
            assert isinstance(refused, Error)
            assert refused.code == "unauthenticated"

    asyncio.run(run())


def test_the_end_of_a_sessions_time_ends_nothing_that_is_open(tmp_path: Path) -> None:
    now = 1_000_000.0
    store = Store(tmp_path / FILE, lambda: now)
    user = store.add_user("anna", None).id
    store.add_session("old", 10.0, user=user, is_secure=False)
    now += LINGERS_S
    store.add_session("new", 10.0, user=user, is_secure=False)
    assert store.session("old") is None
    assert {row.key for row in store.standing(["old", "new", "none"])} == {"old", "new"}
    store.close()


@dataclass
class Thing:
    """Something open."""

    proof: str
    is_revoked: asyncio.Event = field(default_factory=asyncio.Event)

    def revoke(self) -> None:
        """Note it."""
        self.is_revoked.set()


def test_a_store_that_fails_ends_nothing_and_all_are_asked_for_in_batches() -> None:
    async def run() -> None:
        things = [Thing(f"{number:04}") for number in range(2_500)]
        sizes: list[int] = []

        def ended(proofs: object) -> set[str]:
            assert isinstance(proofs, list)
            sizes.append(len(proofs))
            if len(sizes) == 1:
                raise AccessError("the disk is gone")
            return {"0003", "2400"}

        watching = Watch(ended, lambda: [*things, Thing("")])
        watching.start()
        async with asyncio.timeout(5):
            await things[3].is_revoked.wait()
        await watching.close()
        assert sizes[:4] == [1_000, 1_000, 1_000, 500]
        assert {thing.proof for thing in things if thing.is_revoked.is_set()} == {"0003", "2400"}

    asyncio.run(run())


def test_a_live_listener_ends_with_its_session(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            browser = await here.signed_in("anna")
            line = await recording(here, browser, 1)
            [state] = here.app.recorder.states()
            listening = asyncio.create_task(
                browser.call("GET", f"/api/v1/recordings/{state.about.recording}/live")
            )
            async with asyncio.timeout(5):
                while not here.app._streams.open:  # noqa: ASYNC110 - nothing says it
                    await asyncio.sleep(0.01)
                await here.app._watch.look()
                assert here.app._streams.open
                await browser.call("DELETE", "/api/v1/session")
                with contextlib.suppress(AssertionError):  # httpx: an answer without its end
                    await listening
            assert not here.app._streams.open
            await is_closed(line)

    asyncio.run(run())
