"""Recordings that would have the same file name get files of their own."""

import asyncio
import json
import struct
import wave
from pathlib import Path

from websockets.asyncio.client import connect

from tests.faults.harness import Server

KEY = "q83vEjRWeJq83vEjRWeJqg"
RECORDINGS = 8


def test_recordings_opened_at_once_with_the_same_first_digits_share_no_file(tmp_path: Path) -> None:
    async def record(port: int, number: int) -> None:
        recording = f"7f3a9c2e-0b51-4d7e-9a68-{number:012x}"
        opening = {"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 1}
        async with connect(
            f"ws://127.0.0.1:{port}/v1/stream",
            subprotocols=["micwire.v1"],  # type: ignore[list-item]  # a NewType of str
            compression=None,
        ) as link:
            message = {"type": "open", "recording": recording, "key": KEY, "format": opening}
            await link.send(json.dumps(message))
            assert json.loads(await link.recv())["type"] == "opened"
            await link.send(struct.pack("<Q", 0) + struct.pack("<h", number) * 100)
            await link.send(json.dumps({"type": "finish", "frames": 100}))
            while json.loads(await link.recv())["type"] != "finished":
                pass

    async def record_all(port: int) -> None:
        await asyncio.gather(*(record(port, number) for number in range(RECORDINGS)))

    with Server(tmp_path / "data") as server:
        asyncio.run(record_all(server.port))
    contents = set()
    for path in (tmp_path / "data").glob("*/*.wav"):
        with wave.open(str(path), "rb") as sound:
            contents.add(sound.readframes(sound.getnframes()))
    assert contents == {struct.pack("<h", number) * 100 for number in range(RECORDINGS)}
