"""The plain socket of a real server: pages that know no protocol, and what befalls them."""

import asyncio
import json
import random
import urllib.parse
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.faults.harness import Message, Server, claimed_data, dial, digest, receive_type
from tests.faults.proxy import Harm, Proxy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a server that all tests here share."""
    with Server(tmp_path_factory.mktemp("plain") / "data") as started:
        yield started


def address(**query: object) -> str:
    """Return the address of the plain socket with a query."""
    return "/websocket?" + urllib.parse.urlencode(query)


def stored(floats: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    """Return floats as 16-bit integers, by the words of the contract."""
    wide = np.nan_to_num(floats.astype(np.float64) * 32_768, nan=0, posinf=1e9, neginf=-1e9)
    return bytes(np.clip(np.rint(wide), -32_768, 32_767).astype("<i2").tobytes())


async def recorded(server: Server, title: str, status: str = "finished") -> tuple[Path, Message]:
    """Wait for a recording of that title to end; return its WAV and its sidecar."""
    for _ in range(100):
        for path in server.data.glob("*/*.json"):
            fields = json.loads(path.read_text())
            if fields["title"] == title and fields["status"] == status:
                return path.with_suffix(".wav"), fields
        await asyncio.sleep(0.05)
    raise AssertionError(f"no {status} recording {title}")


def noise(seed: int, samples: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return samples of which some lie beyond full scale."""
    return np.random.default_rng(seed).uniform(-1.01, 1.01, samples).astype("<f4")


def test_a_page_of_fifteen_lines_needs_no_query_and_no_goodbye(server: Server) -> None:
    async def run() -> None:
        sound = noise(1, 20 * 1_024)
        before = set(server.data.glob("*/*.wav"))
        socket = await dial(server.port, "/websocket")
        for i in range(0, len(sound), 1_024):
            await socket.send(sound[i : i + 1_024].tobytes())
        await socket.close()
        for _ in range(100):
            new = set(server.data.glob("*/*.wav")) - before
            ready = [
                p
                for p in new
                if p.with_suffix(".json").exists()
                and json.loads(p.with_suffix(".json").read_text())["status"] == "finished"
            ]
            if ready:
                break
            await asyncio.sleep(0.05)
        with wave.open(str(ready[0])) as reader:
            assert (reader.getframerate(), reader.getnchannels()) == (48_000, 1)
            assert reader.readframes(1 << 30) == stored(sound)

    asyncio.run(run())


def test_ragged_messages_clipping_nan_text_and_nothing_at_all(server: Server) -> None:
    async def run() -> None:
        rng = random.Random(4)
        sound = noise(2, 60_000)
        sound[100:105] = [np.nan, np.inf, -np.inf, 1.25, -1.0]
        expected = stored(sound)
        socket = await dial(server.port, address(events=1, title="ragged", sample_rate=44_100))
        opened = await receive_type(socket, "opened")
        assert opened["frames"] == 0
        position = 0
        while position < len(sound):
            count = rng.choice([0, 1, 7, 1_024, 16_384])
            await socket.send(sound[position : position + count].tobytes())
            await socket.send("hello")  # other text is ignored
            position += count
        await socket.send("finish")
        finished = await receive_type(socket, "finished")
        await socket.wait_closed()
        assert socket.close_code == 1_000
        assert finished["frames"] == 60_000
        assert finished["digest"] == digest(expected)
        path, fields = await recorded(server, "ragged")
        with wave.open(str(path)) as reader:
            assert reader.getframerate() == 44_100
            assert reader.readframes(1 << 30) == expected
        scaled = np.rint(sound.astype(np.float64) * 32_768)
        assert fields["clipped"] == int(np.sum((scaled > 32_767) | (scaled < -32_768)))
        assert fields["nonfinite"] == 3

    asyncio.run(run())


