"""What the guard answers when it can't ask, and what tokens and host users may not."""

import asyncio
from dataclasses import replace
from pathlib import Path
from unittest import mock

import httpx
import pytest

from micwire.access.guard import security_headers
from micwire.access.secrets import hash_secret
from micwire.app import MicwireApp, create_app
from micwire.config import Config
from micwire.core.errors import AccessError, MicwireError
from micwire.core.people import Scope
from micwire.core.wire import Error, Opened
from tests.access.office import ADDRESS, Line, Office, guest, office


def client_of(app: MicwireApp) -> httpx.AsyncClient:
    """Return a client that sees what is answered, also before a crash is logged."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=ADDRESS)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AccessError("x"), 503, "access-unavailable"),
        (MicwireError("x"), 503, "access-unavailable"),
        (RuntimeError("x"), 500, "internal-error"),
    ],
)
def test_what_can_not_be_asked_is_a_problem_with_all_headers(
    tmp_path: Path, error: Exception, status: int, code: str
) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here, client_of(here.app) as client:
            with mock.patch.object(here.app.desk.store, "has_users", side_effect=error):
                answer = await client.get("/api/v1/me")
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            for name, value in security_headers().items():
                assert answer.headers[name] == value

    asyncio.run(run())


def test_a_store_below_what_is_no_directory_is_a_problem_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here, client_of(here.app) as client:
            here.app.desk.store.close()
            with mock.patch("micwire.access.store.os.open", side_effect=PermissionError):
                answer = await client.get("/api/v1/me")
            assert (answer.status_code, answer.json()["code"]) == (503, "access-unavailable")

    asyncio.run(run())


def test_a_length_of_thousands_of_digits_is_too_large(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path) as here:
            headers = {"content-length": "9" * 5_000}
            answer = await here.browser().call("POST", "/api/v1/session", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (413, "too-large")

    asyncio.run(run())


def test_a_token_that_only_records_signs_nobody_out(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            store, anna = here.app.desk.store, here.users["anna"].id
            store.add_token(hash_secret("r"), anna, "x", frozenset({Scope.RECORD}))
            store.add_token(hash_secret("m"), anna, "x", frozenset({Scope.MANAGE}))
            browser = await here.signed_in("anna")
            for token, status, user in (("r", 403, anna), ("m", 204, None)):
                answer = await here.browser().call(
                    "DELETE",
                    "/api/v1/session?everywhere=true",
                    headers={"authorization": f"Bearer {token}"},
                )
                assert answer.status_code == status
                assert (await browser.me())["user"] == user

    asyncio.run(run())


def test_people_of_the_application_around_have_tickets_and_no_tokens(tmp_path: Path) -> None:
    async def run() -> None:
        app = create_app(
            Config(data=tmp_path),
            authenticate=lambda connection: connection.headers.get("x-user"),
        )
        async with app, client_of(app) as client:
            client.headers["x-user"] = "17"
            for path, body in (
                ("tokens", {"name": "x", "scopes": ["read"]}),
                ("invitations", {"name": "x"}),
            ):
                answer = await client.post(f"/api/v1/{path}", json=body)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            here = Office(app)
            ticket = (await client.post("/api/v1/tickets")).json()["ticket"]
            assert isinstance(await Line(here, here.browser()).open(1, ticket=ticket), Opened)
            [state] = app.recorder.states()
            assert state.about.owner == "17"
            assert isinstance(await Line(here, here.browser()).open(2, ticket=ticket), Error)

    asyncio.run(run())


def test_an_invitation_from_before_there_were_users_lets_nobody_record(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            here.users["anna"] = replace(here.users["anna"], id=None)  # type: ignore[arg-type]
            browser = await guest(here)
            assert (await browser.me())["user"] is None
            assert isinstance(await Line(here, browser).open(1), Error)

    asyncio.run(run())
