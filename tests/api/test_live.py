"""Listening while somebody speaks: what is durable, in order, until it ends."""

import asyncio
import contextlib
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from micwire.core import wav
from micwire.core.audio import Encoding, Format
from tests.faults.harness import Microphone, Server, Signal, audio, dial, wait_ack

SOUND = Signal()
STEREO = Format(Encoding.S16, 48_000, 2)
WAIT_S = 20


class Listener:
    """Hears a recording live, in a task of its own."""

    def __init__(self, url: str) -> None:
        self.heard = bytearray()
        self.is_over = False
        self._task = asyncio.create_task(self._listen(url))

    async def _listen(self, url: str) -> None:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as http,
            http.stream("GET", url) as reply,
        ):
            assert reply.status_code == 200
            assert reply.headers["content-type"] == "audio/wav"
            async for piece in reply.aiter_bytes():
                self.heard += piece
        self.is_over = True

    async def has(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.heard) < count:
                if self._task.done():
                    await self._task
                    assert len(self.heard) >= count, "it ended too early"
                await asyncio.sleep(0.02)

    async def ended(self) -> None:
        async with asyncio.timeout(WAIT_S):
            await self._task

    async def leave(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


def url_of(server: Server, recording: str, query: str = "") -> str:
    return f"http://127.0.0.1:{server.port}/api/v1/recordings/{recording}/live{query}"


async def say(socket: object, first: int, frames: int) -> None:
    await socket.send(audio(first, SOUND.data(first, frames)))  # type: ignore[attr-defined]
    await wait_ack(socket, first + frames)  # type: ignore[arg-type]


def test_listeners_hear_all_that_is_durable_until_the_end(tmp_path: Path) -> None:
    header = wav.stream_header(STEREO)

    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 60_000)
        socket = await dial(server.port)
        await microphone.open(socket)
        whole = Listener(url_of(server, microphone.recording, "?from=0"))
        part = Listener(url_of(server, microphone.recording, "?from=10000"))
        await whole.has(len(header))
        await say(socket, 0, 20_000)
        await whole.has(len(header) + 20_000 * 4)
        await part.has(len(header) + 10_000 * 4)
        late = Listener(url_of(server, microphone.recording))
        await late.has(len(header))
        await say(socket, 20_000, 20_000)
        await late.has(len(header) + 20_000 * 4)
        assert not whole.is_over
        await socket.close()
        microphone.sent = microphone.acked = 40_000
        await microphone.record()
        for listener, first in ((whole, 0), (part, 10_000), (late, 20_000)):
            await listener.ended()
            assert bytes(listener.heard) == header + SOUND.data(first, 60_000 - first)
        over = Listener(url_of(server, microphone.recording, "?from=59999"))
        await over.ended()
        assert bytes(over.heard) == header + SOUND.data(59_999, 1)

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))


def test_a_listener_of_a_deleted_recording_hears_no_more(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 60_000)
        socket = await dial(server.port)
        await microphone.open(socket)
        listener = Listener(url_of(server, microphone.recording, "?from=0"))
        await say(socket, 0, 20_000)
        await listener.has(44 + 80_000)
        await socket.send('{"type":"discard"}')
        await listener.ended()
        assert len(listener.heard) == 44 + 80_000
        async with httpx.AsyncClient(trust_env=False) as http:
            reply = await http.get(url_of(server, microphone.recording))
            assert (reply.status_code, reply.json()["code"]) == (404, "not-found")

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))


def test_a_listener_does_not_keep_a_server_that_stops(tmp_path: Path) -> None:
    async def run(server: Server) -> float:
        microphone = Microphone(server.port, 60_000)
        socket = await dial(server.port)
        await microphone.open(socket)
        listener = Listener(url_of(server, microphone.recording))
        await listener.has(44)
        began = time.monotonic()
        await asyncio.to_thread(server.stop)
        with contextlib.suppress(httpx.HTTPError):
            await listener.ended()
        return time.monotonic() - began

    with Server(tmp_path / "data") as server:
        assert asyncio.run(run(server)) < 4


def test_a_listener_that_does_not_read_slows_nobody(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 600_000, speed=1_000_000)
        socket = await dial(server.port)
        await microphone.open(socket)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1_000)
        path = f"/api/v1/recordings/{microphone.recording}/live?from=0"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        await reader.readline()
        listener = Listener(url_of(server, microphone.recording, "?from=0"))
        for first in range(0, 240_000, 8_000):
            await say(socket, first, 8_000)
        await listener.has(44 + 240_000 * 4)
        await listener.leave()
        writer.close()
        await socket.close()

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))


def test_ffmpeg_listens(tmp_path: Path) -> None:
    target = tmp_path / "heard.wav"

    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 48_000)
        socket = await dial(server.port)
        await microphone.open(socket)
        await say(socket, 0, 20_000)
        url = url_of(server, microphone.recording, "?from=0")
        command = ["ffmpeg", "-v", "error", "-y", "-i", url, "-c", "copy", str(target)]
        ffmpeg = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        await asyncio.sleep(0.3)
        await socket.close()
        microphone.sent = microphone.acked = 20_000
        await microphone.record()
        async with asyncio.timeout(WAIT_S):
            _, errors = await ffmpeg.communicate()
        assert (ffmpeg.returncode, errors) == (0, b"")

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))
    content = target.read_bytes()
    assert content[wav.parse(content, len(content)).data_offset :] == SOUND.data(0, 48_000)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_header_of_a_stream_says_that_nobody_knows_its_length(
    encoding: Encoding, channels: int
) -> None:
    audio_format = Format(encoding, 44_100, channels)
    info = wav.parse(wav.stream_header(audio_format), 1 << 62)
    assert (info.format, info.claimed_bytes) == (audio_format, None)
