"""Ranges of a WAV by RFC 9110, of a finished recording and of one that grows."""

import asyncio
import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.faults.harness import (
    Microphone,
    Server,
    Signal,
    audio,
    dial,
    digest,
    wait_ack,
    wav_path,
)

SOUND = Signal()
FRAMES = 20_000


@dataclass
class Served:
    """A server with one finished recording."""

    server: Server
    recording: str
    whole: bytes
    http: httpx.Client

    @property
    def url(self) -> str:
        """Where its WAV is."""
        return f"/api/v1/recordings/{self.recording}/audio"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Record something, finished, to be read by all tests here."""
    with Server(tmp_path_factory.mktemp("audio") / "data") as server:
        microphone = Microphone(server.port, FRAMES)
        finished = asyncio.run(microphone.record())
        whole = wav_path(server.data, microphone.recording).read_bytes()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as http:
            found = Served(server, microphone.recording, whole, http)
            assert finished["url"] == found.url
            yield found


def test_the_whole_file_is_the_file_on_disk(served: Served) -> None:
    reply = served.http.get(served.url)
    assert reply.status_code == 200
    assert reply.content == served.whole
    assert reply.headers["content-type"] == "audio/wav"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["content-length"] == str(len(served.whole))
    name = wav_path(served.server.data, served.recording).name
    assert reply.headers["content-disposition"] == f'inline; filename="{name}"'
    assert reply.headers["etag"].startswith(f'"{digest(SOUND.data(0, FRAMES))}-')
    assert reply.headers["x-micwire-duration"] == f"{FRAMES / 48_000:.6f}"


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, None),
        ("bytes=10-99", 10, 100),
        ("bytes=40-300000", 40, None),
        ("bytes=-1", -1, None),
        ("bytes=-1000", -1000, None),
        ("bytes=-999999999", 0, None),
        ("bytes=60000-60000", 60_000, 60_001),
        ("bytes=0-9223372036854775807", 0, None),
        ("bytes= 5-6", 5, 7),
    ],
)
def test_a_range_is_that_part_of_the_file(
    served: Served, asked: str, first: int, end: int | None
) -> None:
    size = len(served.whole)
    for method in ("GET", "HEAD"):
        reply = served.http.request(method, served.url, headers={"range": asked})
        expected = served.whole[first:end]
        start = first % size if first else 0
        assert reply.status_code == 206
        assert reply.headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/{size}"
        assert reply.headers["content-length"] == str(len(expected))
        assert reply.content == (expected if method == "GET" else b"")


@pytest.mark.parametrize("asked", ["bytes=84096-", "bytes=99999999-", "bytes=-0"])
def test_a_range_behind_the_end_gets_416_and_the_length(served: Served, asked: str) -> None:
    reply = served.http.get(served.url, headers={"range": asked})
    assert reply.status_code == 416
    assert reply.headers["content-range"] == f"bytes */{len(served.whole)}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-4", "bytes=-", "bytes=a-b", "frames=0-1", "bytes", "bytes=0-1,5-6", ""]
)
def test_a_range_that_is_none_or_several_gets_the_whole(served: Served, asked: str) -> None:
    reply = served.http.get(served.url, headers={"range": asked})
    assert (reply.status_code, reply.content) == (200, served.whole)


def test_if_range_holds_only_for_these_very_bytes(served: Served) -> None:
    etag = served.http.head(served.url).headers["etag"]
    for condition, status in ((etag, 206), ('"other"', 200), (f"W/{etag}", 200)):
        reply = served.http.get(served.url, headers={"range": "bytes=0-9", "if-range": condition})
        assert reply.status_code == status


def test_head_says_what_get_sends(served: Served) -> None:
    head, get = served.http.head(served.url), served.http.get(served.url)
    assert head.content == b""
    assert head.status_code == get.status_code
    for name in ("content-length", "content-type", "etag", "accept-ranges"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize(
    "recording",
    ["00000000-0000-4000-8000-000000000000", "x", "..%2f..%2fetc", "%00", "a" * 36, "A" * 36],
)
def test_what_is_not_there_gets_404_as_a_problem(served: Served, recording: str) -> None:
    for path in (f"/api/v1/recordings/{recording}", f"/api/v1/recordings/{recording}/audio"):
        reply = served.http.get(path)
        assert reply.status_code == 404


def test_other_methods_are_not_allowed(served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert served.http.request(method, served.url).status_code == 405


def test_a_growing_recording_is_a_whole_wav_at_each_moment(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 96_000)
        base = f"http://127.0.0.1:{server.port}"
        url = f"/api/v1/recordings/{microphone.recording}/audio"
        socket = await dial(server.port)
        await microphone.open(socket)
        async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
            empty = await http.get(url)
            with wave.open(io.BytesIO(empty.content)) as reader:
                assert reader.getnframes() == 0
            seen = 0
            for first in range(0, 48_000, 6_000):
                microphone.sent = first + 6_000
                await socket.send(audio(first, SOUND.data(first, 6_000)))
                microphone.acked = await wait_ack(socket, first + 6_000)
                reply = await http.get(url)
                assert reply.headers["cache-control"] == "no-store"
                assert "etag" not in reply.headers
                with wave.open(io.BytesIO(reply.content)) as reader:
                    frames = reader.getnframes()
                    assert seen <= frames <= first + 6_000
                    assert reader.readframes(frames) == SOUND.data(0, frames)
                    seen = frames
                tail = await http.get(url, headers={"range": "bytes=100-"})
                if len(reply.content) > 100:
                    assert tail.status_code == 206
                    assert tail.content[: len(reply.content) - 100] == reply.content[100:]
            await asyncio.sleep(1.5)  # a second is how far the file may be behind
            assert len((await http.get(url)).content) > 48_000 * 4
            await socket.close()
            await microphone.record()
            assert (await http.get(url)).content[-4:] == SOUND.data(95_999, 1)
            fields = (await http.get(f"/api/v1/recordings/{microphone.recording}")).json()
            assert (fields["status"], fields["frames"]) == ("finished", 96_000)

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))


def test_a_deleted_recording_can_be_read_by_no_route(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 96_000)
        base = f"http://127.0.0.1:{server.port}/api/v1/recordings/{microphone.recording}"
        socket = await dial(server.port)
        await microphone.open(socket)
        microphone.sent = 6_000
        await socket.send(audio(0, SOUND.data(0, 6_000)))
        await wait_ack(socket, 6_000)
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(f"{base}/audio")).status_code == 200
            await socket.send('{"type":"discard"}')
            await socket.wait_closed()
            for path in (base, f"{base}/audio"):
                assert (await http.get(path)).status_code == 404

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))
