"""micwire inside another application: its life, its people, and the prefix that it is found at."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from micwire.app import create_app
from micwire.client import connect
from micwire.config import Config
from micwire.core.audio import Encoding, Format
from micwire.core.errors import (
    DataDirectoryError,
    MicwireError,
    RefusedError,
    StorageFailedError,
)
from micwire.core.interfaces import Recovery
from micwire.core.people import Person, Scope
from micwire.embedding import Authenticate, HostAccess
from micwire.journal.local import LocalJournal
from micwire.library.writer import WavWriter
from micwire.lock import DataLock
from tests.faults.harness import Signal, wav_path
from tests.test_app import under_uvicorn

STEREO = Format(Encoding.S16, 48_000, 2)
SOUND = Signal()


async def record(address: str, frames: int = 24_000, token: str | None = None) -> str:
    """Record; return the URL of the WAV."""
    async with connect(address, STEREO, token=token, open_timeout_s=5) as microphone:
        await microphone.write(SOUND.data(0, frames))
    return microphone.url


def mounted(data: Path) -> Starlette:
    return Starlette(routes=[Mount("/mic", create_app(Config(data=data)))])


def bearer(connection: HTTPConnection) -> str | None:
    """Know people by a header: `Authorization: Bearer NAME`."""
    return connection.headers.get("authorization", "").removeprefix("Bearer ") or None


def test_a_mounted_app_begins_and_ends_by_itself(tmp_path: Path) -> None:
    with under_uvicorn(mounted(tmp_path / "data")) as port:
        url = asyncio.run(record(f"http://127.0.0.1:{port}/mic"))
        assert url.startswith(f"http://127.0.0.1:{port}/mic/api/v1/recordings/")
        wav = httpx.get(url, trust_env=False).content
        assert wav.endswith(SOUND.data(0, 24_000))
        with pytest.raises(DataDirectoryError):
            DataLock(tmp_path / "data")
    DataLock(tmp_path / "data").release()
    recording = url.split("/")[-2]
    samples, _ = soundfile.read(wav_path(tmp_path / "data", recording), dtype="int16")
    assert samples.astype("<i2").tobytes() == SOUND.data(0, 24_000)


def test_what_a_client_is_still_sending_when_the_host_ends_is_in_the_wav(tmp_path: Path) -> None:
    data = tmp_path / "data"
    acked = 0

    async def talk(port: int, stop: threading.Event) -> str:
        nonlocal acked
        async with asyncio.timeout(20):
            microphone = connect(f"http://127.0.0.1:{port}/mic", STEREO)
            await microphone.__aenter__()
            await microphone.write(SOUND.data(0, 48_000))
            while microphone.durable_frames < 48_000:  # noqa: ASYNC110  # it has no event
                await asyncio.sleep(0.01)
            acked = microphone.durable_frames
            stop.set()
            while microphone.state == "online":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await microphone._stop()
            return microphone.id

    stop = threading.Event()
    with under_uvicorn(mounted(data)) as port:
        found: list[str] = []
        talking = threading.Thread(target=lambda: found.append(asyncio.run(talk(port, stop))))
        talking.start()
        assert stop.wait(20)
    talking.join(20)
    samples, _ = soundfile.read(wav_path(data, found[0]), dtype="int16")
    assert acked == len(samples) == 48_000
    assert samples.astype("<i2").tobytes() == SOUND.data(0, 48_000)


def test_requests_at_once_start_it_once(tmp_path: Path) -> None:
    app = create_app(Config(data=tmp_path / "data"))

    async def run() -> None:
        transport = httpx.ASGITransport(Starlette(routes=[Mount("/mic", app)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            answers = await asyncio.gather(*(client.get("/mic/healthz") for _ in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10

    asyncio.run(run())
    DataLock(tmp_path / "data").release()


def test_a_start_that_failed_is_tried_again_with_the_next_request(tmp_path: Path) -> None:
    other = DataLock(tmp_path / "data")
    with under_uvicorn(mounted(tmp_path / "data")) as port:
        address = f"http://127.0.0.1:{port}/mic"
        assert httpx.get(f"{address}/healthz", trust_env=False).status_code == 500
        other.release()
        assert httpx.get(f"{address}/healthz", trust_env=False).status_code == 200
        asyncio.run(record(address))


def test_a_start_that_failed_leaves_the_directory_to_others(tmp_path: Path) -> None:
    config = Config(data=tmp_path / "data", webhook=("https://hooks.example/",), webhook_secret="x")
    app = create_app(config)

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            for _ in range(2):
                with pytest.raises(MicwireError, match="24 to 64 bytes"):
                    await client.get("/healthz")
                DataLock(tmp_path / "data").release()

    asyncio.run(run())


@pytest.mark.parametrize("part", [LocalJournal, WavWriter])
def test_a_start_that_failed_halfway_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: type[LocalJournal | WavWriter]
) -> None:
    app, real, calls = create_app(Config(data=tmp_path / "data")), part.start, 0

    def start(self: Any, events: Any) -> None:
        nonlocal calls
        calls += 1
        real(self, events)
        if calls == 1:
            raise StorageFailedError("not now")

    monkeypatch.setattr(part, "start", start)

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            with pytest.raises(StorageFailedError, match="not now"):
                await client.get("/healthz")
            DataLock(tmp_path / "data").release()
            for _ in range(2):
                assert (await client.get("/healthz")).status_code == 200

    asyncio.run(run())
    assert calls == 2
    DataLock(tmp_path / "data").release()


def test_whoever_asks_first_and_goes_away_hinders_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, is_reached, may_go_on = (
        create_app(Config(data=tmp_path / "data")),
        threading.Event(),
        threading.Event(),
    )
    real = LocalJournal.recover

    def recover(self: LocalJournal) -> Recovery:
        is_reached.set()
        may_go_on.wait(10)
        return real(self)

    monkeypatch.setattr(LocalJournal, "recover", recover)

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as client:
            first = asyncio.create_task(client.get("/healthz"))
            await asyncio.to_thread(is_reached.wait, 10)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            second = asyncio.create_task(client.get("/healthz"))
            await asyncio.sleep(0)
            may_go_on.set()
            assert (await second).status_code == 200

    asyncio.run(run())
    DataLock(tmp_path / "data").release()


def test_a_host_with_a_lifespan_of_its_own_may_hold_it(tmp_path: Path) -> None:
    inner = create_app(Config(data=tmp_path / "data"))

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        async with inner:
            with pytest.raises(DataDirectoryError):
                DataLock(tmp_path / "data")
            yield
        DataLock(tmp_path / "data").release()

    with under_uvicorn(Starlette(routes=[Mount("/mic", inner)], lifespan=life)) as port:
        asyncio.run(record(f"http://127.0.0.1:{port}/mic"))


def test_the_hosts_people_see_their_own_recordings_and_no_others(tmp_path: Path) -> None:
    app = create_app(Config(data=tmp_path / "data"), authenticate=bearer)
    with under_uvicorn(Starlette(routes=[Mount("/mic", app)])) as port:
        address = f"http://127.0.0.1:{port}/mic"
        with pytest.raises(RefusedError, match="unauthenticated"):
            asyncio.run(record(address))
        url = asyncio.run(record(address, token="ada"))

        def status(name: str | None) -> int:
            headers = {} if name is None else {"authorization": f"Bearer {name}"}
            return httpx.get(url, headers=headers, trust_env=False).status_code

        assert [status("ada"), status("bob"), status(None)] == [200, 404, 401]


async def _ada(connection: HTTPConnection) -> str:
    return "ada"


class Ada:
    """What is called like a function and is none."""

    async def __call__(self, connection: HTTPConnection) -> str:
        return "ada"


ADMIN = Person("root", scopes=frozenset({Scope.READ}), is_admin=True)


@pytest.mark.parametrize(
    ("authenticate", "expected"),
    [
        (lambda connection: "ada", Person("ada", scopes=frozenset(Scope))),
        (lambda connection: 7, Person("7", scopes=frozenset(Scope))),
        (lambda connection: None, None),
        (lambda connection: ADMIN, ADMIN),
        (_ada, Person("ada", scopes=frozenset(Scope))),
        (Ada(), Person("ada", scopes=frozenset(Scope))),
    ],
    ids=["an id", "a number", "nobody", "a person", "a coroutine", "an awaitable"],
)
def test_authenticate_may_return(authenticate: Authenticate, expected: Person | None) -> None:
    assert asyncio.run(HostAccess(authenticate).person(scope())) == expected


def test_authenticate_that_may_block_is_called_apart_from_the_loop() -> None:
    threads: list[threading.Thread] = []
    asyncio.run(HostAccess(lambda _: threads.append(threading.current_thread())).person(scope()))
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("answer", [True, "", 1.5, object()])
def test_authenticate_that_returns_no_person_is_a_mistake_of_the_host(answer: Any) -> None:
    authenticate: Callable[[HTTPConnection], Any] = lambda connection: answer  # noqa: E731
    with pytest.raises(TypeError, match="authenticate returns"):
        asyncio.run(HostAccess(authenticate).person(scope()))


def scope() -> dict[str, Any]:
    return {"type": "websocket", "path": "/v1/stream", "query_string": b"", "headers": []}
