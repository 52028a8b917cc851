"""The power goes at any operation of the disk, and every promise holds.

Custody's invariants 1 to 12, 15 and 16, on the real journal, library and recorder, over
a disk that forgets what was not synced. The threads are real too, so a number of a run
does not name the very same moment twice: the message of a failure says which it was.
"""

import asyncio
import random

import pytest

from micwire.core.errors import MicwireError
from micwire.testing import ForgetfulFiles, Survivors
from tests.faults.memory_files import (
    FORMATS,
    Client,
    Server,
    Sound,
    check_raw,
    check_recovered,
    hurry,
    new_disk,
)

NORMAL_RUNS = 80
SOAK_RUNS = 500
TIMEOUT_S = 20


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def new_clients(seed: int) -> list[Client]:
    """Return clients that do everything a client may do."""
    sounds = [
        Sound(1, FORMATS[0], 2_000, gaps=[(300, 340), (341, 900)], marks=[(10, "a"), (950, "ä")]),
        Sound(2, FORMATS[1], 1_501, marks=[(1_501, "the end")]),
        Sound(3, FORMATS[2], 800, gaps=[(0, 5), (790, 800)]),
        Sound(4, FORMATS[3], 3_000),
        Sound(5, FORMATS[0], 600),
        Sound(6, FORMATS[3], 0),
        Sound(7, FORMATS[1], 4_001, gaps=[(2_000, 2_001)]),
    ]
    return [Client(sound, seed + sound.number) for sound in sounds]


async def live(server: Server, clients: list[Client]) -> None:
    """Let all clients speak at once: four finish, one stays away, one discards."""
    plain, taken, away, quick, discarded, empty, late = clients

    async def speak_and_finish(client: Client) -> None:
        if await client.open(server):
            await client.speak(client.sound.frames)
            await client.finish()

    async def be_taken_over() -> None:
        if await taken.open(server) and await taken.speak(700):
            await taken.take_over(server)
            await taken.speak(taken.sound.frames)
            await taken.finish()

    async def stay_away() -> None:
        if await away.open(server) and await away.speak(500):
            away.hang_up()
            await away.open(server)
            await away.speak(away.sound.frames)

    async def discard() -> None:
        if await discarded.open(server) and await discarded.speak(discarded.sound.frames):
            await discarded.discard()

    async def come_late() -> None:
        await asyncio.sleep(0.02)
        await speak_and_finish(late)

    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(
            speak_and_finish(plain),
            be_taken_over(),
            stay_away(),
            speak_and_finish(quick),
            discard(),
            speak_and_finish(empty),
            come_late(),
        )


async def come_back(server: Server, client: Client) -> None:
    """Bring a recording to its end after a crash, whatever state it was left in."""
    async with asyncio.timeout(TIMEOUT_S):
        if not await client.open(server):
            assert client.told.error is not None
            assert client.told.error.code == "deleted", client.told.error
            assert client.is_discard_sent
            client.told.is_deleted = True
        elif client.is_discard_sent:
            assert await client.discard()
        else:
            await client.speak(client.sound.frames)
            assert await client.finish(), client.told.error
            client.hang_up()


async def run(files: ForgetfulFiles, clients: list[Client]) -> None:
    """Let a server live until the power goes or all is done."""
    server = Server(files)
    try:
        await server.recorder.start()
    except MicwireError:
        assert files.is_stopped
        return
    try:
        await live(server, clients)
    finally:
        await server.close()


async def recover(
    files: ForgetfulFiles, clients: list[Client], dice: random.Random, crashes: int
) -> Server:
    """Return a server that listens, after some that did not get so far."""
    for _ in range(crashes):
        files.stop_at(files.operations + dice.randint(1, 60))
        server = Server(files, seed=dice.randrange(1000))
        try:
            await server.recorder.start()
            await asyncio.sleep(dice.choice((0, 0, 0.01)))
        except MicwireError:
            assert files.is_stopped, "recovery failed with the power on"
        await server.close()
        go_down(files, dice)
        for client in clients:
            check_raw(files, client)
    server = Server(files, seed=dice.randrange(1000))
    await server.recorder.start()
    return server


def go_down(files: ForgetfulFiles, dice: random.Random) -> None:
    """Let the machine crash, or only the process."""
    if dice.random() < 0.25:
        files.kill()
    else:
        kind = dice.choice([Survivors.RANDOM, Survivors.RANDOM, *Survivors])
        files.cut_power(dice.randrange(1 << 30), kind)


async def crash_once(operation: int, seed: int) -> ForgetfulFiles:
    """One life, a crash, a recovery, the rest, and a power cut that takes all it can."""
    trouble: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: trouble.append(str(context))
    )
    dice, files, clients = random.Random(seed), new_disk(), new_clients(seed)
    files.stop_at(operation)
    await run(files, clients)
    go_down(files, dice)
    for client in clients:
        check_raw(files, client)
    server = await recover(files, clients, dice, crashes=dice.choice((0, 1, 1, 2)))
    for client in clients:
        check_recovered(server, client)
    await asyncio.gather(*(come_back(server, client) for client in clients))
    for client in clients:
        check_recovered(server, client)
    files.stop()
    await server.close()
    files.cut_power(survivors=Survivors.NOTHING)
    server = await recover(files, clients, dice, crashes=0)
    for client in clients:
        check_recovered(server, client)
        if not client.is_discard_sent:
            assert client.told.finished is not None
    await server.close()
    assert trouble == []
    return files


def check_at(operation: int, seed: int) -> None:
    """Crash once; say where if a promise is broken."""
    try:
        asyncio.run(crash_once(operation, seed))
    except Exception as error:
        error.add_note(f"the power was cut at operation {operation}, with seed {seed}")
        raise


@pytest.mark.parametrize("number", range(NORMAL_RUNS))
def test_every_promise_holds_after_the_power_was_cut(number: int) -> None:
    # A life has some 700 operations; the last cuts come after its end.
    check_at(1 + number * 720 // NORMAL_RUNS + number % 9, seed=number)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(SOAK_RUNS))
def test_every_promise_holds_after_the_power_was_cut_often(number: int) -> None:
    check_at(1 + number * 720 // SOAK_RUNS, seed=1_000 + number)


def test_a_life_passes_through_all_that_may_break() -> None:
    files, clients = new_disk(), new_clients(0)
    asyncio.run(run(files, clients))
    assert files.operations > 500
    assert all(count > 3 for count in files.calls.values()), files.calls
    numbers = [int(path[-20:-8]) for path in files.paths() if path.endswith(".segment")]
    assert min(numbers) > 3, "no segment was taken out of the log"
    assert any("spare" in path for path in files.paths()), "no segment waits to be used again"
    assert [client.told.finished is not None for client in clients] == [
        *(True, True, False, True, False, True, True)
    ]
    assert clients[4].told.is_deleted
