"""The Python client against a real server process, over links that break in every way.

Every frame names its own index; WAVs are read back with `wave` or soundfile, not with
our own reader.
"""

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import wave
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

import micwire
from micwire.client import Recording, UnreachableError, connect, encode_samples
from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.errors import RefusedError
from micwire.core.wire import (
    Ack,
    Audio,
    Error,
    Finish,
    Finished,
    Notice,
    Open,
    Opened,
    Result,
    ServerMessage,
    decode_client,
    encode_server,
)

STEREO = Format(Encoding.S16, 48_000, 2)
UUID = "0b9f1f3c-6a1e-4d57-9c40-0d9c6a6f1a11"


class Server:
    """A `micwire serve` process on a directory of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "micwire", "serve", "--data", str(self.data)]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.port = int(line.rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        self.process.terminate()
        self._reap()

    def _reap(self) -> None:
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def sidecar(self, recording: Recording) -> dict[str, Any]:
        # Written behind the acknowledgements, so not there at once.
        while not (found := list(self.data.glob(f"*/*_{recording.id[:8]}.json"))):
            time.sleep(0.02)
        [path] = found
        facts: dict[str, Any] = json.loads(path.read_text())
        return facts

    def wav(self, recording: Recording) -> Path:
        [path] = self.data.glob(f"*/*_{recording.id[:8]}.wav")
        return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("data"))
    yield server
    server.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server for tests that kill or stop it."""
    server = Server(tmp_path)
    yield server
    server.stop()


class Proxy:
    """A TCP link that can be cut, or swallow everything without a word."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._writers: list[asyncio.StreamWriter] = []
        self._is_swallowing: list[bool] = []
        self.connections = 0

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = len(self._is_swallowing)
        self._is_swallowing.append(False)
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers += [writer, back]
            await asyncio.gather(
                self._copy(reader, back, number), self._copy(there, writer, number)
            )
        writer.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if not self._is_swallowing[number]:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def swallow(self) -> None:
        """From now on nothing comes through the connections there are; new ones work."""
        self._is_swallowing = [True] * len(self._is_swallowing)


def stereo(first_frame: int, frames: int) -> bytes:
    """Return 16-bit stereo frames: the index's high half left, its low half right."""
    index = np.arange(first_frame + 1, first_frame + frames + 1, dtype=np.uint32)
    halves = np.stack([index >> 16, index & 0xFFFF], axis=1)
    return halves.astype("<u2").tobytes()


def wave_bytes(path: Path) -> bytes:
    with wave.open(str(path), "rb") as reader:
        return reader.readframes(reader.getnframes())


async def write_paced(recording: Recording, seconds: float) -> None:
    """Write 20 ms blocks in real time."""
    frames = STEREO.sample_rate // 50
    for _ in range(round(seconds * 50)):
        await recording.write(stereo(recording.captured_frames, frames))
        await asyncio.sleep(0.02)


