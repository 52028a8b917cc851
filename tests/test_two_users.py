"""Two users, every route, every id: what is Anna's does not exist for Berta.

The routes come from the table that serves them, so that none can be forgotten: a row that
needs a body or a query which is not written down here fails the test.
"""

import asyncio
import re
from pathlib import Path
from typing import Any

import httpx

from micwire.api.endpoints import Endpoint
from micwire.core.wire import Audio, Error, encode_client
from tests.access.office import Browser, Office, office
from tests.test_access import finish, opened, recording_id

CANARY = "Annas-canary"
FRAMES = 480
NOWHERE = {"recording": recording_id(99), "token": "nothing", "invitation": "nothing"}
BODIES: dict[tuple[str, str], object] = {
    ("PATCH", "/api/v1/recordings/{recording}"): {"title": "Berta's"},
    ("POST", "/api/v1/recordings/{recording}/marks"): {"frame": 0, "label": "Berta's"},
    ("POST", "/api/v1/session"): {"user": "berta", "password": "wrong"},
    ("POST", "/api/v1/tokens"): {"name": "Berta's", "scopes": ["read"]},
    ("POST", "/api/v1/invitations"): {"name": "Berta's"},
}
QUERIES: dict[tuple[str, str], str] = {
    ("DELETE", "/api/v1/recordings/{recording}/marks"): "frame=0&label=",
    ("GET", "/api/v1/export"): "recording={recording}",
}
LASTING = re.compile(r"DELETE")
"""What is asked last of all: it takes away what the others ask for."""


async def things_of(here: Office, browser: Browser) -> dict[str, list[str]]:
    """Make one of each thing that a person can have; return their ids by kind."""
    recordings = []
    for number in (1, 2):
        ticket = (await browser.call("POST", "/api/v1/tickets")).json()["ticket"]
        connection, _ = await opened(here.app, recording_id(number), ticket=ticket)
        connection.feed(encode_client(Audio(0, bytes(2 * FRAMES))))
        if number == 1:
            await finish(connection, FRAMES)
            connection.lost()
        recordings.append(recording_id(number))
        url = f"/api/v1/recordings/{recording_id(number)}"
        said = {"title": CANARY, "tags": [CANARY], "notes": CANARY}
        assert (await browser.call("PATCH", url, json=said)).status_code == 200
    token = await browser.call("POST", "/api/v1/tokens", json={"name": CANARY, "scopes": ["read"]})
    invitation = await browser.call("POST", "/api/v1/invitations", json={"name": CANARY})
    return {
        "recording": recordings,
        "token": [token.json()["id"]],
        "invitation": [invitation.json()["id"]],
    }


def address_of(row: Endpoint) -> str:
    """Return a row's path and query, with the names of things in it."""
    key = (row.method, row.path)
    assert (row.body is None) == (key not in BODIES), f"what is the body of {key}?"
    if row.query is not None and row.query.model_json_schema().get("required"):
        assert key in QUERIES, f"what is the query of {key}?"
    return f"{row.path}?{QUERIES.get(key, '')}"


async def ask(browser: Browser, row: Endpoint, address: str) -> httpx.Response:
    """Ask for a row with the body it needs."""
    key = (row.method, row.path)
    options: dict[str, Any] = {"json": BODIES[key]} if key in BODIES else {}
    return await browser.call(row.method, address, **options)


def seen_of(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """Return all that an answer tells."""
    return answer.status_code, answer.content, dict(answer.headers)


def rows_of(here: Office) -> list[Endpoint]:
    return sorted(here.app.endpoints, key=lambda row: bool(LASTING.match(row.method)))


def test_what_is_somebody_elses_is_answered_as_what_does_not_exist(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path / "data", "anna", "berta") as here:
            anna, berta = await here.signed_in("anna"), await here.signed_in("berta")
            things = await things_of(here, anna)
            asked = 0
            for row in rows_of(here):
                address = address_of(row)
                for name in re.findall(r"\{(\w+)\}", address):
                    nothing = await ask(berta, row, address.replace(f"{{{name}}}", NOWHERE[name]))
                    assert nothing.status_code == 404, (row, nothing.text)
                    for thing in things[name]:
                        answer = await ask(berta, row, address.replace(f"{{{name}}}", thing))
                        assert seen_of(answer) == seen_of(nothing), row
                        asked += 1
            assert asked >= 16
            for recording in things["recording"]:
                ticket = (await berta.call("POST", "/api/v1/tickets")).json()["ticket"]
                _, refused = await opened(here.app, recording, ticket=ticket)
                assert isinstance(refused, Error)
                assert refused.code == "forbidden"
            # It was all there, and still is.
            for recording in things["recording"]:
                detail = await anna.call("GET", f"/api/v1/recordings/{recording}")
                assert detail.json()["title"] == CANARY
                assert detail.json()["marks"] == []
            tokens = (await anna.call("GET", "/api/v1/tokens")).json()["tokens"]
            assert [token["id"] for token in tokens] == things["token"]

    asyncio.run(run())


def test_no_list_shows_what_is_somebody_elses(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path / "data", "anna", "berta") as here:
            anna, berta = await here.signed_in("anna"), await here.signed_in("berta")
            things = await things_of(here, anna)
            async with asyncio.timeout(10):
                while CANARY not in (await anna.call("GET", "/api/v1/recordings")).text:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            owner = here.users["anna"].id
            secrets = [CANARY, *(thing for kind in things.values() for thing in kind)]
            for row in rows_of(here):
                if row.method != "GET" or "{" in address_of(row):
                    continue
                for query in ("", f"?owner={owner}", f"?q={CANARY}", f"?tag={CANARY}"):
                    answer = await berta.call("GET", row.path + query)
                    assert not [each for each in secrets if each in answer.text], row

    asyncio.run(run())


def test_who_has_not_signed_in_gets_one_answer_from_every_route(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path / "data", "anna") as here:
            things = await things_of(here, await here.signed_in("anna"))
            stranger = here.browser()
            for row in rows_of(here):
                if row.scope is None:
                    continue
                answers = set()
                for kind in (NOWHERE, {name: ids[0] for name, ids in things.items()}):
                    address = address_of(row)
                    for name, thing in kind.items():
                        address = address.replace(f"{{{name}}}", thing)
                    answer = await ask(stranger, row, address)
                    assert answer.status_code == 401, row
                    answers.add(answer.content)
                assert len(answers) == 1, row

    asyncio.run(run())
