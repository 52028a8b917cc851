"""nginx and Caddy before a server, as in `deploy/`: bit for bit, and nobody gets in by their trust.

The copies of the configurations differ in ports, certificates and names, and end an idle
connection after two seconds instead of a minute.
"""

import asyncio
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import soundfile
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from micwire.client import connect
from micwire.core.audio import Encoding, Format
from micwire.https.authority import Authority, Identity
from tests.faults.harness import Server, Signal, wav_path
from tests.test_cli import free_port

DEPLOY = Path(__file__).parents[1] / "deploy"
NAME = "mic.local"
IDLE_S = 2
STEREO = Format(Encoding.S16, 48_000, 2)
SOUND = Signal()

Start = Callable[[Path, int, int, Identity, str], list[str | Path]]


def nginx(
    folder: Path, port: int, server: int, identity: Identity, prefix: str
) -> list[str | Path]:
    """Write nginx's configuration; return the command that runs it."""
    site = (DEPLOY / "nginx.conf").read_text()
    for old, new in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl; proxy_read_timeout {IDLE_S}s;"),
        ("server_name mic.example;", f"server_name {NAME}; proxy_send_timeout {IDLE_S}s;"),
        ("/etc/letsencrypt/live/mic.example/fullchain.pem", str(identity.chain)),
        ("/etc/letsencrypt/live/mic.example/privkey.pem", str(identity.key)),
        ("location / {", f"location {prefix}/ {{"),
        (
            "proxy_pass http://127.0.0.1:8000;",
            f"proxy_pass http://127.0.0.1:{server}{'/' if prefix else ''};",
        ),
    ):
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log;\n"
        f"{'user root;' if os.getuid() == 0 else ''} events {{}}\n"
        f"http {{ access_log off;\n{places}{site}}}\n"
    )
    return ["nginx", "-p", folder, "-e", folder / "log", "-c", folder / "nginx.conf"]


