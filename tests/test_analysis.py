"""Analyzers beside a recording server: right results, each once, and never at the sound's cost.

The server is a real process; what analyzers say is compared with the WAV as soundfile
reads it. The analyzers at the end of this file are loaded by that process.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection

import micwire
from micwire.analysis import Analysis, AnalyzerError, load_analyzers
from micwire.analyzers.level import level
from micwire.client import Recording, connect
from micwire.core.audio import Encoding, Format
from micwire.core.interfaces import Readable, ResultReader
from micwire.core.recording import About, RecordingState
from micwire.core.records import Kind, Record, recording_bytes
from micwire.core.wire import Open, Result
from micwire.files import LocalFiles
from tests.faults.harness import (
    Message,
    Microphone,
    Server,
    Signal,
    audio,
    check_recording,
    dial,
    new_key,
    receive,
    wait_ack,
    wait_until,
    wav_path,
    whole,
)

MONO = Format(Encoding.S16, 48_000, 1)
HERE = "tests.test_analysis"
HOLD_S = 0.25
"""So long `finished` may wait for results."""


def noise(audio_format: Format, frames: int, seed: int = 1) -> NDArray[np.float32]:
    """Return sound that differs by channel and by time, shape (frames, channels)."""
    dice = np.random.default_rng(seed)
    shape = (frames, audio_format.channels)
    swell = 0.1 + 0.8 * np.abs(np.sin(np.arange(frames) / 9_000))
    gains = 1 / (1 + np.arange(audio_format.channels))
    return (dice.uniform(-1, 1, shape) * swell[:, np.newaxis] * gains).astype(np.float32)


async def heard(recording: Recording, results: list[Result]) -> None:
    """Collect all results of a recording."""
    async for result in recording.results():
        results.append(result)


@contextlib.asynccontextmanager
async def listened(
    server: Server, audio_format: Format, analyzers: Sequence[str] | None = None
) -> AsyncIterator[tuple[Recording, list[Result]]]:
    """Open a recording whose results are collected; the list is whole after the block."""
    results: list[Result] = []
    url = f"http://127.0.0.1:{server.port}"
    connection = connect(url, audio_format, analyzers=analyzers)
    async with connection as recording:
        hearing = asyncio.create_task(heard(recording, results))
        yield recording, results
    await hearing


def lines_of(server: Server, recording: str) -> list[Message]:
    """Return what the file of results holds; nothing if there is none."""
    paths = server.data.glob(f"*/*_{recording[:8]}.jsonl")
    return [json.loads(line) for path in paths for line in path.read_text().split("\n") if line]


def as_lines(results: Sequence[Result]) -> list[Message]:
    return [
        {"type": "result", **{name: getattr(result, name) for name in Result.__slots__}}
        for result in results
    ]


def check_levels(
    server: Server, recording: str, results: Sequence[Result], lost: Sequence[tuple[int, int]] = ()
) -> None:
    """Check that levels cover all frames but those lost, once, with the values of the WAV."""
    samples, rate = soundfile.read(wav_path(server.data, recording), always_2d=True)
    covered = np.zeros(len(samples), dtype=int)
    position = 0
    for result in results:
        first, end = result.first_frame, result.first_frame + result.frames
        assert first >= position
        position = end
        covered[first:end] += 1
        part = samples[first:end]
        assert isinstance(result.data, dict)
        for channel in range(samples.shape[1]):
            peak = 20 * np.log10(np.abs(part[:, channel]).max())
            rms = 10 * np.log10(2 * np.mean(part[:, channel] ** 2))
            assert result.data["peak_dbfs"][channel] == pytest.approx(peak, abs=0.006)
            assert result.data["rms_dbfs"][channel] == pytest.approx(rms, abs=0.006)
        is_short = result.frames < rate // 20
        assert not is_short or end == len(samples) or any(end == start for start, _ in lost)
        assert result.final
    expected = np.ones(len(samples), dtype=int)
    for start, stop in lost:
        expected[start:stop] = 0
    assert np.array_equal(covered, expected)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "Server":
    """Return a server that the tests below share."""
    names = ["level", *(f"{HERE}:{name}" for name in ("chatty", "broken", "sleepy", "spinning"))]
    started = Server(tmp_path_factory.mktemp("analysis") / "data", analyzers=",".join(names))
    started.start()
    return started


@pytest.fixture(autouse=True, scope="module")
def _end(server: Server) -> "object":
    yield
    server.kill()
    assert "Traceback" not in server.stderr


# ---- what is said ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "audio_format",
    [
        Format(Encoding.S16, 48_000, 2),
        Format(Encoding.S24, 44_100, 3),
        Format(Encoding.F32, 16_000, 1),
    ],
    ids=lambda audio_format: audio_format.encoding,
)
def test_levels_are_those_of_the_wav(server: Server, audio_format: Format) -> None:
    sound = noise(audio_format, 100_001)
    cuts = sorted(random.Random(1).sample(range(1, len(sound)), 60))

    async def run() -> tuple[str, list[Result]]:
        async with listened(server, audio_format, ["level"]) as (recording, results):
            for block in np.split(sound, cuts):
                await recording.write(block)
                await asyncio.sleep(0.005)
        return recording.id, results

    recording, results = asyncio.run(run())
    check_levels(server, recording, results)
    assert [result.seq for result in results] == [*range(1, len(results) + 1)]
    assert lines_of(server, recording) == as_lines(results)


def test_results_arrive_while_somebody_speaks(server: Server) -> None:
    async def run() -> None:
        async with listened(server, MONO, ["level"]) as (recording, results):
            for number in range(1, 6):
                await recording.write(noise(MONO, 2_400))
                assert await wait_until(lambda n=number: len(results) == n, 3)  # type: ignore[misc]  # a default binds it

    asyncio.run(run())


def test_frames_that_were_lost_are_not_analysed(server: Server) -> None:
    async def run() -> tuple[str, list[Result]]:
        async with listened(server, MONO, ["level"]) as (recording, results):
            await recording.gap(100, "capture")
            await recording.write(noise(MONO, 5_000))
            await recording.gap(3_000, "overflow")
            await recording.gap(48_000 * 60, "suspended")
            await recording.write(noise(MONO, 1_000))
            await recording.gap(1, "device")
            await asyncio.sleep(0.1)
            await recording.write(noise(MONO, 7_000))
        return recording.id, results

    recording, results = asyncio.run(run())
    end = 8_100 + 48_000 * 60
    lost = [(0, 100), (5_100, end), (end + 1_000, end + 1_001)]
    check_levels(server, recording, results, lost)
    assert len(results) == 3 + 1 + 3


def test_sound_that_comes_faster_than_it_is_analysed_is_analysed_from_the_wav(
    server: Server,
) -> None:
    async def run() -> tuple[str, list[Result], list[Message]]:
        async with listened(server, MONO, ["level", "chatty"]) as (recording, results):
            for number in range(40):
                await recording.write(noise(MONO, 96_000, seed=number))
        assert await wait_until(lambda: len(lines_of(server, recording.id)) == 1_600 + 160, 20)
        return recording.id, results, lines_of(server, recording.id)

    recording, results, lines = asyncio.run(run())
    assert lines[: len(results)] == as_lines(results)
    assert [line["seq"] for line in lines] == [*range(1, len(lines) + 1)]
    everything = [Result(**{k: v for k, v in line.items() if k != "type"}) for line in lines]  # type: ignore[arg-type]  # from JSON
    check_levels(server, recording, [r for r in everything if r.analyzer == "level"])
    said = [r for r in everything if r.analyzer == "chatty"]
    assert [r.first_frame for r in said] == [*range(0, 3_840_000, 24_000)]


def test_the_client_chooses_and_is_told_of_what_does_not_exist(server: Server) -> None:
    async def run(analyzers: list[str]) -> tuple[set[str], list[str]]:
        async with listened(server, MONO, analyzers) as (recording, results):
            await recording.write(noise(MONO, 48_000))
        return {result.analyzer for result in results}, [n.code for n in recording.notices]

    assert asyncio.run(run(["chatty"])) == ({"chatty"}, [])
    assert asyncio.run(run(["level", "nonsense"])) == ({"level"}, ["unknown-analyzer"])
    assert asyncio.run(run(["nonsense"])) == (set(), ["unknown-analyzer"])
    assert asyncio.run(run([])) == (set(), [])


def test_the_plain_socket_hears_results_before_finished(server: Server) -> None:
    async def run() -> list[str]:
        socket = await dial(server.port, "/websocket?events=1&sample_rate=48000")
        for _ in range(4):
            await socket.send(noise(Format(Encoding.F32, 48_000, 1), 1_000).tobytes())
        await socket.send("finish")
        kinds: list[str] = []
        async for text in socket:
            message = json.loads(text)
            if message["type"] != "ack" and message.get("analyzer", "level") == "level":
                kinds.append(message["type"])
        return kinds

    kinds = asyncio.run(run())
    assert kinds[0] == "opened"
    assert [kind for kind in kinds if kind in ("result", "finished")] == [
        "result",
        "result",
        "finished",
    ]


# ---- broken links ----------------------------------------------------------------------


class Link:
    """Raw connections to one recording, by hand; to be used with `async with`."""

    def __init__(self, server: Server) -> None:
        self.recording, self._key = str(uuid4()), new_key()
        self.sound = Signal(channels=1)
        self.frames = 0
        self._server = server
        self._sockets: list[ClientConnection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for socket in self._sockets:
            socket.transport.abort()
            await socket.wait_closed()

    @property
    def socket(self) -> ClientConnection:
        return self._sockets[-1]

    async def open(self, **fields: object) -> Message:
        self._sockets.append(await dial(self._server.port))
        wire_format = {"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 1}
        message = {"type": "open", "recording": self.recording, "key": self._key}
        await self.send(message | {"format": wire_format, "analyzers": ["level"]} | fields)
        return await receive(self.socket)

    async def send(self, message: Message) -> None:
        await self.socket.send(json.dumps(message))

    async def speak(self, frames: int) -> None:
        await self.socket.send(audio(self.frames, self.sound.data(self.frames, frames)))
        self.frames += frames

    async def hear(self, until: int) -> list[int]:
        """Return the numbers of results up to one of them."""
        found: list[int] = []
        while not found or found[-1] < until:
            message = await receive(self.socket)
            if message["type"] == "result":
                found.append(whole(message, "seq"))
                assert whole(message, "first_frame") == (found[-1] - 1) * 2_400
        return found

    async def finish(self) -> list[int]:
        """Finish; return the numbers of the results that came before `finished`."""
        await self.send({"type": "finish", "frames": self.frames})
        return await self.ending()

    async def ending(self) -> list[int]:
        found: list[int] = []
        while (message := await receive(self.socket))["type"] != "finished":
            if message["type"] == "result":
                found.append(whole(message, "seq"))
        return found


def test_a_client_that_returns_hears_what_it_has_not_seen_and_goes_on(server: Server) -> None:
    async def run() -> None:
        async with Link(server) as link:
            await link.open()
            await link.speak(24_000)
            assert await link.hear(10) == [*range(1, 11)]
            await link.speak(24_000)
            await link.socket.close()
            assert await wait_until(lambda: len(lines_of(server, link.recording)) == 20, 5)

            opened = await link.open(results_since=7)  # the analysis went on without it
            assert opened["frames"] == 48_000
            assert await link.hear(20) == [*range(8, 21)]
            await link.speak(2_400)
            assert await link.hear(21) == [21]
            await link.open()  # over the older connection, and from the first
            assert await link.hear(21) == [*range(1, 22)]
            await link.speak(100)
            assert await link.finish() == [22]

            await link.open(results_since=20)  # of a finished recording
            assert await link.ending() == [21, 22]

    asyncio.run(run())


def test_an_analyzer_that_is_chosen_late_begins_at_the_first_frame(server: Server) -> None:
    async def run() -> None:
        async with Link(server) as link:
            await link.open(analyzers=[])
            await link.speak(48_000)
            await wait_ack(link.socket, 48_000)
            await link.socket.close()
            await link.open(analyzers=["level"])
            assert await link.hear(20) == [*range(1, 21)]

    asyncio.run(run())


def test_a_client_that_does_not_read_misses_nothing(server: Server) -> None:
    async def run() -> None:
        async with Link(server) as link:
            await link.open()
            link.socket.transport.pause_reading()
            for _ in range(60):
                await link.speak(480_000)
                await asyncio.sleep(0.01)
            path = wav_path(server.data, link.recording).with_suffix(".jsonl")
            assert await wait_until(lambda: path.read_bytes().count(b"\n") == 12_000, 30)
            link.socket.transport.resume_reading()
            assert await link.hear(12_000) == [*range(1, 12_001)]

    asyncio.run(run())


# ---- analyzers that misbehave ----------------------------------------------------------


def test_one_that_raises_is_stopped_and_named_and_harms_nobody(server: Server) -> None:
    async def run() -> tuple[Recording, list[Result]]:
        async with listened(server, MONO, ["level", "broken", "chatty"]) as (recording, results):
            for block in np.split(noise(MONO, 96_000), 20):
                await recording.write(block)
                await asyncio.sleep(0.01)
        return recording, results

    recording, results = asyncio.run(run())
    [notice] = recording.notices
    assert notice.code == "analyzer-stopped"
    assert re.search(r"\bbroken\b.*ZeroDivisionError", notice.message)
    check_levels(server, recording.id, [r for r in results if r.analyzer == "level"])
    assert [r.first_frame for r in results if r.analyzer == "chatty"] == [*range(0, 96_000, 24_000)]
    assert [r.first_frame for r in results if r.analyzer == "broken"] == [0, 4_800]
    assert 'reason="ZeroDivisionError' in server.stderr


class Listening(Microphone):
    """A microphone with analyzers; it notes how long it waits for `finished`."""

    analyzers: Sequence[str] = ()
    finished_after_s = 0.0

    @property
    def open_message(self) -> Message:
        return super().open_message | {"analyzers": list(self.analyzers)}

    async def _send(self, socket: ClientConnection, opened: Message) -> None:
        await super()._send(socket, opened)
        self.finished_after_s = -time.monotonic()

    async def _listen(self, socket: ClientConnection, opened: Message) -> Message:
        finished = await super()._listen(socket, opened)
        self.finished_after_s += time.monotonic()
        return finished


@pytest.mark.parametrize("name", ["broken", "sleepy", "spinning"])
def test_one_that_misbehaves_delays_no_ack_and_holds_up_no_end(server: Server, name: str) -> None:
    microphones = [Listening(server.port, 96_000, speed=48_000, seed=seed) for seed in range(6)]
    for microphone in microphones[:3]:
        microphone.analyzers = ["level", name]

    async def run() -> None:
        await asyncio.gather(*(microphone.record() for microphone in microphones))

    asyncio.run(run())
    for microphone in microphones:
        assert microphone.rules.connections == 1
        assert microphone.rules.worst_ack_s < 1
        assert 0 < microphone.finished_after_s < HOLD_S + 2
        check_recording(server.data, microphone, has_ffprobe=False)


@pytest.mark.parametrize("name", ["says_nan", "says_a_lot", "says_a_list", "exits"])
def test_one_that_says_what_cannot_be_sent_is_stopped(name: str, tmp_path: Path) -> None:
    with Server(tmp_path / "data", analyzers=f"level,{HERE}:{name}") as server:

        async def run() -> tuple[Recording, list[Result]]:
            async with listened(server, MONO) as (recording, results):
                await recording.write(noise(MONO, 10_000))
            return recording, results

        recording, results = asyncio.run(run())
        assert [name in notice.message for notice in recording.notices] == [True]
        check_levels(server, recording.id, results)


def test_a_server_stops_in_time_whatever_an_analyzer_does(tmp_path: Path) -> None:
    with Server(tmp_path / "data", analyzers=f"{HERE}:sleepy,{HERE}:spinning") as server:

        async def run() -> None:
            async with Link(server) as link:
                await link.open(analyzers=["sleepy", "spinning"])
                await link.speak(24_000)
                await asyncio.sleep(0.3)

        asyncio.run(run())
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 5


def test_a_disk_that_takes_no_results_costs_no_sound(tmp_path: Path) -> None:
    with Server(tmp_path / "data", analyzers="level") as server:

        async def run() -> Recording:
            async with listened(server, MONO) as (recording, results):
                await recording.write(noise(MONO, 4_800))
                assert await wait_until(lambda: len(results) == 2, 3)
                assert await wait_until(lambda: any(server.data.glob("*/*.wav")), 5)
                path = wav_path(server.data, recording.id).with_suffix(".jsonl")
                path.unlink()
                path.mkdir()
                await recording.write(noise(MONO, 4_800))
                assert await wait_until(lambda: bool(recording.notices), 3)
                await recording.write(noise(MONO, 4_800))
            return recording

        recording = asyncio.run(run())
        assert [notice.code for notice in recording.notices] == ["analysis-stopped"]
        assert recording.receipt is not None
        assert recording.receipt.matches


# ---- the end, and what comes after -----------------------------------------------------


def test_a_deleted_recording_leaves_no_results(server: Server) -> None:
    async def run() -> None:
        async with Link(server) as link:
            await link.open(analyzers=["level", "chatty", "spinning"])
            await link.speak(240_000)
            assert await wait_until(lambda: len(lines_of(server, link.recording)) > 3, 5)
            await link.send({"type": "discard"})
            async for _ in link.socket:
                pass
            assert link.socket.close_code == 1000
            await asyncio.sleep(0.3)
            assert not list(server.data.glob(f"*/*{link.recording[:8]}*"))

    asyncio.run(run())


@pytest.mark.parametrize("place", ["results.write.before", "results.write.after", ""])
def test_a_killed_server_neither_loses_nor_doubles_a_result(place: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data, analyzers=f"level,{HERE}:chatty,{HERE}:seldom") as server:
        server.kill()
        dice = random.Random(place)

        def start() -> None:
            failpoint = f"{place}:{dice.randint(1, 12)}" if place else ""
            server.start(failpoint=failpoint)

        start()
        is_over = threading.Event()

        def keep_it_up() -> None:
            for _ in range(6):
                if place:
                    server.wait()
                else:
                    is_over.wait(dice.uniform(0.1, 0.5))
                    server.kill()
                start() if _ < 5 else server.start(failpoint="")

        async def run() -> tuple[Recording, list[Result]]:
            killer = asyncio.create_task(asyncio.to_thread(keep_it_up))
            async with listened(server, MONO) as (recording, results):
                number = 0
                while number < 60 or not killer.done():
                    await recording.write(noise(MONO, 2_000, seed=number))
                    await asyncio.sleep(0.02)
                    number += 1
            await killer
            return recording, results

        recording, results = asyncio.run(run())
        assert [result.seq for result in results] == [*range(1, len(results) + 1)]
        assert lines_of(server, recording.id) == as_lines(results)
        assert recording.receipt is not None
        check_levels(server, recording.id, [r for r in results if r.analyzer == "level"])
        for name, every in (("chatty", 24_000), ("seldom", 48_000)):
            firsts = [r.first_frame for r in results if r.analyzer == name]
            assert firsts == [*range(0, recording.receipt.frames, every)], name


def test_without_analyzers_there_are_no_results_and_an_asking_client_is_told(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "data") as server:

        async def run(analyzers: list[str] | None) -> list[str]:
            async with listened(server, MONO, analyzers) as (recording, results):
                await recording.write(noise(MONO, 48_000))
            assert results == []
            return [notice.code for notice in recording.notices]

        assert asyncio.run(run(None)) == []
        assert asyncio.run(run(["level"])) == ["unknown-analyzer"]
        assert not list(server.data.glob("2*/*.jsonl"))
        assert httpx.get(f"http://127.0.0.1:{server.port}/healthz", trust_env=False).is_success


# ---- the runner alone ------------------------------------------------------------------


class SlowFiles(LocalFiles):
    """A disk on which a write takes until it is let go."""

    def __init__(self) -> None:
        self.writes = threading.Semaphore(0)
        self.may_write = threading.Event()

    def write(self, descriptor: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
        self.writes.release()
        assert self.may_write.wait(10)
        return super().write(descriptor, buffers, offset)


def state_of(frames: int = 0) -> RecordingState:
    """Return a recording with a file name, and so many frames."""
    return RecordingState(About(str(uuid4()), "", MONO, "day/name", ""), 1, frames)


def asking(state: RecordingState, seen: int = 0) -> Open:
    return Open(state.about.recording, "", MONO, results_since=seen)


async def taken(reader: ResultReader, count: int) -> list[int]:
    """Take until so many results are there; return their numbers."""
    found: list[int] = []

    def take() -> bool:
        found.extend(json.loads(text)["seq"] for text in reader.take())
        return len(found) >= count

    assert await wait_until(take, 5), found
    return found


def test_results_that_are_being_written_are_not_passed_over(tmp_path: Path) -> None:
    async def run() -> None:
        files = SlowFiles()
        analysis = Analysis(tmp_path, files, {"level": level}, lambda recording: None)
        analysis.start()
        state = state_of()
        reader = analysis.attach(state, asking(state), lambda: None)
        assert reader is not None
        key = recording_bytes(state.about.recording)
        analysis.feed([Record(Kind.FRAMES, key, 0, 4_800, 1, bytes(9_600))])
        # On the loop, so that it hears of nothing before the write has begun.
        assert files.writes.acquire(timeout=5)
        for _ in range(5):
            assert reader.take() == []
            await asyncio.sleep(0.01)
        files.may_write.set()
        assert await taken(reader, 2) == [1, 2]
        await asyncio.to_thread(analysis.close)

    asyncio.run(run())


@pytest.mark.parametrize("is_deleted", [False, True])
def test_nothing_is_kept_of_recordings_that_are_over(tmp_path: Path, is_deleted: bool) -> None:
    async def run() -> None:
        analysis = Analysis(tmp_path, LocalFiles(), {"level": level}, lambda recording: None)
        analysis.start()
        for _ in range(5):
            state = state_of()
            key = recording_bytes(state.about.recording)
            reader = analysis.attach(state, asking(state), lambda: None)
            assert reader is not None
            analysis.feed([Record(Kind.FRAMES, key, 0, 3_000, 1, bytes(6_000))])
            assert analysis.recordings == 1
            if is_deleted:
                analysis.forget(key)
                analysis.feed([Record(Kind.DELETE, key)])
            else:
                analysis.feed([Record(Kind.FINISH, key, 3_000)])
                assert await taken(reader, 2) == [1, 2]
                async with asyncio.timeout(5):
                    await reader.all_taken()
            (tmp_path / "day" / "name.jsonl").unlink(missing_ok=is_deleted)
            analysis.feed([Record(Kind.CLOSED, key)])
            assert await wait_until(lambda: analysis.recordings == 0, 5)
        await asyncio.to_thread(analysis.close)

    asyncio.run(run())


def test_an_analyzer_that_is_behind_waits_for_the_wav_and_then_reads_it(tmp_path: Path) -> None:
    sound = Signal(channels=1)
    path = tmp_path / "sound"
    path.write_bytes(b"head" + sound.data(0, 480_000))
    frames_there = 0
    firsts: list[float] = []

    @micwire.analyzer(block_ms=1_000)
    def first(block: micwire.AudioBlock) -> dict[str, object]:
        firsts.append(float(block.samples[0, 0]) * 32_768)
        return {}

    async def run() -> None:
        nonlocal frames_there
        analysis = Analysis(
            tmp_path,
            LocalFiles(),
            {"first": first},
            lambda recording: Readable(str(path), MONO, 4, frames_there),
        )
        analysis.start()
        state = state_of(432_000)
        reader = analysis.attach(state, asking(state), lambda: None)
        assert reader is not None
        await asyncio.sleep(0.2)
        assert firsts == []
        frames_there = 300_000
        assert await taken(reader, 6) == [*range(1, 7)]  # it looks again by itself
        key = recording_bytes(state.about.recording)
        tail = Record(Kind.FRAMES, key, 432_000, 48_000, 1, sound.data(432_000, 48_000))
        frames_there = 432_000
        analysis.feed([tail])
        assert await taken(reader, 4) == [*range(7, 11)]
        await asyncio.to_thread(analysis.close)

    asyncio.run(run())
    starts = [np.frombuffer(sound.data(second * 48_000, 1), "<i2")[0] for second in range(10)]
    assert firsts == starts


def test_an_analyzer_that_hangs_keeps_little_of_the_sound(tmp_path: Path) -> None:
    hangs = threading.Event()

    @micwire.analyzer()
    def hanging(block: micwire.AudioBlock) -> None:
        assert hangs.wait(30)

    async def run() -> None:
        analysis = Analysis(tmp_path, LocalFiles(), {"h": hanging}, lambda recording: None)
        analysis.start()
        state = state_of()
        analysis.attach(state, asking(state), lambda: None)
        key = recording_bytes(state.about.recording)
        tracemalloc.start()
        for number in range(200):
            analysis.feed([Record(Kind.FRAMES, key, number * 50_000, 50_000, 1, bytes(100_000))])
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
        tracemalloc.stop()
        hangs.set()
        await asyncio.to_thread(analysis.close)

    asyncio.run(run())


# ---- the settings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["nonsense"], "no analyzer 'nonsense'; installed are: .*level"),
        (["nowhere.at.all:x"], "can't be imported.*nowhere"),
        ([f"{HERE}:noise"], "decorate it"),
        (["level", "micwire.analyzers.level:level"], "two analyzers of the name 'level'"),
        ([f"{HERE}:größer als"], "no name"),
    ],
)
def test_an_analyzer_that_cannot_be_used_is_a_sentence(names: list[str], words: str) -> None:
    with pytest.raises(AnalyzerError, match=words):
        load_analyzers(names)


def test_built_in_analyzers_are_found_by_name() -> None:
    assert load_analyzers(["level"]) == {"level": level}


def test_the_command_line_names_analyzers_and_refuses_what_is_none(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("micwire")), "serve", "--port", "0"]
    command += ["--data", str(tmp_path / "data"), "--analyzers", "level,level2"]
    done = subprocess.run(
        [*command, "--analyzers", "b"], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("micwire: there is no analyzer 'level2'; installed are:")


# ---- analyzers that the server process loads -------------------------------------------


@micwire.analyzer(block_ms=500)
def chatty(block: micwire.AudioBlock) -> dict[str, object]:
    """Say much about each half second."""
    return {"text": f"ß\n{block.first_frame}" * 20, "first": float(block.samples[0, 0])}


@micwire.analyzer(block_ms=100)
def seldom(block: micwire.AudioBlock) -> dict[str, object] | None:
    """Say something of each tenth block only."""
    return {} if block.first_frame % 48_000 == 0 else None


@micwire.analyzer(block_ms=100)
def broken(block: micwire.AudioBlock) -> dict[str, object]:
    """Fail in the third block."""
    return {"one": 1 // (block.first_frame - 9_600)}


@micwire.analyzer(block_ms=100)
def sleepy(block: micwire.AudioBlock) -> None:
    """Take far too long."""
    time.sleep(30)


@micwire.analyzer(block_ms=100)
def spinning(block: micwire.AudioBlock) -> None:
    """Keep the interpreter busy for three times as long as the block."""
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass


@micwire.analyzer()
def says_nan(block: micwire.AudioBlock) -> dict[str, object]:
    """Say what JSON has no word for."""
    return {"level": float("nan")}


@micwire.analyzer()
def says_a_lot(block: micwire.AudioBlock) -> dict[str, object]:
    """Say more than a result may hold."""
    return {"text": "x" * 100_000}


def _list(block: micwire.AudioBlock) -> dict[str, object]:
    found: object = [block.frames]
    return found  # type: ignore[return-value]  # the mistake under test


says_a_list = micwire.analyzer()(_list)


@micwire.analyzer()
def exits(block: micwire.AudioBlock) -> dict[str, object]:
    """Try to end the server."""
    sys.exit(3)
