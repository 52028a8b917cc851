"""The waveform of a recording over HTTP: of one that grows, one that is over, one that is gone."""

import asyncio
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.faults.harness import Microphone, Server, Signal, audio, dial, wait_ack

SOUND = Signal()
FRAMES = 200_000


def wanted(first: int, frames: int) -> NDArray[np.float64]:
    """Return the highest sample of each channel, full scale at 128."""
    samples = np.frombuffer(SOUND.data(first, frames), "<i2").reshape(-1, 2)
    highest: NDArray[np.float64] = samples.max(axis=0) / 256
    return highest


def test_peaks_follow_a_recording_and_go_with_it(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, FRAMES)
        base = f"http://127.0.0.1:{server.port}/api/v1/recordings/{microphone.recording}"
        socket = await dial(server.port)
        await microphone.open(socket)
        async with httpx.AsyncClient(trust_env=False) as http:
            empty = (await http.get(f"{base}/peaks")).json()
            assert (empty["columns"], empty["min"], empty["max"]) == (0, [[], []], [[], []])
            for first in range(0, FRAMES, 8_000):
                microphone.sent = first + 8_000
                await socket.send(audio(first, SOUND.data(first, 8_000)))
                microphone.acked = await wait_ack(socket, first + 8_000)
            async with asyncio.timeout(20):  # the file is about a second behind the ack
                frames = 0
                while frames < 51_000:
                    frames = (await http.get(f"{base}/peaks")).json()["frames"]
            reply = await http.get(f"{base}/peaks?columns=50&first_frame=1000&frames=50000")
            assert reply.headers["cache-control"] == "no-store"
            found = reply.json()
            assert (found["first_frame"], found["frames"], found["channels"]) == (1_000, 50_000, 2)
            assert found["known_frames"] == 50_000
            assert [len(found["min"][0]), len(found["max"][1])] == [50, 50]
            highest = np.array(found["max"]).max(axis=1)
            assert (np.abs(highest - wanted(1_000, 50_000)) < 1.0).all()
            assert np.array(found["min"]).min() >= -128
            await socket.close()
            await microphone.record()
            finished = (await http.get(f"{base}/peaks")).json()
            assert (finished["frames"], finished["columns"]) == (FRAMES, 1_000)
            beyond = (await http.get(f"{base}/peaks?first_frame=300000")).json()
            assert (beyond["first_frame"], beyond["frames"]) == (FRAMES, 0)
            for bad in ("columns=0", "columns=4001", "columns=x", "frames=-1", "first_frame=1e3"):
                reply = await http.get(f"{base}/peaks?{bad}")
                assert (reply.status_code, reply.json()["code"]) == (400, "bad-request")

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))


def test_a_recording_that_is_not_there_has_no_peaks(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        url = f"http://127.0.0.1:{server.port}/api/v1/recordings"
        for recording in ("00000000-0000-4000-8000-000000000000", "x", "%00"):
            reply = httpx.get(f"{url}/{recording}/peaks", trust_env=False)
            assert (reply.status_code, reply.json()["code"]) == (404, "not-found")
