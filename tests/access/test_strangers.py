"""Two users, every route, every id: what is somebody else's is answered as if it were not there."""

import asyncio
from pathlib import Path

import httpx

from micwire.core.people import Scope
from micwire.core.wire import Error, Opened
from tests.access.office import Browser, Line, Office, number, office

OVER, LIVE, NOTHING = number(1), number(2), number(3)
BODIES: dict[str, dict[str, object]] = {
    "PATCH": {"title": "Mine now"},
    "POST": {"frame": 0, "label": "mine"},
}
QUERIES = {"marks": {"frame": "0", "label": "x"}}


async def record(here: Office) -> Browser:
    """Let Anna record: one recording is over, one goes on."""
    anna = await here.signed_in("anna")
    line = Line(here, anna)
    assert isinstance(await line.open(1), Opened)
    line.send(0, 1)
    await line.finish(1)
    line = Line(here, anna)
    assert isinstance(await line.open(2), Opened)
    line.send(0, 1)
    await asyncio.sleep(0.3)  # it is in the WAV and in the catalogue
    return anna


def rows(here: Office) -> list[tuple[str, str]]:
    """Return every route of one recording."""
    found = [
        (endpoint.method, endpoint.path)
        for endpoint in here.app.endpoints
        if "{recording}" in endpoint.path
    ]
    assert len(found) >= 7
    return found


async def ask(who: Browser, method: str, path: str, recording: str) -> httpx.Response:
    """Ask for one route of a recording."""
    return await who.call(
        method,
        path.replace("{recording}", recording),
        json=BODIES.get(method),
        params=QUERIES.get(path.rpartition("/")[2]) if method == "DELETE" else None,
    )


def seen(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    """Return all that a stranger learns from an answer."""
    return answer.status_code, answer.content, dict(answer.headers)


def test_each_route_of_each_recording_of_anna_is_404_to_berta(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta", "admin") as here:
            anna = await record(here)
            berta = await here.signed_in("berta")
            for method, path in rows(here):
                nothing = seen(await ask(berta, method, path, NOTHING))
                assert nothing[0] == 404, (method, path)
                for recording in (OVER, LIVE):
                    assert seen(await ask(berta, method, path, recording)) == nothing
            for path in ("/api/v1/recordings", "/api/v1/tags"):
                answer = await berta.call("GET", path)
                assert answer.status_code == 200
                assert not any(answer.json()[name] for name in ("recordings", "tags")
                               if name in answer.json())  # fmt: skip
            answer = await berta.call("GET", "/api/v1/recordings?q=&owner=" + here.users["anna"].id)
            assert answer.json()["recordings"] == []
            # Nothing of it was altered, and others who may do see it.
            admin = await here.signed_in("admin")
            for who in (anna, admin):
                answer = await who.call("GET", f"/api/v1/recordings/{OVER}")
                assert answer.status_code == 200
                assert answer.json()["title"] is None
                assert answer.json()["marks"] == []
                listed = (await who.call("GET", "/api/v1/recordings")).json()["recordings"]
                assert {row["recording"] for row in listed} == {OVER, LIVE}

    asyncio.run(run())


def test_an_export_brings_nothing_of_somebody_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta") as here:
            await record(here)
            berta = await here.signed_in("berta")
            answers = [
                await berta.call("GET", f"/api/v1/export?recording={recording}")
                for recording in (OVER, LIVE, NOTHING)
            ]
            texts = {
                (answer.status_code, answer.content.replace(recording.encode(), b""))
                for answer, recording in zip(answers, (OVER, LIVE, NOTHING), strict=True)
            }
            assert len(texts) == 1
            assert answers[0].status_code == 404

    asyncio.run(run())


def test_nobody_goes_on_with_somebody_elses_recording_even_with_its_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta") as here:
            await record(here)
            for recording in (1, 2):
                refused = await Line(here, await here.signed_in("berta")).open(recording)
                assert isinstance(refused, Error)
                assert refused.code == "forbidden"
                assert refused.frames == 0

    asyncio.run(run())


def test_tokens_and_invitations_are_their_makers_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna", "berta", "admin") as here:
            anna = await here.signed_in("anna")
            token = (
                await anna.call("POST", "/api/v1/tokens", json={"name": "x", "scopes": ["read"]})
            ).json()
            invitation = (
                await anna.call("POST", "/api/v1/invitations", json={"name": "Study"})
            ).json()
            for name in ("berta", "admin"):
                stranger = await here.signed_in(name)
                for kind, made in (("tokens", token), ("invitations", invitation)):
                    assert (await stranger.call("GET", f"/api/v1/{kind}")).json() == {kind: []}
                    gone = await stranger.call("DELETE", f"/api/v1/{kind}/{made['id']}")
                    none = await stranger.call("DELETE", f"/api/v1/{kind}/nothing")
                    assert seen(gone) == seen(none)
                    assert gone.status_code == 404
            for kind, made in (("tokens", token), ("invitations", invitation)):
                listed = (await anna.call("GET", f"/api/v1/{kind}")).text
                assert made["id"] in listed
                assert made.get("token", made.get("code")) not in listed

    asyncio.run(run())


def test_a_token_may_do_what_its_scopes_say_and_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            anna = await record(here)
            for scope in Scope:
                body = {"name": scope, "scopes": [scope]}
                made = (await anna.call("POST", "/api/v1/tokens", json=body)).json()
                program = here.browser()
                program.headers = {"authorization": f"Bearer {made['token']}"}
                for endpoint in here.app.endpoints:
                    if endpoint.scope is None or endpoint.method == "DELETE":
                        continue
                    path = endpoint.path.replace("{recording}", NOTHING)
                    answer = await program.call(
                        endpoint.method, path, json=BODIES.get(endpoint.method)
                    )
                    is_let = answer.status_code != 403
                    assert is_let is (endpoint.scope is scope), (scope, endpoint.path)
                await anna.call("DELETE", f"/api/v1/tokens/{made['id']}")
                assert (await program.call("POST", "/api/v1/tickets")).status_code == 401

    asyncio.run(run())


def test_without_a_sign_in_every_route_with_a_scope_says_so_alike(tmp_path: Path) -> None:
    async def run() -> None:
        async with office(tmp_path, "anna") as here:
            await record(here)
            stranger = here.browser()
            answers = set()
            for endpoint in here.app.endpoints:
                if endpoint.scope is not None:
                    for recording in (OVER, NOTHING):
                        path = endpoint.path.replace("{recording}", recording)
                        answer = await stranger.call(
                            endpoint.method, path, json=BODIES.get(endpoint.method)
                        )
                        answers.add((answer.status_code, answer.content))
            assert len(answers) == 1
            assert answers.pop()[0] == 401

    asyncio.run(run())
