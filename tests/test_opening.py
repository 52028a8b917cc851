"""What an `open` is answered when those who say who may record fail, hang, or take their time."""

import asyncio
import contextlib

import pytest

from micwire.core.interfaces import Identify
from micwire.core.people import LOCAL, Person
from micwire.core.wire import Ack, Audio, Error, Open, Opened, ServerMessage, encode_client
from micwire.core.wire import decode_server as decode
from micwire.link import everybody
from tests.faults.memory_files import FORMATS, KEY, Server, hurry, new_disk, serving

MONO = FORMATS[0]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def number(of: int) -> str:
    return f"{of:08x}-0000-4000-8000-000000000000"


class Line:
    """A link to the recorder, and what it hears."""

    def __init__(self, server: Server, identify: Identify = everybody) -> None:
        self._woken = asyncio.Event()
        self.connection = server.recorder.connect(self._woken.set, identify=identify)

    def ask(self, recording: int) -> None:
        """Ask to open a recording."""
        self.connection.feed(encode_client(Open(number(recording), KEY, MONO)))

    async def next(self, *kinds: type[ServerMessage]) -> ServerMessage:
        """Return the next message of some kinds."""
        async with asyncio.timeout(5):
            while True:
                for text in self.connection.outgoing():
                    message = decode(text)
                    if isinstance(message, kinds):
                        return message
                await self._woken.wait()
                self._woken.clear()

    async def open(self, recording: int) -> ServerMessage:
        """Open a recording; return `opened` or the error."""
        self.ask(recording)
        return await self.next(Opened, Error)


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError("postgres://user:secret@db"), TimeoutError(), KeyError("x")]
)
def test_who_can_not_be_identified_is_asked_to_come_back_and_nobody_else_notices(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    async def identify(ticket: str | None) -> Person | None:
        raise error

    async def run() -> None:
        async with serving(new_disk()) as server:
            other = Line(server)
            assert isinstance(await other.open(1), Opened)
            refused = await Line(server, identify).open(2)
            assert isinstance(refused, Error)
            assert (refused.code, refused.frames) == ("storage-failed", 0)
            other.connection.feed(encode_client(Audio(0, bytes(10 * MONO.frame_bytes))))
            while await other.next(Ack) != Ack(10):
                pass
            assert server.recorder.error is None
            assert isinstance(await Line(server).open(2), Opened)

    asyncio.run(run())
    told = "".join(capsys.readouterr())
    assert type(error).__name__ in told
    assert "secret" not in told


def test_who_asks_people_that_give_up_gets_an_answer() -> None:
    async def identify(ticket: str | None) -> Person | None:
        raise asyncio.CancelledError

    async def run() -> None:
        async with serving(new_disk()) as server:
            refused = await Line(server, identify).open(1)
            assert isinstance(refused, Error)
            assert refused.code == "storage-failed"

    asyncio.run(run())


def test_an_answer_comes_in_time_though_a_thread_that_knows_the_people_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micwire.opening.ANSWER_TIMEOUT_S", 0.05)

    async def run() -> None:
        async with serving(new_disk()) as server:
            is_over = asyncio.Event()

            async def identify(ticket: str | None) -> Person | None:
                while not is_over.is_set():
                    with contextlib.suppress(asyncio.CancelledError):  # as a thread's caller does
                        await is_over.wait()
                return LOCAL

            refused = await Line(server, identify).open(1)
            assert isinstance(refused, Error)
            assert refused.code == "storage-failed"
            is_over.set()
            assert isinstance(await Line(server).open(1), Opened)

    asyncio.run(run())
