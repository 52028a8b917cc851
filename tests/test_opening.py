"""What an `open` is answered when those who say who may record fail, hang, or take their time."""

import asyncio
import contextlib
import threading
from dataclasses import replace
from math import inf
from unittest.mock import Mock

import pytest

from micwire.core.interfaces import Identify
from micwire.core.people import LOCAL, Person
from micwire.core.records import Record
from micwire.core.wire import Ack, Audio, Error, Open, Opened, ServerMessage, encode_client
from micwire.core.wire import decode_server as decode
from micwire.events import Happening
from micwire.link import everybody
from tests.faults.memory_files import FORMATS, KEY, Client, Server, Sound, hurry, new_disk, serving

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


class Gate:
    """Admits everybody, later."""

    def __init__(self) -> None:
        self.asked = 0
        self.opened = asyncio.Event()

    async def __call__(self, person: Person, message: Open) -> float | str:
        """Wait for the gate."""
        self.asked += 1
        await self.opened.wait()
        return inf

    async def has_asked(self, times: int) -> None:
        """Wait until somebody stands before it."""
        async with asyncio.timeout(5):
            while self.asked < times:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.001)


def test_recordings_that_begin_at_once_are_not_more_than_may_stream() -> None:
    async def run() -> None:
        async with serving(new_disk()) as server:
            gate = Gate()
            server.recorder._opener._admit = gate
            server.recorder._opener._settings = replace(server.recorder.settings, max_recordings=2)
            lines = [Line(server) for _ in range(5)]
            for recording, line in enumerate(lines):
                line.ask(recording)
            await gate.has_asked(2)
            gate.opened.set()
            answers = [await line.next(Opened, Error) for line in lines]
            assert sum(isinstance(answer, Opened) for answer in answers) == 2
            codes = {answer.code for answer in answers if isinstance(answer, Error)}
            assert codes == {"quota"}

    asyncio.run(run())


def test_who_leaves_before_it_is_admitted_leaves_nothing_behind() -> None:
    async def run() -> None:
        async with serving(new_disk()) as server:
            server.recorder._opener._admit = gate = Gate()
            line = Line(server)
            line.ask(1)
            await gate.has_asked(1)
            line.connection.lost()
            gate.opened.set()
            assert isinstance(await Line(server).open(2), Opened)
            assert [state.about.recording for state in server.recorder.states()] == [number(2)]
            assert len(server.recorder._unfinished.paths) == 1

    asyncio.run(run())


def test_a_recording_is_asked_about_once_and_keeps_its_length_over_restarts() -> None:
    asked: list[str] = []

    async def admit(person: Person, message: Open) -> float | str:
        asked.append(message.recording)
        return 0.001 if len(asked) == 1 else "no"

    async def run() -> None:
        files = new_disk()
        frames = MONO.sample_rate // 1_000
        for _ in range(3):
            async with serving(files) as server:
                server.recorder._opener._admit = admit
                line = Line(server)
                assert isinstance(await line.open(1), Opened)
                line.connection.feed(encode_client(Audio(0, bytes(frames * MONO.frame_bytes))))
                assert line.connection.closing is None
                line.connection.feed(encode_client(Audio(frames, bytes(MONO.frame_bytes))))
                refused = await line.next(Error)
                assert isinstance(refused, Error)
                assert refused.code == "quota"
        assert len(asked) == 1

    asyncio.run(run())


def test_a_recording_that_is_discarded_while_another_link_opens_it_stays_gone() -> None:
    async def run() -> None:
        files = new_disk()
        async with serving(files) as server:
            client = Client(Sound(1, MONO, 300))
            assert await client.open(server)
            await client.speak(300)
            is_known, asked = asyncio.Event(), asyncio.Event()

            async def identify(ticket: str | None) -> Person | None:
                asked.set()
                await is_known.wait()
                return LOCAL

            late = server.recorder.connect(lambda: None, identify=identify)
            late.feed(encode_client(Open(client.sound.recording, KEY, MONO)))
            await asked.wait()
            assert await client.discard()
            is_known.set()
            async with asyncio.timeout(5):
                while late.closing is None:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.001)
            assert late.closing[1] == "deleted"
        assert [path for path in files.paths() if client.sound.recording[:8] + "." in path] == []

    asyncio.run(run())


def test_a_state_that_comes_behind_the_end_brings_nothing_back() -> None:
    async def run() -> None:
        files = new_disk()
        async with serving(files) as server:
            deleted, finished = Client(Sound(1, MONO, 300)), Client(Sound(2, MONO, 300))
            states = []
            for client in (deleted, finished):
                assert await client.open(server)
                await client.speak(300)
                state = server.recorder.state(client.sound.recording)
                assert state is not None
                states.append(state.copy())
            assert await deleted.discard()
            assert await finished.finish()
            before = {path for path in files.paths() if ".micwire" not in path}
            for state in states:
                await server.recorder._unfinished.commit(state.record())
            # What is opened behind it in the log has been filed once it is over.
            other = Client(Sound(3, MONO, 300))
            assert await other.open(server)
            await other.speak(300)
            assert await other.finish()
            assert server.library.unfinished() == []
            after = {path for path in files.paths() if ".micwire" not in path}
            assert {
                path for path in after - before if other.sound.recording[:8] not in path
            } == set()
            assert before <= after

    asyncio.run(run())


def test_a_recording_whose_beginning_takes_too_long_is_told_of_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micwire.opening.ANSWER_TIMEOUT_S", 0.05)

    async def run() -> None:
        async with serving(new_disk()) as server:
            told: list[tuple[Happening, str]] = []
            server.recorder._events.subscribe(
                lambda event: told.append((event.happening, event.recording))
            )
            held: list[Record] = []
            journal = server.recorder._unfinished._journal
            with monkeypatch.context() as slow:
                slow.setattr(server.recorder._unfinished, "_journal", Mock(append=held.append))
                refused = await Line(server).open(1)
                assert isinstance(refused, Error)
                assert refused.code == "storage-failed"
            for record in held:
                journal.append(record)
            monkeypatch.setattr("micwire.opening.ANSWER_TIMEOUT_S", 5)
            assert isinstance(await Line(server).open(1), Opened)
            assert told == [(Happening.STARTED, number(1))]

    asyncio.run(run())


def test_a_path_is_free_again_if_nobody_waited_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micwire.opening.ANSWER_TIMEOUT_S", 0.05)

    async def run() -> None:
        async with serving(new_disk()) as server:
            is_over = threading.Event()
            server.recorder._opener._is_taken = lambda path: not is_over.wait(5)
            try:
                assert isinstance(await Line(server).open(1), Error)
                assert server.recorder._unfinished.paths == set()
            finally:
                is_over.set()

    asyncio.run(run())