def caddy(
    folder: Path, port: int, server: int, identity: Identity, prefix: str
) -> list[str | Path]:
    """Write Caddy's configuration; return the command that runs it."""
    site = (DEPLOY / "Caddyfile").read_text()
    limits = f"transport http {{\nread_timeout {IDLE_S}s\nwrite_timeout {IDLE_S}s\n}}"
    for old, new in (
        (
            "\nmic.example {",
            f"\nhttps://{NAME}:{port}, https://localhost:{port} {{\n"
            f"tls {identity.chain} {identity.key}\n",
        ),
        ("reverse_proxy 127.0.0.1:8000 {", f"reverse_proxy 127.0.0.1:{server} {{\n{limits}"),
    ):
        assert site.count(old) == 1, old
        site = site.replace(old, new)
    assert not prefix
    (folder / "Caddyfile").write_text(f"{{\nadmin off\nauto_https off\n}}\n{site}")
    return ["caddy", "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]


@dataclass
class Proxied:
    """A server behind a proxy."""

    server: Server
    port: int
    trust: ssl.SSLContext
    prefix: str = ""

    @property
    def address(self) -> str:
        """Where people find it; the name leads to this machine by the client's own doing."""
        return f"https://localhost:{self.port}{self.prefix}"

    @property
    def headers(self) -> dict[str, str]:
        """What a person sends who called it by its name."""
        return {"Host": f"{NAME}:{self.port}", "Authorization": f"Bearer {self.token}"}

    @property
    def token(self) -> str:
        """The token that the server printed: behind a proxy it asks who is there."""
        return self.server.stdout.partition("#token=")[2].split()[0]


@contextmanager
def proxied(folder: Path, start: Start, prefix: str = "") -> Iterator[Proxied]:
    """Run a server, and a proxy before it."""
    identity = Authority(folder / "authority").identity(["localhost", NAME])
    port = free_port()
    # Over `localhost` too: the Python client can't call one address by another's name.
    with Server(
        folder / "data",
        public_url=f"https://{NAME}:{port}{prefix}",
        allow_origin=f"https://localhost:{port}",
    ) as server:
        command = start(folder, port, server.port, identity, prefix)
        with (folder / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                command,
                env=os.environ | {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        try:
            trust = ssl.create_default_context(cafile=folder / "authority" / "ca.crt")
            here = Proxied(server, port, trust, prefix)
            deadline = time.monotonic() + 20
            while not _answers(here):
                assert process.poll() is None, (folder / "stderr").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield here
        finally:
            process.terminate()
            process.wait(10)


def _answers(here: Proxied) -> bool:
    try:
        return get(here, "/healthz").status_code == 200
    except httpx.TransportError:
        return False


def get(here: Proxied, path: str, **headers: str) -> httpx.Response:
    """Ask through the proxy, by its name."""
    with httpx.Client(verify=here.trust, trust_env=False) as client:
        return client.get(
            f"https://127.0.0.1:{here.port}{here.prefix}{path}",
            headers=here.headers | headers,
            extensions={"sni_hostname": NAME},
        )


async def listen(here: Proxied, recording: str, count: int) -> bytes:
    """Return the first bytes of a recording that still grows."""
    async with (
        asyncio.timeout(20),
        httpx.AsyncClient(verify=here.trust, trust_env=False) as client,
        client.stream(
            "GET",
            f"https://127.0.0.1:{here.port}/api/v1/recordings/{recording}/live?from=0",
            headers=here.headers,
            extensions={"sni_hostname": NAME},
        ) as answer,
    ):
        heard = b""
        async for data in answer.aiter_bytes():
            heard += data
            if len(heard) >= count:
                break
        return heard


@pytest.mark.parametrize("start", [nginx, caddy])
def test_a_recording_outlives_the_idle_limit_and_arrives_bit_for_bit(
    tmp_path: Path, start: Start
) -> None:
    states: list[str] = []

    async def run(here: Proxied) -> str:
        async with connect(
            here.address,
            STEREO,
            token=here.token,
            trust=here.trust,
            on_state=states.append,
        ) as microphone:
            await microphone.write(SOUND.data(0, 24_000))
            live = asyncio.create_task(listen(here, microphone.id, len(SOUND.data(0, 24_000))))
            await asyncio.sleep(IDLE_S + 1)
            assert SOUND.data(0, 20_000) in await live, "nothing is heard while it grows"
            await microphone.write(SOUND.data(24_000, 24_000))
        return microphone.id

    with proxied(tmp_path, start) as here:
        recording = asyncio.run(run(here))
        assert states == ["online", "finished"], "the proxy cut the connection"
        path = f"/api/v1/recordings/{recording}/audio"
        part = get(here, path, Range="bytes=-4000")
        assert part.status_code == 206
        assert part.content == SOUND.data(47_000, 1_000)
        whole = get(here, path)
        assert whole.content.endswith(SOUND.data(0, 48_000))
        samples, _ = soundfile.read(wav_path(here.server.data, recording), dtype="int16")
        assert samples.astype("<i2").tobytes() == SOUND.data(0, 48_000)


@pytest.mark.parametrize("start", [nginx, caddy])
def test_only_pages_of_the_public_origin_open_sockets_and_only_with_a_sign_in(
    tmp_path: Path, start: Start
) -> None:
    async def knock(here: Proxied, host: str, origin: str) -> int:
        context = here.trust
        try:
            socket = await connect_socket(
                f"wss://{host}/v1/stream",
                host="127.0.0.1",
                port=here.port,
                ssl=context,
                server_hostname=NAME,
                origin=origin,  # type: ignore[arg-type]  # a str of a kind of its own
                subprotocols=[Subprotocol("micwire.v1")],
                proxy=None,
            )
        except InvalidStatus as refused:
            return refused.response.status_code
        await socket.close()
        return 101

    with proxied(tmp_path, start) as here:
        own = f"{NAME}:{here.port}"
        rows = [
            (own, f"https://{own}", 101),
            (own, "https://evil.example", 403),
            (own, f"https://{NAME}", 403),
        ]
        for host, origin, status in rows:
            assert asyncio.run(knock(here, host, origin)) == status, origin
        assert get(here, "/api/v1/me").json()["is_open"] is False
        assert (
            get(here, f"/api/v1/recordings/{uuid4()}", Authorization="Bearer no").status_code == 401
        )
        evil = get(here, "/healthz", Host=f"evil.example:{here.port}").status_code
        assert evil == 403 or start is caddy, "a name that is not ours"


def test_a_session_begun_behind_a_proxy_has_a_cookie_for_https_only(tmp_path: Path) -> None:
    with (
        proxied(tmp_path, nginx) as here,
        httpx.Client(verify=here.trust, trust_env=False) as client,
    ):
        answer = client.post(
            f"https://127.0.0.1:{here.port}/api/v1/session",
            json={"token": here.token},
            headers={"Host": here.headers["Host"]},
            extensions={"sni_hostname": NAME},
        )
        assert answer.status_code == 204
        assert answer.headers["set-cookie"].startswith("__Host-")
        assert "secure" in answer.headers["set-cookie"].lower()


def test_below_a_prefix_the_url_of_the_wav_has_it(tmp_path: Path) -> None:
    async def run(here: Proxied) -> str:
        async with connect(here.address, STEREO, token=here.token, trust=here.trust) as microphone:
            await microphone.write(SOUND.data(0, 4_800))
        return microphone.url

    with proxied(tmp_path, nginx, "/mic") as here:
        url = asyncio.run(run(here))
        assert url.startswith(f"https://localhost:{here.port}/mic/api/v1/recordings/")
        path = url.partition("/mic")[2]
        assert get(here, path).content.endswith(SOUND.data(0, 4_800))
        assert get(here, "/").status_code == 200


@pytest.mark.parametrize(
    ("trusted", "status"), [("127.0.0.1", 404), ("127.0.0.0/8", 404), ("10.0.0.1", 200)]
)
def test_an_address_that_a_client_claims_counts_only_from_a_trusted_proxy(
    tmp_path: Path, trusted: str, status: int
) -> None:
    # `/metrics` is for this machine: somebody far away, as a proxy says, does not get it.
    with Server(tmp_path / "data", forwarded_allow_ips=trusted) as server:
        answer = httpx.get(
            f"http://127.0.0.1:{server.port}/metrics",
            headers={"X-Forwarded-For": "203.0.113.9"},
            trust_env=False,
        )
        assert answer.status_code == status


def test_metrics_have_a_place_of_their_own(tmp_path: Path) -> None:
    port = free_port()
    with Server(tmp_path / "data", metrics=f"127.0.0.1:{port}") as server:
        numbers = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert "micwire_open_recordings 0.0" in numbers.text
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 404
        own = httpx.get(f"http://127.0.0.1:{server.port}/metrics", trust_env=False)
        assert own.status_code == 404
        assert server.stop() == 0
