"""A server killed with SIGKILL around deletions and edits: deleted stays deleted.

The very disk calls of a deletion are the named places; after each death there, the
recording is whole, or gone for good and for everybody.
"""

import asyncio
import contextlib
import shutil
from pathlib import Path

import httpx
import pytest

from tests.faults.harness import Microphone, RefusedByServer, Server, dial, wait_until

FRAMES = 4_800
MANY_FRAMES = 48_000 * 60


def url_of(server: Server, microphone: Microphone) -> str:
    return f"http://127.0.0.1:{server.port}/api/v1/recordings/{microphone.recording}"


def status_of(server: Server, microphone: Microphone, method: str = "GET", end: str = "") -> int:
    """Ask for a recording; 0 if the server dies of it."""
    with httpx.Client(trust_env=False, timeout=20) as client:
        try:
            return client.request(method, url_of(server, microphone) + end).status_code
        except httpx.TransportError:
            return 0


def record(port: int, microphone: Microphone) -> None:
    microphone.port = port
    asyncio.run(microphone.record())


def check_gone(server: Server, microphone: Microphone) -> None:
    """No route, no file and no client that comes late knows a recording any more."""

    async def come_late() -> str:
        socket = await dial(server.port)
        try:
            await microphone.open(socket)
        except RefusedByServer as refused:
            return refused.code
        return "opened"

    assert [status_of(server, microphone, end=end) for end in ("", "/audio", "/peaks")] == [404] * 3
    assert asyncio.run(come_late()) == "deleted"
    left = [path for path in server.data.glob("*/*") if microphone.recording[:8] in path.name]
    assert left == []
    assert not [*(server.data / ".micwire" / "deleting").iterdir()]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Microphone]:
    """A data directory with one recording that is over, and whose it is."""
    data = tmp_path_factory.mktemp("delete") / "data"
    microphone = Microphone(0, FRAMES)
    with Server(data) as server:
        record(server.port, microphone)
        assert server.stop() == 0
    return data, microphone


def test_a_deletion_that_is_killed_anywhere_is_whole_or_has_not_begun(
    recorded: tuple[Path, Microphone], tmp_path: Path
) -> None:
    original, microphone = recorded
    shutil.copytree(original, tmp_path / "list")
    listed = tmp_path / "listed"
    with Server(tmp_path / "list") as server:
        server.stop()
        server.start(failpoint=f"list:{listed}")
        before = listed.read_text().split()
        assert status_of(server, microphone, "DELETE") == 204
        places = listed.read_text().split()[len(before) :]
        check_gone(server, microphone)
        assert server.stop() == 0
    # Each name once, before what can't be undone: every single call is in tests/test_editing.py.
    calls = ("rename.before", "unlink.before", "sync_directory.before")
    chosen = [place for place in dict.fromkeys(places) if place.endswith(calls)]
    assert {"closed.rename.before", "wav.unlink.before", "sidecar.unlink.before"} <= {*chosen}
    deaths = 0
    for number, place in enumerate(chosen):
        data = tmp_path / str(number)
        shutil.copytree(original, data)
        server = Server(data)
        with contextlib.ExitStack() as stack:
            stack.push(server)
            server.start(failpoint=f"{place}:{before.count(place) + 1}")
            if status_of(server, microphone, "DELETE") == 0:
                deaths += 1
                assert server.wait() == -9
            else:
                server.kill()
            server.start()
            if status_of(server, microphone) == 200:
                assert status_of(server, microphone, end="/audio") == 200
                assert not place.startswith(("wav", "sidecar")), "its files were touched before"
                assert status_of(server, microphone, "DELETE") == 204
            check_gone(server, microphone)
    assert deaths >= len(chosen) // 2


def test_what_is_deleted_while_it_streams_stays_deleted_when_the_server_is_killed(
    tmp_path: Path,
) -> None:
    microphone = Microphone(0, MANY_FRAMES, speed=96_000)
    with Server(tmp_path / "data") as server:
        microphone.port = server.port

        async def stream() -> str:
            recording = asyncio.create_task(microphone.record())
            assert await wait_until(lambda: microphone.acked > 9_600, 20)
            status = await asyncio.to_thread(status_of, server, microphone, "DELETE")
            assert status == 204
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            try:
                await recording
            except RefusedByServer as refused:
                return refused.code
            return "finished"

        assert asyncio.run(stream()) == "deleted"
        check_gone(server, microphone)


def test_an_edit_that_was_answered_survives_a_kill(
    recorded: tuple[Path, Microphone], tmp_path: Path
) -> None:
    original, microphone = recorded
    shutil.copytree(original, tmp_path / "data")
    with Server(tmp_path / "data") as server, httpx.Client(trust_env=False) as client:
        for title in ("one", "two"):
            answer = client.patch(url_of(server, microphone), json={"title": title})
            assert answer.status_code == 200
            server.kill()
            server.start()
            assert client.get(url_of(server, microphone)).json()["title"] == title
