"""Disks that fail, fill up, or take less than they are given.

A failing disk ends the process, and no ack went out that is not true. A full one is told,
waited for, and forgotten once there is room.
"""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable

import pytest

from micwire.core.errors import MicwireError
from micwire.testing import ForgetfulFiles, Survivors
from tests.faults.memory_files import (
    DATA,
    FORMATS,
    Client,
    Server,
    Sound,
    check_raw,
    check_recovered,
    hurry,
    new_disk,
    serving,
)

TIMEOUT_S = 20

AREAS: dict[str, Callable[[str], bool]] = {
    "journal": lambda path: "/journal" in path,
    "wav": lambda path: (
        path.endswith(".wav") or (path.startswith(f"{DATA}/20") and "." not in path)
    ),
    "sidecar": lambda path: path.endswith(".json") and "/closed/" not in path,
    "closed": lambda path: (
        "/closed/" in path or ("/scratch/" in path and not path.endswith(".json"))
    ),
}
CALLS = {
    "journal": ("create", "write", "sync", "rename", "sync_directory"),
    "wav": ("make_directory", "create", "write", "sync", "truncate", "sync_directory"),
    "sidecar": ("create", "truncate", "write", "rename"),
    "closed": ("make_directory", "create", "truncate", "write", "sync", "rename", "sync_directory"),
}
SYNCS = ("sync", "sync_directory")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def new_clients() -> list[Client]:
    sounds = [
        Sound(1, FORMATS[0], 900, gaps=[(300, 340)], marks=[(10, "a"), (900, "ä")]),
        Sound(2, FORMATS[1], 1_501),
        Sound(3, FORMATS[2], 400, gaps=[(0, 5), (390, 400)]),
    ]
    return [Client(sound, sound.number) for sound in sounds]


