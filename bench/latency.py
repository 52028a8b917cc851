"""How long after its last frame was sent does a result arrive? On loopback, in real time.

    python -m bench.latency --streams 10 --block-ms 20

One micwire with the analyzer `level`, and the Python client as microphones. The latency
of a result is the time from handing the block with its last frame to the client up to
having read the result; how long the client takes is in it.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
from collections import deque
from pathlib import Path
from time import perf_counter

import numpy as np

from bench.run import add_common_options, machine, quantile
from bench.server import Server, micwire_command
from micwire.client import Recording, connect
from micwire.core.audio import Encoding, Format

_FORMAT = Format(Encoding.S16, 48_000, 1)
_WARM_UP_S = 2.0


class _Stream:
    """One microphone in real time, and what it hears back."""

    def __init__(self, url: str, block_frames: int, warm_up_frames: int) -> None:
        self.latencies_s: list[float] = []
        self._url = url
        self._block = np.zeros(block_frames, dtype=np.int16)
        self._block[::7] = 12_345
        self._warm_up_frames = warm_up_frames
        self._sent: deque[tuple[int, float]] = deque()
        """The ends of blocks, and when they were sent."""

    async def run(self, seconds: float, delay_s: float) -> None:
        """Send for so long; raise what goes wrong."""
        await asyncio.sleep(delay_s)  # microphones don't beat time together
        async with connect(self._url, _FORMAT, analyzers=["level"]) as recording:
            hearing = asyncio.create_task(self._hear(recording))
            began, blocks = perf_counter(), round(seconds * _FORMAT.sample_rate / len(self._block))
            for number in range(1, blocks + 1):
                end = number * len(self._block)
                await asyncio.sleep(max(0.0, began + end / _FORMAT.sample_rate - perf_counter()))
                self._sent.append((end, perf_counter()))
                await recording.write(self._block)
        await hearing

    async def _hear(self, recording: Recording) -> None:
        async for result in recording.results():
            now, end = perf_counter(), result.first_frame + result.frames
            while self._sent and self._sent[0][0] < end:
                self._sent.popleft()
            if self._sent and end > self._warm_up_frames:
                self.latencies_s.append(now - self._sent[0][1])


async def _run(url: str, arguments: argparse.Namespace) -> list[float]:
    block_frames = round(arguments.block_ms * _FORMAT.sample_rate / 1000)
    warm_up_frames = round(_WARM_UP_S * _FORMAT.sample_rate)
    streams = [_Stream(url, block_frames, warm_up_frames) for _ in range(arguments.streams)]
    async with asyncio.TaskGroup() as group:
        for number, stream in enumerate(streams):
            delay_s = number / len(streams)
            group.create_task(stream.run(arguments.seconds + _WARM_UP_S, delay_s))
    return sorted(latency for stream in streams for latency in stream.latencies_s)


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.latency", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--streams", type=int, default=10, help="microphones (10)")
    parser.add_argument("--block-ms", type=float, default=20, help="sound in a message (20)")
    parser.add_argument("--seconds", type=float, default=20, help="measured window (20)")
    add_common_options(parser)
    arguments = parser.parse_args()
    here = machine(arguments.directory)
    print(", ".join(f"{name} {value}" for name, value in here.items()))
    directory = Path(tempfile.mkdtemp(prefix="micwire-bench-", dir=arguments.directory))
    os.environ["MICWIRE_ANALYZERS"] = "level"
    try:
        command = micwire_command(arguments.micwire, directory / "data")
        with Server("micwire", command, directory) as server:
            url = f"http://{server.address[0]}:{server.address[1]}"
            latencies = asyncio.run(_run(url, arguments))
    finally:
        shutil.rmtree(directory)
    p50, p99 = (1e3 * quantile(latencies, share) for share in (0.5, 0.99))
    print(
        f"{arguments.streams} streams, messages of {arguments.block_ms:g} ms, level each 50 ms:"
        f" result after p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {1e3 * latencies[-1]:.1f} ms"
        f" ({len(latencies)} results)"
    )


if __name__ == "__main__":
    main()
