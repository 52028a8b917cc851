"""Where nobody signs in, this machine is let in, and nobody else is, on any way."""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import InvalidStatus

from micwire.api.origin import is_from_here
from micwire.app import MicwireApp, create_app
from micwire.config import Config
from micwire.core.wire import Error
from tests.access.office import Line, Office
from tests.faults.harness import dial
from tests.test_app import under_uvicorn

FORWARDED = [
    {"x-forwarded-for": "192.0.2.7"},
    {"X-Forwarded-Host": "mic.example"},
    {"forwarded": "for=192.0.2.7"},
    {"x-real-ip": "192.0.2.7"},
    {"via": "1.1 proxy"},
]


async def ask(
    app: Any, client: str = "127.0.0.1", headers: Mapping[str, str] | None = None, **url: str
) -> httpx.Response:
    """Ask for all recordings; `host` is the name that is called."""
    base = f"http://{url.get('host', 'localhost:8000')}"
    transport = httpx.ASGITransport(app, client=(client, 1234))
    async with httpx.AsyncClient(transport=transport, base_url=base) as http:
        return await http.get(f"{url.get('prefix', '')}/api/v1/recordings", headers=headers)


def test_a_mounted_app_without_sign_in_is_this_machines(tmp_path: Path) -> None:
    async def run() -> None:
        inner = create_app(Config(data=tmp_path))
        app = Starlette(routes=[Mount("/mic", inner)])
        async with inner:
            assert (await ask(app, prefix="/mic")).status_code == 200
            assert (await ask(app, "::1", prefix="/mic", host="[::1]:8000")).status_code == 200
            rebound = await ask(app, prefix="/mic", host="evil.example")
            assert (rebound.status_code, rebound.json()["code"]) == (403, "not-from-here")
            assert "create_app(authenticate=" in rebound.json()["detail"]
            assert (await ask(app, "192.0.2.7", prefix="/mic")).status_code == 403

    asyncio.run(run())


def test_a_page_elsewhere_gets_no_socket_of_a_mounted_app(tmp_path: Path) -> None:
    async def run(port: int) -> None:
        rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
        for path in ("/mic/v1/stream", "/mic/websocket"):
            with pytest.raises(InvalidStatus) as refused:
                await dial(port, path, subprotocols=["micwire.v1"], additional_headers=FORWARDED[0])
            assert refused.value.response.status_code == 403
            assert b"micwire user add" in (refused.value.response.body or b"")
        url = f"http://127.0.0.1:{port}/mic/api/v1/recordings"
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(url)).status_code == 200
            assert (await http.get(url, headers=rebound)).status_code == 403

    app = Starlette(routes=[Mount("/mic", create_app(Config(data=tmp_path)))])
    with under_uvicorn(app) as port:
        asyncio.run(run(port))


def test_open_to_everybody_is_what_somebody_said(tmp_path: Path) -> None:
    async def run() -> None:
        async with create_app(Config(data=tmp_path, access="open")) as app:
            assert (await ask(app, "192.0.2.7", host="mic.example")).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize("headers", FORWARDED, ids=lambda headers: next(iter(headers)))
def test_whoever_comes_through_a_proxy_has_to_sign_in(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async def run() -> None:
        app = MicwireApp(Config(data=tmp_path), is_local=True)
        async with app:
            assert (await ask(app)).status_code == 200
            assert (await ask(app, headers=headers)).status_code == 403
            here = Office(app)
            line = Line(here, here.browser(), headers=headers)
            answer = await line.open(1)
            assert isinstance(answer, Error)
            assert answer.code == "unauthenticated"

    asyncio.run(run())


def test_the_peer_that_nobody_knows_is_elsewhere() -> None:
    assert is_from_here(("127.0.0.1", 1), {"host": ["localhost"]})
    assert not is_from_here(None, {"host": ["localhost"]})
    assert not is_from_here(("", 0), {"host": ["localhost"]})
    assert not is_from_here(("127.0.0.1", 1), {})
    assert not is_from_here(("127.0.0.1", 1), {"host": ["localhost", "evil.example"]})


@pytest.mark.parametrize("loss", ["the last user is removed", "the file of users is lost"])
def test_where_there_were_users_nobody_gets_in_without_one(tmp_path: Path, loss: str) -> None:
    async def run() -> None:
        async with MicwireApp(Config(data=tmp_path), is_local=True) as app:
            assert (await ask(app)).status_code == 200
            app.desk.store.add_user("anna", None)
            assert (await ask(app)).status_code == 401
            if loss == "the last user is removed":
                app.desk.store.remove_user("anna")
                assert (await ask(app)).status_code == 401
        if loss == "the file of users is lost":
            shutil.rmtree(tmp_path / ".micwire")
        async with MicwireApp(Config(data=tmp_path), is_local=True) as app:
            assert (await ask(app)).status_code == 401
            (tmp_path / ".micwire-users").unlink()
            assert (await ask(app)).status_code == (401 if app.desk.store.has_users() else 200)

    asyncio.run(run())
