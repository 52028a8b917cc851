"""A server's life beside its streams: two on one directory, clocks that jump, clients away."""

import asyncio
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.harness import (
    Gap,
    Microphone,
    RefusedByServer,
    Server,
    ServerEndedError,
    check_recording,
    check_wav,
    dial,
    receive,
    sidecar,
    wav_path,
)
from tests.faults.test_process_links import opened, send_frames


def command(data: Path) -> list[str]:
    """Return how a person starts a server."""
    return [sys.executable, "-m", "micwire", "serve", "--port", "0", "--data", str(data)]


def test_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 24_000, speed=48_000)
        going = asyncio.create_task(microphone.record())
        await microphone.opened.wait()
        with pytest.raises(ServerEndedError, match=f"process {server.pid}.* is using"):
            await asyncio.to_thread(Server(server.data).start)
        ran = await asyncio.to_thread(
            lambda: subprocess.run(
                command(server.data), check=False, capture_output=True, text=True, timeout=20
            )
        )
        assert ran.returncode not in (0, None)
        assert f"process {server.pid}" in ran.stderr
        assert "--data" in ran.stderr
        assert "Traceback" not in ran.stderr
        await going
        assert microphone.rules.connections == 1
        check_recording(server.data, microphone)

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))
        server.kill()
        server.start()  # a lock of a dead process holds nobody up


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_ends_with_0_when_it_is_told_to(tmp_path: Path, number: int) -> None:
    with subprocess.Popen(
        command(tmp_path / "data"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("micwire is at http://127.0.0.1:")
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors


def test_a_client_that_stays_away_finds_its_recording_interrupted(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 10_000, gaps=(Gap(100, 50),))
        socket = await opened(microphone)
        await send_frames(microphone, socket, 0, 1_000)
        await socket.send(json.dumps({"type": "mark", "frame": 5, "label": "x"}))
        await asyncio.sleep(1.2)  # connected, however long, it is not away
        await send_frames(microphone, socket, 1_000, 1_200)
        await socket.close()
        deadline = time.monotonic() + 8
        while sidecar(server.data, microphone.recording)["status"] == "recording":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        for _ in range(2):
            assert sidecar(server.data, microphone.recording)["status"] == "interrupted"
            expected = microphone.signal.expected(1_200)
            check_wav(wav_path(server.data, microphone.recording), microphone.signal, expected)
            with pytest.raises(RefusedByServer, match="diverged at 1200"):
                await opened(microphone)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)

    with Server(tmp_path / "data", unfinished_days=0.8 / 86_400) as server:
        asyncio.run(run(server))


def test_time_away_counts_over_restarts_and_not_while_nobody_could_come(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        microphone = Microphone(server.port, 1_000)
        socket = await opened(microphone)
        await send_frames(microphone, socket, 0, 500)
        await socket.close()
        await asyncio.to_thread(server.stop)
        await asyncio.sleep(1.6)  # the server was down: its client could not come back
        await asyncio.to_thread(server.start)
        await microphone.record()
        check_recording(server.data, microphone)

    with Server(tmp_path / "data", unfinished_days=1.5 / 86_400) as server:
        asyncio.run(run(server))


class _SteppedClock(datetime.datetime):
    """The wall clock, off by as many seconds as a file says."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "_SteppedClock":
        real = datetime.datetime.fromtimestamp(REAL_TIME() + _offset_s(), tz)
        return cls.fromtimestamp(real.timestamp(), tz)


REAL_TIME = time.time


def _offset_s() -> float:
    try:
        return float(Path("clock").read_text())
    except (OSError, ValueError):
        return 0.0


def step_the_clock() -> None:
    """In a server's process: let every wall clock of Python be off by what a file says."""
    import micwire.recorder

    micwire.recorder.datetime = _SteppedClock  # type: ignore[attr-defined]  # its wall clock
    time.time = lambda: REAL_TIME() + _offset_s()


def test_steps_of_the_wall_clock_alter_nothing_but_dates(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        clock = tmp_path / "data-logs" / "clock"  # the working directory of the server
        microphones = [Microphone(server.port, 72_000, speed=48_000) for _ in range(3)]
        going = [asyncio.create_task(microphone.record()) for microphone in microphones]
        await asyncio.gather(*(microphone.opened.wait() for microphone in microphones))
        for offset_s in (40 * 86_400, -400 * 86_400, -3_600.5, 0):
            clock.write_text(str(offset_s))
            await asyncio.sleep(0.3)
        await asyncio.gather(*going)
        for microphone in microphones:
            assert microphone.rules.connections == 1
            assert microphone.rules.worst_silence_s < 1.5
            check_recording(server.data, microphone, has_ffprobe=False)
        clock.write_text(str(-400 * 86_400))
        late = Microphone(server.port, 1_000)
        await late.record()
        written = datetime.date.fromisoformat(wav_path(server.data, late.recording).parent.name)
        today = datetime.datetime.now(datetime.UTC).date()
        assert 399 <= (today - written).days <= 401, "the step was seen, where it may be"
        # A client that was away for a second is not away for 400 days.
        socket = await opened(away := Microphone(server.port, 1_000))
        await send_frames(away, socket, 0, 500)
        await socket.close()
        clock.write_text("0")
        await asyncio.sleep(0.3)
        await away.record()

    with Server(tmp_path / "data", prepare=step_the_clock, unfinished_days=1) as server:
        asyncio.run(run(server))


def test_a_server_that_stops_takes_nobody_in_and_says_so(tmp_path: Path) -> None:
    async def run(server: Server) -> None:
        idle = await dial(server.port)
        os.kill(server.pid, signal.SIGTERM)
        with pytest.raises(Exception, match="1012"):
            await receive(idle, 5)
        assert await asyncio.to_thread(server.wait) == 0

    with Server(tmp_path / "data") as server:
        asyncio.run(run(server))