async def record(server: Server, client: Client) -> bool:
    """Bring a recording to its end over any number of connections; False if that can't be."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            if await client.open(server):
                await client.speak(client.sound.frames)
                if await client.finish():
                    client.hang_up()
                    return True
            error = client.told.error
            client.hang_up()
            if error is None or error.code != "storage-full":
                return False
            await asyncio.sleep(0.005)


async def live(server: Server, clients: list[Client]) -> list[bool]:
    return await asyncio.gather(*(record(server, client) for client in clients))


@contextlib.asynccontextmanager
async def recovered(files: ForgetfulFiles, clients: list[Client]) -> AsyncIterator[Server]:
    """Let a server listen that finds every promise of older ones kept."""
    async with serving(files) as server:
        for client in clients:
            check_recovered(server, client)
        yield server


async def survive(files: ForgetfulFiles, clients: list[Client], seed: int) -> None:
    """A restart, and only then the power cut: what the kernel alone knew is gone."""
    if seed % 2:
        files.kill(evict=seed % 4 == 1)
        for client in clients:
            check_raw(files, client)
        async with recovered(files, clients):
            files.stop()
    files.cut_power(survivors=Survivors.NOTHING)
    for client in clients:
        check_raw(files, client)
    async with recovered(files, clients) as server:
        assert all(await live(server, clients))
        for client in clients:
            check_recovered(server, client)


EIO_CASES = [(area, call, at) for area in AREAS for call in CALLS[area] for at in (1, 2)]


@pytest.mark.parametrize(("area", "call", "at"), EIO_CASES)
def test_a_failing_disk_makes_no_ack_untrue(area: str, call: str, at: int) -> None:
    async def check() -> None:
        files, clients = new_disk(), new_clients()
        fault = files.fail(call, errno.EIO, at=at, where=AREAS[area])
        try:
            async with serving(files) as server:
                results = await live(server, clients)
                assert server.recorder.error is not None, "the failure went unnoticed"
                assert not all(results)
                files.stop()
        except MicwireError:
            files.stop()  # it failed before it listened
        assert fault.strikes
        await survive(files, clients, at)

    asyncio.run(check())


@pytest.mark.parametrize("call", SYNCS)
@pytest.mark.parametrize("area", ["journal", "wav", "closed"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO], ids=errno.errorcode.get)
def test_a_sync_is_never_tried_twice(area: str, call: str, error: int) -> None:
    # The second one would succeed and mean nothing, whatever the first one's reason was.
    async def check() -> None:
        files, clients = new_disk(), new_clients()
        async with serving(files) as server:
            fault = files.fail(call, error, at=2, times=1, where=AREAS[area])
            assert not all(await live(server, clients))
            assert server.recorder.error is not None
            assert fault.strikes == 1
            files.stop()
        await survive(files, clients, seed=error)

    asyncio.run(check())


FULL_CASES = [
    (area, call, error)
    for area in AREAS
    for call in CALLS[area]
    if call not in SYNCS
    for error in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE)
    if error != errno.EMFILE or call == "create"
]


@pytest.mark.parametrize(("area", "call", "error"), FULL_CASES)
def test_a_full_disk_is_told_and_waited_for(area: str, call: str, error: int) -> None:
    async def check() -> None:
        files, clients = new_disk(), new_clients()
        async with serving(files) as server:
            at = 1 if area == "closed" else 2
            fault = files.fail(call, error, at=at, times=4, where=AREAS[area])
            assert all(await live(server, clients))
            assert fault.strikes == 4
            assert server.recorder.error is None
            if error != errno.EMFILE:  # which is no want of room, and only waited for
                part = "journal" if area == "journal" else "library"
                assert server.recorder.fullness == [(part, True), (part, False)]
            for client in clients:
                check_recovered(server, client)
        files.cut_power(survivors=Survivors.NOTHING)
        async with recovered(files, clients):
            pass

    asyncio.run(check())


@pytest.mark.parametrize("area", ["journal", "wav"])
def test_a_disk_without_descriptors_is_waited_for(area: str) -> None:
    async def check() -> None:
        files, clients = new_disk(), new_clients()
        async with serving(files) as server:
            await asyncio.gather(*(client.open(server) for client in clients))
            for call in ("open", "sync_directory"):
                files.fail(call, errno.EMFILE, at=2, times=3, where=AREAS[area])
            assert all(await live(server, clients))
            assert server.recorder.error is None
        async with recovered(files, clients):
            pass

    asyncio.run(check())


@pytest.mark.parametrize("short", [lambda size: 1, lambda size: size // 2], ids=["byte", "half"])
def test_short_writes_alter_nothing(short: Callable[[int], int]) -> None:
    async def check() -> None:
        files, clients = new_disk(), new_clients()
        fault = files.shorten(short)
        async with serving(files) as server:
            assert all(await live(server, clients))
            assert fault.strikes > 100
        files.cut_power(survivors=Survivors.NOTHING)
        async with recovered(files, clients):
            pass

    asyncio.run(check())


@pytest.mark.parametrize("room_bytes", [7_000, 13_000, 16_000])
@pytest.mark.parametrize("comes_back", [True, False], ids=["room", "crash"])
def test_a_full_disk_loses_nothing(room_bytes: int, *, comes_back: bool) -> None:
    async def check() -> None:
        files, clients = new_disk(), new_clients()
        files.room_bytes = room_bytes
        async with serving(files) as server:
            speaking = asyncio.gather(*(record(server, client) for client in clients))
            await until(lambda: server.recorder.is_full)
            await asyncio.sleep(0.03)
            assert not speaking.done()
            if comes_back:
                files.room_bytes = float("inf")
                assert all(await speaking)
            else:
                files.stop()
                await speaking
        files.cut_power(survivors=Survivors.NOTHING)
        files.room_bytes = float("inf")
        async with recovered(files, clients) as server:
            assert all(await live(server, clients))
            for client in clients:
                check_recovered(server, client)

    asyncio.run(check())


def test_a_server_on_a_full_disk_ends_when_it_is_told_to() -> None:
    async def check() -> None:
        files, clients = new_disk(), new_clients()
        async with serving(files) as server:
            await asyncio.gather(*(client.open(server) for client in clients))
            files.room_bytes = 0
            speaking = asyncio.gather(*(record(server, client) for client in clients))
            await until(lambda: server.recorder.is_full)
            async with asyncio.timeout(5):
                await server.close()
            await speaking
        files.cut_power(survivors=Survivors.NOTHING)
        files.room_bytes = float("inf")
        async with recovered(files, clients) as server:
            assert all(await live(server, clients))

    asyncio.run(check())


async def until(is_there: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not is_there():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.001)
