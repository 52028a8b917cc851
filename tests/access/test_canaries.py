"""Secrets put into every path, failing ones included, turn up in nothing that is kept or shown."""

import asyncio
import contextlib
import json
from pathlib import Path
from uuid import uuid4

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus

from micwire.access.passwords import hash_password
from micwire.access.secrets import hash_secret
from micwire.access.store import FILE, Store
from micwire.core.people import Scope
from tests.faults.harness import Server, dial

RIGHT = {
    "password": "canary-password-right",
    "token": "canary-token-right",
    "invitation": "canary-invitation-right",
}
WRONG = {name: value.replace("right", "wrong") for name, value in RIGHT.items()}
KEY = "canary-key-of-a-recording-0000"
SAID: list[str] = []
"""Everything that the server has answered, closed sockets included."""


def hear(answer: httpx.Response) -> httpx.Response:
    """Note an answer."""
    SAID.append(f"{answer.headers} {answer.text}")
    return answer


def knock_over_http(client: httpx.Client) -> list[str]:
    """Put every secret where it belongs, and where it doesn't; return those that were made."""
    made: list[str] = []
    for secrets in (WRONG, RIGHT):
        hear(client.post("/api/v1/session", json={"user": "anna", "password": secrets["password"]}))
        for name in ("token", "invitation"):
            hear(client.post("/api/v1/session", json={name: secrets[name]}))
        hear(client.post("/api/v1/session", content=f"{{{secrets['password']}"))
        hear(client.post("/api/v1/session", json={"user": secrets["password"], "password": 1}))
        hear(client.post("/api/v1/session", json={"user": secrets["password"], "password": "x"}))
        for value in secrets.values():
            bearer = {"authorization": f"Bearer {value}"}
            for path in ("/", "/api/v1/me", "/api/v1/recordings", "/nothing", f"/{value}"):
                hear(client.get(path, headers=bearer))
                hear(client.get(path, params={"token": value}, headers={"x-micwire-csrf": value}))
            hear(client.get("/", headers={"host": value}))
            hear(client.post("/api/v1/tickets", headers={"origin": f"https://{value}"}))
            hear(client.delete(f"/api/v1/tokens/{value}", headers=bearer))
            hear(client.request("BREW", f"/api/v1/recordings/{value}", headers=bearer))
    bearer = {"authorization": f"Bearer {RIGHT['token']}"}
    for path, body, name in (
        ("tickets", None, "ticket"),
        ("tokens", {"name": "x", "scopes": ["read"]}, "token"),
        ("invitations", {"name": "x"}, "code"),
    ):
        answer = client.post(f"/api/v1/{path}", json=body, headers=bearer)
        assert answer.is_success
        made.append(answer.json()[name])
    made += client.cookies.values()
    return made


async def knock_on_sockets(port: int, secrets: list[str]) -> None:
    """Put every secret into handshakes and into `open`."""
    await asyncio.gather(
        *(
            knock(port, path, headers, secret)
            for secret in secrets
            for path in ("/v1/stream", f"/websocket?ticket={secret}", f"/nothing?ticket={secret}")
            for headers in ({"Authorization": f"Bearer {secret}"}, {"Origin": f"http://{secret}"})
        )
    )


async def knock(port: int, path: str, headers: dict[str, str], secret: str) -> None:
    """Open one socket, and a recording on it."""
    message = {
        "type": "open", "recording": str(uuid4()), "key": KEY, "ticket": secret,
        "format": {"encoding": "pcm_s16le", "sample_rate": 8_000, "channels": 1},
    }  # fmt: skip
    try:
        socket = await dial(port, path, additional_headers=headers)
    except InvalidStatus as error:
        SAID.append(f"{error.response.headers} {error.response.body!r}")
        return
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        await socket.send(json.dumps(message))
        async with asyncio.timeout(0.5):
            SAID.append(str(await socket.recv()))
    await socket.close()
    SAID.append(f"{socket.close_code} {socket.close_reason}")


def test_secrets_turn_up_nowhere(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store = Store(data / ".micwire" / FILE)
    user = store.add_user("anna", hash_password(RIGHT["password"]), is_admin=True)
    store.add_token(hash_secret(RIGHT["token"]), user.id, "x", frozenset(Scope))
    store.close()
    with Server(data) as server:
        address = f"http://127.0.0.1:{server.port}"
        with httpx.Client(base_url=address, trust_env=False) as client:
            made = knock_over_http(client)
            asyncio.run(knock_on_sockets(server.port, [*RIGHT.values(), *WRONG.values(), *made]))
            hear(client.get("/metrics"))
            hear(client.get("/openapi.json"))
        assert server.stop() == 0
    kept = {
        str(path): path.read_bytes()
        for folder in (data, data.with_name(f"{data.name}-logs"))
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert any(path.endswith("audit.jsonl") for path in kept)
    assert any(path.endswith("stderr") for path in kept)
    assert len(made) == 4
    for secret in [KEY, *RIGHT.values(), *WRONG.values(), *made]:
        assert not [path for path, text in kept.items() if secret.encode() in text], secret
        assert not [text for text in SAID if secret in text and "set-cookie" not in text], secret