@pytest.mark.parametrize(
    ("encoding", "store", "channels"),
    [
        ("pcm_f32le", "pcm_f32le", 2),
        ("pcm_f32le", "pcm_s24le", 2),
        ("pcm_f32le", "pcm_s16le", 3),
        ("pcm_s16le", "pcm_s16le", 2),
        ("pcm_s16le", "pcm_s24le", 1),
        ("pcm_s24le", "pcm_f32le", 1),
    ],
)
def test_what_is_stored_is_what_was_asked_for(
    server: Server, encoding: str, store: str, channels: int
) -> None:
    async def run() -> None:
        title = f"{encoding}-{store}-{channels}"
        # Values that every encoding holds exactly: multiples of 2^-15 within full scale.
        integers = np.random.default_rng(3).integers(-32_768, 32_768, 6_000 * channels)
        sent = {
            "pcm_f32le": (integers / 32_768).astype("<f4").tobytes(),
            "pcm_s16le": integers.astype("<i2").tobytes(),
            "pcm_s24le": (integers * 256)
            .astype("<i4")
            .view(np.uint8)
            .reshape(-1, 4)[:, :3]
            .tobytes(),
        }
        socket = await dial(
            server.port, address(encoding=encoding, store=store, channels=channels, title=title)
        )
        frame_bytes = len(sent[encoding]) // 6_000
        for i in range(0, 6_000, 500):
            await socket.send(sent[encoding][i * frame_bytes : (i + 500) * frame_bytes])
        await socket.send("finish")
        await socket.wait_closed()
        assert socket.close_code == 1_000
        path, fields = await recorded(server, title)
        assert claimed_data(path) == sent[store]
        assert (fields["clipped"], fields["nonfinite"]) == (0, 0)
        assert soundfile.info(path).subtype == {
            "pcm_f32le": "FLOAT", "pcm_s24le": "PCM_24", "pcm_s16le": "PCM_16"
        }[store]  # fmt: skip

    asyncio.run(run())


def test_half_a_frame_closes_with_4400_and_what_came_is_kept(server: Server) -> None:
    async def run() -> None:
        sound = noise(5, 3_000)
        socket = await dial(server.port, address(title="odd", channels=2))
        await socket.send(sound.tobytes())
        await socket.send(sound[:1].tobytes())  # half of a stereo frame
        await socket.send(sound.tobytes())  # comes too late
        with pytest.raises(ConnectionClosed):
            await socket.recv()  # nothing is said without events=1
        assert (socket.close_code, socket.close_reason) == (4400, "bad-message")
        path, _ = await recorded(server, "odd")
        assert claimed_data(path) == stored(sound)

    asyncio.run(run())


def test_a_message_over_the_limit_closes_with_4413(server: Server) -> None:
    async def run() -> None:
        socket = await dial(server.port, address(title="large", events=1))
        await socket.send(bytes((1 << 20) + 4))
        await socket.wait_closed()
        assert socket.close_code == 4413

    asyncio.run(run())


@pytest.mark.parametrize(
    "query",
    ["encoding=mp3", "sample_rate=fast", "sample_rate=-1", "sample_rate=1", "channels=0",
     "channels=65", "store=pcm_u8", "events=2", "channels=1&channels=2", "title=%ff"],
)  # fmt: skip
def test_a_bad_query_gets_400(server: Server, query: str) -> None:
    async def run() -> None:
        with pytest.raises(InvalidStatus) as refused:
            await dial(server.port, f"/websocket?{query}")
        assert refused.value.response.status_code == 400
        assert refused.value.response.body

    asyncio.run(run())


def test_two_pages_at_once_make_two_files_and_a_cut_keeps_what_came(server: Server) -> None:
    async def page(port: int, seed: int, messages: int) -> None:
        try:
            socket = await dial(port, address(title=f"page {seed}"))
            sound = noise(seed, 1_024 * messages)
            for i in range(0, len(sound), 1_024):
                await socket.send(sound[i : i + 1_024].tobytes())
                await asyncio.sleep(0.005)
            await socket.close()
        except (ConnectionClosed, OSError):
            pass

    async def run() -> None:
        cut = Harm("reset", up_bytes=100_001)
        async with Proxy(server.port, lambda: cut) as proxy:
            await asyncio.gather(
                page(server.port, 11, 60), page(server.port, 12, 60), page(proxy.port, 13, 60)
            )
        for seed in (11, 12):
            path, _ = await recorded(server, f"page {seed}")
            assert claimed_data(path) == stored(noise(seed, 1_024 * 60))
        path, _ = await recorded(server, "page 13")
        kept = claimed_data(path)
        whole = stored(noise(13, 1_024 * 60))
        assert 10 * 2_048 <= len(kept) < len(whole)
        assert kept == whole[: len(kept)]
        assert len(kept) % 2_048 == 0, "whole messages"

    asyncio.run(run())


def test_a_page_whose_server_is_killed_has_an_interrupted_recording(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        sound = noise(21, 8_192)
        socket = await dial(server.port, address(title="killed", events=1))
        await socket.send(sound.tobytes())
        await receive_type(socket, "opened")
        while (await receive_type(socket, "ack"))["frames"] != 8_192:
            pass
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        path, fields = await recorded(server, "killed", "interrupted")
        assert claimed_data(path) == stored(sound)
        assert fields["frames"] == 8_192
        # A graceful stop is no crash: what came is the recording.
        socket = await dial(server.port, address(title="stopped"))
        await socket.send(sound.tobytes())
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(server.stop) == 0
        path, fields = await recorded(server, "stopped")
        assert claimed_data(path) == stored(sound)

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))
