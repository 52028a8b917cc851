"""Every example of a server records: each is run as it says, and its WAV compared bit for bit."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import httpx
import pytest

from tests.faults.harness import (
    Message,
    Microphone,
    Server,
    audio,
    check_recording,
    dial,
    digest,
    receive_type,
)
from tests.test_cli import free_port

EXAMPLES = Path(__file__).parents[1] / "examples"
FRAMES = 24_000


class TicketMicrophone(Microphone):
    """A microphone whose `open` brings a ticket."""

    ticket: str | None = None

    @property
    def open_message(self) -> Message:
        return super().open_message | ({} if self.ticket is None else {"ticket": self.ticket})


@contextmanager
def running(folder: Path, *command: str, **environment: str) -> Iterator[int]:
    """Run an example in a folder until it listens; PORT is a free port. Yield that."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, *(word.replace("PORT", str(port)) for word in command)],
        cwd=folder,
        env=os.environ | {"MICWIRE_PORT": str(port)} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 20
        while status(port, "/") is None:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        errors = process.communicate(timeout=20)[1]
    assert "Traceback" not in errors, errors


def uvicorn(name: str) -> tuple[str, ...]:
    """Return how an ASGI example is run."""
    words = ("--app-dir", str(EXAMPLES), "--ws", "websockets-sansio", "--port", "PORT")
    return ("-m", "uvicorn", *words, f"{name}:app")


def status(port: int, path: str, headers: Mapping[str, str] | None = None) -> int | None:
    """Return how a GET is answered; None if nobody listens."""
    try:
        with urlopen(Request(urljoin(f"http://127.0.0.1:{port}", path), None, headers or {})) as ok:
            found: int = ok.status
            return found
    except HTTPError as error:
        with error:
            return error.code
    except OSError:
        return None


def post(port: int, path: str) -> tuple[bytes, str]:
    """Post nothing; return the body and the cookie of the answer."""
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", b"")) as answer:
        return answer.read(), (answer.headers["Set-Cookie"] or "").partition(";")[0]


def record(
    port: int,
    path: str = "/v1/stream",
    headers: Mapping[str, str] | None = None,
    ticket: str | None = None,
) -> tuple[Microphone, str]:
    """Record over a socket; return the microphone and the path of the WAV."""
    microphone = TicketMicrophone(port, FRAMES)
    microphone.ticket = ticket

    async def run() -> str:
        socket = await dial(
            port, path, subprotocols=["micwire.v1"], additional_headers=dict(headers or {})
        )
        await microphone.open(socket)
        for first in range(0, FRAMES, 960):
            await socket.send(audio(first, microphone.signal.data(first, 960)))
        expected = digest(microphone.signal.data(0, FRAMES))
        await socket.send(json.dumps({"type": "finish", "frames": FRAMES, "digest": expected}))
        finished = await receive_type(socket, "finished")
        assert finished["matches"] is True
        await socket.close()
        return str(finished["url"])

    return microphone, asyncio.run(run())


def test_starlette_shows_its_own_page_beside(tmp_path: Path) -> None:
    with running(tmp_path, str(EXAMPLES / "embed.py")) as port:
        assert status(port, "/memo") == 200
        microphone, url = record(port)
        assert status(port, url) == 200
    check_recording(tmp_path / "recordings", microphone, has_ffprobe=False)


def test_fastapi_records_for_its_own_users(tmp_path: Path) -> None:
    with running(tmp_path, *uvicorn("fastapi_app")) as port:
        ada, bob = ({"Cookie": post(port, f"/sign-in/{name}")[1]} for name in ("ada", "bob"))
        microphone, url = record(port, "/mic/v1/stream", ada)
        assert url.startswith("/mic/api/v1/recordings/")
        assert [status(port, url, who) for who in (ada, bob, {})] == [200, 404, 401]
    check_recording(tmp_path / "recordings", microphone, has_ffprobe=False)


DJANGO_USER = """
import django_app
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client

call_command("migrate", verbosity=0)
for name in ("ada", "bob"):
    client = Client()
    client.force_login(get_user_model().objects.create_user(name))
    print(client.cookies["sessionid"].value)
"""


def test_django_records_for_its_own_users(tmp_path: Path) -> None:
    secret = {"SECRET_KEY": "a-secret-of-the-test"}
    made = subprocess.run(
        [sys.executable, "-c", DJANGO_USER],
        cwd=tmp_path,
        env=os.environ | secret | {"PYTHONPATH": str(EXAMPLES)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    with running(tmp_path, *uvicorn("django_app"), **secret) as port:
        ada, bob = ({"Cookie": f"sessionid={cookie}"} for cookie in made.stdout.split())
        microphone, url = record(port, "/mic/v1/stream", ada)
        assert [status(port, url, who) for who in (ada, bob, {})] == [200, 404, 401]
    check_recording(tmp_path / "recordings", microphone, has_ffprobe=False)


def test_tornado_records_through_a_handler_of_its_own(tmp_path: Path) -> None:
    with running(tmp_path, str(EXAMPLES / "tornado_app.py")) as port:
        microphone, _ = record(port)
        for host, status in (("localhost", 400), ("localhost.evil.example", 404)):
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/stream", headers={"host": host})
            assert answer.status_code == status  # 400: it is no handshake
    check_recording(tmp_path / "recordings", microphone, has_ffprobe=False)


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "flask", "--app", str(EXAMPLES / "flask_app.py"), "run", "--port", "PORT"),
        ("-c", f"import sys; sys.path[:0] = [{str(EXAMPLES)!r}]; import bottle_app;"
         " bottle_app.app.run(port=PORT, quiet=True)"),
    ],
    ids=["flask", "bottle"],
)  # fmt: skip
def test_a_wsgi_application_hands_out_tickets_for_the_server_beside_it(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    micwire, data = str(Path(sys.executable).with_name("micwire")), str(tmp_path / "data")
    create = [micwire, "token", "create", "app", "--scope", "record", "--data", data]
    token = subprocess.check_output(create, text=True).strip()
    with (
        Server(tmp_path / "data", access="token") as server,
        running(
            tmp_path,
            *command,
            MICWIRE_TOKEN=token,
            MICWIRE_URL=(address := f"http://127.0.0.1:{server.port}"),
        ) as port,
    ):
        with urlopen(f"http://127.0.0.1:{port}/") as page:
            assert f'src="{address}/recorder/micwire.js"' in page.read().decode()
        microphone, url = record(server.port, ticket=json.loads(post(port, "/ticket")[0])["ticket"])
        # The token is for recording only, and nobody else has come in.
        assert status(server.port, url, {"Authorization": f"Bearer {token}"}) == 403
        assert status(server.port, url) == 401
    check_recording(server.data, microphone, has_ffprobe=False)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len([line for line in lines if line.strip()]) < 40