async def soon(is_so: Callable[[], bool], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not is_so():  # noqa: ASYNC110 -- what is waited for has no event of its own
            await asyncio.sleep(0.01)


def has_more_connections(proxy: Proxy, number: int) -> bool:
    return proxy.connections > number


# ---- against the real server -----------------------------------------------------------


def test_every_frame_written_is_in_the_wav_with_title_and_metadata(server: Server) -> None:
    states: list[str] = []

    async def run() -> Recording:
        recording = micwire.connect(
            server.url,
            STEREO,
            title="Grüße",
            metadata={"room": "7"},
            device="Mic 1",
            on_state=states.append,
        )
        async with recording:
            for block in (1, 480, 100_000, 7):
                await recording.write(stereo(recording.captured_frames, block))
        return recording

    recording = asyncio.run(run())
    truth = stereo(0, 100_488)
    assert wave_bytes(server.wav(recording)) == truth
    assert recording.receipt is not None
    assert recording.receipt.digest == recording.digest == digest_of(truth)
    assert recording.receipt.matches is True
    assert recording.durable_frames == recording.receipt.frames == 100_488
    facts = server.sidecar(recording)
    assert (facts["title"], facts["metadata"]) == ("Grüße", {"room": "7"})
    assert (facts["device"], facts["status"]) == ("Mic 1", "finished")
    assert states == ["online", "finished"]
    with urllib.request.urlopen(recording.url) as answer:
        assert answer.read() == server.wav(recording).read_bytes()


FORMATS = [
    (Encoding.S16, 1, np.int16, "int16"),
    (Encoding.S24, 2, np.int32, "int32"),
    (Encoding.F32, 3, np.float32, "float32"),
    (Encoding.S16, 64, np.int16, "int16"),
    (Encoding.F32, 64, np.float32, "float32"),
]


@pytest.mark.parametrize(("encoding", "channels", "dtype", "read_as"), FORMATS)
def test_arrays_of_the_exact_dtype_arrive_bit_for_bit(
    server: Server, encoding: Encoding, channels: int, dtype: type, read_as: str
) -> None:
    dice = np.random.default_rng(channels)
    bits = 8 * encoding.sample_bytes
    samples: NDArray[Any]
    if encoding.is_float:
        samples = dice.standard_normal((3_000, channels)).astype(dtype)
    else:
        low = -(1 << (bits - 1))
        samples = dice.integers(low, -low, (3_000, channels)).astype(dtype)

    async def run() -> Recording:
        async with connect(server.url, Format(encoding, 44_100, channels)) as recording:
            for start in range(0, 3_000, 441):
                await recording.write(samples[start : start + 441])
        return recording

    recording = asyncio.run(run())
    read, rate = soundfile.read(server.wav(recording), dtype=read_as, always_2d=True)
    if encoding is Encoding.S24:
        read = read >> 8  # libsndfile gives 24 bits as the upper ones of 32
    assert rate == 44_100
    assert read.tobytes() == samples.tobytes()
    assert recording.clipped == 0


def test_gaps_are_zeros_and_listed_and_marks_are_kept(server: Server) -> None:
    async def run() -> Recording:
        async with connect(server.url, STEREO) as recording:
            await recording.write(stereo(0, 1_000))
            await recording.mark("before")
            await recording.gap(500, "overflow", exact=False)
            await recording.write(stereo(1_500, 1_000))
            await recording.mark("early", 10)
        return recording

    recording = asyncio.run(run())
    truth = stereo(0, 1_000) + bytes(2_000) + stereo(1_500, 1_000)
    assert wave_bytes(server.wav(recording)) == truth
    facts = server.sidecar(recording)
    gap = {"first_frame": 1_000, "frames": 500, "cause": "overflow", "exact": False}
    assert facts["gaps"] == [gap]
    assert facts["marks"] == [{"frame": 10, "label": "early"}, {"frame": 1_000, "label": "before"}]
    assert facts["digest"] == digest_of(truth)


def test_a_recording_without_frames_finishes(server: Server) -> None:
    async def run() -> Recording:
        async with connect(server.url, STEREO) as recording:
            pass
        return recording

    recording = asyncio.run(run())
    assert recording.receipt is not None
    assert recording.receipt.frames == 0


def test_a_discarded_recording_leaves_nothing(server: Server) -> None:
    async def run() -> Recording:
        async with connect(server.url, STEREO) as recording:
            await recording.write(stereo(0, 10_000))
            await soon(lambda: recording.durable_frames > 0)
            await recording.discard()
            assert recording.state == "discarded"
            with pytest.raises(ValueError, match="over"):
                await recording.write(stereo(0, 1))
        return recording

    recording = asyncio.run(run())
    assert recording.receipt is None
    assert list(server.data.glob(f"*/*_{recording.id[:8]}*")) == []


def test_an_exception_leaves_the_recording_to_be_continued(server: Server) -> None:
    async def leave() -> Recording:
        with suppress(KeyError):
            async with connect(server.url, STEREO) as recording:
                await recording.write(stereo(0, 5_000))
                await soon(lambda: recording.durable_frames == 5_000)
                raise KeyError
        return recording

    async def go_on(earlier: Recording) -> None:
        again = connect(server.url, STEREO, continued=(earlier.id, earlier.key))
        async with again:
            assert again.captured_frames == 5_000
            await again.write(stereo(5_000, 5_000))
        assert again.receipt is not None
        assert (again.receipt.matches, again.receipt.digest) == (None, digest_of(stereo(0, 10_000)))

    recording = asyncio.run(leave())
    assert server.sidecar(recording)["status"] == "recording"
    asyncio.run(go_on(recording))
    assert wave_bytes(server.wav(recording)) == stereo(0, 10_000)


def test_another_key_is_forbidden_at_once(server: Server) -> None:
    async def run() -> None:
        async with connect(server.url, STEREO) as recording:
            await recording.write(stereo(0, 10))
            stranger = connect(server.url, STEREO, continued=(recording.id, "x" * 32))
            with pytest.raises(RefusedError) as refused:
                async with stranger:
                    pass
            assert (refused.value.code, refused.value.frames) == ("forbidden", 0)

    asyncio.run(run())


def test_who_is_taken_over_hears_it_with_the_frames_that_are_safe(server: Server) -> None:
    async def run() -> None:
        async with connect(server.url, STEREO) as first:
            await first.write(stereo(0, 1_000))
            await soon(lambda: first.durable_frames == 1_000)
            async with connect(server.url, STEREO, continued=(first.id, first.key)):
                await soon(lambda: first.state == "failed")
                await first.write(stereo(1_000, 1))

    with pytest.raises(RefusedError) as refused:
        asyncio.run(run())
    assert (refused.value.code, refused.value.frames) == ("taken-over", 1_000)


# ---- links and servers that break --------------------------------------------------------


def test_a_server_that_is_killed_and_started_again_loses_nothing(own_server: Server) -> None:
    async def run() -> Recording:
        async with connect(own_server.url, STEREO) as recording:
            await write_paced(recording, 0.5)
            await asyncio.to_thread(own_server.kill)
            await write_paced(recording, 0.5)
            await asyncio.to_thread(own_server.start)
            await soon(lambda: recording.state == "online", 15)
            await write_paced(recording, 0.3)
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
        return recording

    recording = asyncio.run(run())
    assert wave_bytes(own_server.wav(recording)) == stereo(0, recording.captured_frames)
    assert recording.captured_frames == 65 * 960


def test_a_server_that_stops_politely_is_waited_for(own_server: Server) -> None:
    async def run() -> Recording:
        async with connect(own_server.url, STEREO) as recording:
            await write_paced(recording, 0.3)
            await asyncio.to_thread(own_server.stop)
            await soon(lambda: recording.state == "offline")
            assert recording.durable_frames == recording.captured_frames
            await write_paced(recording, 0.2)
            await asyncio.to_thread(own_server.start)
        return recording

    recording = asyncio.run(run())
    assert wave_bytes(own_server.wav(recording)) == stereo(0, recording.captured_frames)


def test_a_link_that_is_cut_again_and_again_loses_nothing(server: Server) -> None:
    async def run() -> tuple[Recording, Proxy]:
        async with Proxy(server.port) as proxy, connect(proxy.url, STEREO) as recording:
            for number in range(6):
                await soon(partial(has_more_connections, proxy, number), timeout_s=20)
                await write_paced(recording, 0.2)
                await recording.mark(f"at {recording.captured_frames}")
                proxy.cut()
            await recording.write(stereo(recording.captured_frames, 200_000))
            await asyncio.sleep(0.01)
            proxy.cut()
        return recording, proxy

    recording, proxy = asyncio.run(run())
    assert proxy.connections >= 6
    assert wave_bytes(server.wav(recording)) == stereo(0, recording.captured_frames)
    assert len(server.sidecar(recording)["marks"]) == 6


def test_a_link_that_swallows_everything_is_left_within_four_seconds(server: Server) -> None:
    async def run() -> tuple[Recording, float]:
        async with Proxy(server.port) as proxy, connect(proxy.url, STEREO) as recording:
            await write_paced(recording, 0.3)
            proxy.swallow()
            start = time.monotonic()
            while recording.state == "online":
                await write_paced(recording, 0.1)
                assert time.monotonic() - start < 10
            silent_s = time.monotonic() - start
            await soon(lambda: recording.state == "online")
        return recording, silent_s

    recording, silent_s = asyncio.run(run())
    assert 2 < silent_s < 4
    assert wave_bytes(server.wav(recording)) == stereo(0, recording.captured_frames)


def test_writing_waits_when_too_much_is_not_acknowledged(own_server: Server) -> None:
    limit = 100_000

    async def run() -> Recording:
        async with connect(own_server.url, STEREO, max_unacked_bytes=limit) as recording:
            os.kill(own_server.process.pid, signal.SIGSTOP)
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        for _ in range(1_000):
                            await recording.write(stereo(recording.captured_frames, 1_000))
                assert limit - 4_000 < recording.unacked_bytes <= limit
            finally:
                os.kill(own_server.process.pid, signal.SIGCONT)
            for _ in range(200):
                await recording.write(stereo(recording.captured_frames, 1_000))
                assert recording.unacked_bytes <= limit
            # A block larger than the limit is taken once nothing else waits.
            await recording.write(stereo(recording.captured_frames, 50_000))
        return recording

    recording = asyncio.run(run())
    assert wave_bytes(own_server.wav(recording)) == stereo(0, recording.captured_frames)


def test_a_program_that_blocks_its_own_loop_does_not_blame_the_link(server: Server) -> None:
    states: list[str] = []

    async def run() -> None:
        async with connect(server.url, STEREO, on_state=states.append) as recording:
            await recording.write(stereo(0, 1_000))
            time.sleep(3.5)  # noqa: ASYNC251 -- as a careless program would
            await recording.write(stereo(1_000, 1_000))

    asyncio.run(run())
    assert states == ["online", "finished"]


def test_nobody_there_is_an_error_in_time_and_says_why() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    async def run() -> None:
        async with connect(f"http://127.0.0.1:{port}", STEREO, open_timeout_s=0.6):
            pass

    start = time.monotonic()
    with pytest.raises(UnreachableError, match=rf"127\.0\.0\.1:{port} within 0\.6 s: .+"):
        asyncio.run(run())
    assert time.monotonic() - start < 2


def test_without_a_timeout_sound_is_kept_until_there_is_a_server(own_server: Server) -> None:
    own_server.stop()

    async def run() -> Recording:
        async with connect(own_server.url, STEREO, open_timeout_s=None) as recording:
            await recording.write(stereo(0, 1_000))
            assert recording.state == "connecting"
            await asyncio.to_thread(own_server.start)
        return recording

    assert wave_bytes(own_server.wav(asyncio.run(run()))) == stereo(0, 1_000)


def test_what_no_server_has_heard_of_is_discarded_at_once() -> None:
    async def run() -> None:
        async with connect("http://127.0.0.1:1", STEREO, open_timeout_s=None) as recording:
            await recording.write(stereo(0, 1_000))
            await asyncio.sleep(0.4)  # it has tried, and waits to try again
            await recording.discard()
            assert recording.state == "discarded"

    start = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - start < 1.5


def test_a_server_of_something_else_is_an_error_at_once(server: Server) -> None:
    async def run() -> None:
        async with connect(f"{server.url}/elsewhere", STEREO):
            pass

    start = time.monotonic()
    with pytest.raises((UnreachableError, RefusedError), match="HTTP 40"):
        asyncio.run(run())
    assert time.monotonic() - start < 2


# ---- against a server that says what we like ---------------------------------------------


class Script:
    """One connection to a server that a test plays."""

    def __init__(self, socket: ServerConnection, message: Open) -> None:
        self._socket = socket
        self.opened = message

    async def tell(self, *messages: ServerMessage) -> None:
        for message in messages:
            await self._socket.send(encode_server(message))

    async def open(self, frames: int = 0) -> None:
        opened = Opened(self.opened.recording, 1, frames, "durable", 50, 1 << 20, 1 << 20)
        await self.tell(opened)

    async def receive_until_finish(self) -> bytes:
        """Return all sound up to `finish`."""
        received = b""
        while True:
            message = decode_client(await self._socket.recv())
            if isinstance(message, Finish):
                return received
            assert isinstance(message, Audio)
            received += message.data

    async def refuse(self, code: str, close_code: int, frames: int = 0) -> None:
        await self.tell(Error(code, "because", frames))
        await self._socket.close(close_code, code)

    async def finish(self, digest: str, frames: int) -> None:
        await self.tell(Finished(self.opened.recording, frames, digest, None, "/elsewhere.wav"))


@asynccontextmanager
async def scripted(play: Callable[[Script], Coroutine[Any, Any, None]]) -> AsyncIterator[str]:
    async def handle(socket: ServerConnection) -> None:
        message = decode_client(await socket.recv())
        assert isinstance(message, Open)
        await play(Script(socket, message))
        await socket.wait_closed()

    protocols = [Subprotocol("micwire.v1")]
    async with serve(handle, "127.0.0.1", 0, subprotocols=protocols) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def test_results_and_notices_reach_the_program_and_results_end_with_the_recording() -> None:
    results = [Result("level", n, 0, 1, True, {"n": n}) for n in range(3)]

    async def play(script: Script) -> None:
        await script.open()
        await script.tell(Notice("slow", "late"), *results)
        sound = await script.receive_until_finish()
        await script.finish(digest_of(sound), len(sound) // 4)

    async def run() -> tuple[list[Result], Recording]:
        async with scripted(play) as url:
            async with connect(url, STEREO) as recording:
                await recording.write(stereo(0, 10))
            return [result async for result in recording.results()], recording

    heard, recording = asyncio.run(run())
    assert heard == results
    assert list(recording.notices) == [Notice("slow", "late")]
    assert recording.url.startswith("http://127.0.0.1:")
    assert recording.url.endswith("/elsewhere.wav")


def test_another_digest_than_ours_is_an_error() -> None:
    async def play(script: Script) -> None:
        await script.open()
        sound = await script.receive_until_finish()
        await script.finish("0" * 64, len(sound) // 4)

    async def run() -> None:
        async with scripted(play) as url, connect(url, STEREO) as recording:
            await recording.write(stereo(0, 10))

    with pytest.raises(RefusedError, match="digest") as refused:
        asyncio.run(run())
    assert (refused.value.code, refused.value.frames) == ("diverged", 10)


def test_a_server_without_room_is_tried_again_and_a_lying_one_is_not() -> None:
    opens: list[Open] = []

    async def play(script: Script) -> None:
        opens.append(script.opened)
        if len(opens) == 1:
            await script.refuse("storage-full", 4507)
        elif len(opens) == 2:
            await script.open()
            await script.tell(Ack(0))
            await asyncio.sleep(0.1)
            await script.tell(Ack(10))
            await asyncio.sleep(0.1)
            await script.refuse("storage-failed", 4500, 10)
        else:
            await script.open(5)  # half of what it acknowledged

    async def run() -> None:
        async with scripted(play) as url, connect(url, STEREO) as recording:
            await recording.write(stereo(0, 20))

    with pytest.raises(RefusedError) as refused:
        asyncio.run(run())
    assert [message.acked for message in opens] == [None, None, 10]
    assert (refused.value.code, refused.value.frames) == ("diverged", 10)


def test_a_token_goes_with_each_handshake() -> None:
    headers: list[str | None] = []

    async def handle(socket: ServerConnection) -> None:
        assert socket.request is not None
        headers.append(socket.request.headers.get("Authorization"))
        await socket.close(4401, "unauthenticated")

    async def run() -> None:
        protocols = [Subprotocol("micwire.v1")]
        async with serve(handle, "127.0.0.1", 0, subprotocols=protocols) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"http://127.0.0.1:{port}", STEREO, token="t0p"):
                pass

    with pytest.raises(RefusedError) as refused:
        asyncio.run(run())
    assert refused.value.code == "unauthenticated"
    assert headers == ["Bearer t0p"]


def test_a_mistake_in_on_state_is_raised_and_not_swallowed() -> None:
    async def play(script: Script) -> None:
        await script.open()

    def on_state(state: str) -> None:
        raise RuntimeError(state)

    async def run() -> None:
        async with scripted(play) as url, connect(url, STEREO, on_state=on_state):
            pass

    with pytest.raises(RuntimeError, match="online"):
        asyncio.run(run())


# ---- arguments and samples ------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        connect(url, STEREO)


def test_fields_that_the_wire_does_not_take_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="started_at"):
        connect("http://127.0.0.1:1", STEREO, started_at="yesterday")
    with pytest.raises(ValueError, match="16384 bytes"):
        connect("http://127.0.0.1:1", STEREO, metadata={"text": "x" * 20_000})
    with pytest.raises(ValueError, match="waited for"):
        connect("http://127.0.0.1:1", STEREO, continued=(UUID, "y" * 22), open_timeout_s=None)


def test_floats_are_rounded_and_clipped_and_counted() -> None:
    given = np.array([0, 0.5, -1, 1, 1.25, math.nan, math.inf, -math.inf], np.float32)
    for encoding, highest in ((Encoding.S16, 32_767), (Encoding.S24, 8_388_607)):
        mono = Format(encoding, 48_000, 1)
        data, clipped, nonfinite = encode_samples(given, mono)
        size = encoding.sample_bytes
        values = [
            int.from_bytes(data[at : at + size], "little", signed=True)
            for at in range(0, len(data), size)
        ]
        low = -highest - 1
        assert values == [0, (highest + 1) // 2, low, highest, highest, 0, highest, low]
        assert (clipped, nonfinite) == (4, 3)


def test_floats_stay_bit_for_bit_in_a_float_recording() -> None:
    given = np.array([[1.25, math.nan, -0.0]], np.float32)
    mono = Format(Encoding.F32, 48_000, 3)
    assert encode_samples(given, mono) == (given.tobytes(), 0, 0)


@pytest.mark.parametrize(
    ("samples", "encoding", "words"),
    [
        (np.zeros((3, 1), np.float32), Encoding.S16, "shape"),
        (np.zeros(6, np.float32), Encoding.S16, "shape"),
        (np.zeros((3, 2), np.float64), Encoding.F32, "float64"),
        (np.zeros((3, 2), np.int16), Encoding.F32, "int16"),
        (np.full((3, 2), 1 << 23, np.int32), Encoding.S24, "24 bits"),
    ],
)
def test_samples_that_do_not_suit_the_format_are_refused(
    samples: NDArray[Any], encoding: Encoding, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        encode_samples(samples, Format(encoding, 48_000, 2))
