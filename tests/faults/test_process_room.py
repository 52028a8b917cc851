"""No room: a full disk, a limit on the size of files, and memory that must not grow."""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.harness import (
    SOAK,
    Microphone,
    RefusedByServer,
    Server,
    Signal,
    check_header,
    check_recording,
    dial,
    receive,
    wait_until,
)
from tests.faults.test_process_links import an_open

MIB = 1 << 20


def health(server: Server) -> tuple[int, str]:
    """Return the status code of `/healthz` and what it says."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=5) as reply:
            return reply.status, json.loads(reply.read())["status"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["status"]


async def wait_for_health(server: Server, wanted: tuple[int, str], timeout_s: float = 10) -> None:
    """Wait until `/healthz` answers so."""
    deadline = time.monotonic() + timeout_s
    while (found := await asyncio.to_thread(health, server)) != wanted:
        assert time.monotonic() < deadline, f"{found} instead of {wanted}"
        await asyncio.sleep(0.1)


@contextlib.contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[Path]:
    """Mount an ext4 of so many MiB; without the right to, the test is skipped and counted."""
    image, mounted = directory / "image", directory / "disk"
    with image.open("wb") as file:
        file.truncate(mebibytes * MIB)
    mounted.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, mounted], check=False).returncode:
        pytest.skip("a full disk needs the right to mount one: run the tests as root")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


async def ride_out_a_full_disk(server: Server, ballast: Path) -> None:
    """Fill the disk under streams, look at what everybody is told, free it, and finish."""
    microphones = [
        Microphone(server.port, 1 << 40, speed=96_000, block_frames=2_000, seed=number)
        for number in range(3)
    ]
    going = [asyncio.create_task(microphone.record()) for microphone in microphones]
    await asyncio.gather(*(microphone.opened.wait() for microphone in microphones))
    await asyncio.sleep(0.5)
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(MIB))
            file.flush()
    await wait_for_health(server, (503, "storage-full"), 20)
    deadline = time.monotonic() + 10
    while not all("storage-full" in microphone.rules.refusals for microphone in microphones):
        assert time.monotonic() < deadline, [m.rules.refusals for m in microphones]
        assert not any(task.done() for task in going)
        await asyncio.sleep(0.1)
    socket = await dial(server.port)
    await socket.send(json.dumps(an_open()))
    with pytest.raises(RefusedByServer, match="storage-full at 0"):
        await receive(socket)
    assert server.exit_status is None
    for microphone in microphones:
        check_header(server.data, microphone)
    await asyncio.to_thread(ballast.unlink)
    await wait_for_health(server, (200, "ok"), 20)
    await asyncio.sleep(0.5)
    for microphone in microphones:
        microphone.end_soon()
    await asyncio.wait_for(asyncio.gather(*going), 30)
    for microphone in microphones:
        check_recording(server.data, microphone, has_ffprobe=False)
    assert server.stop() == 0


def test_a_full_disk_is_told_to_everybody_and_all_goes_on_when_there_is_room(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path, 96) as disk:
        server = Server(disk / "data", segment_mb=4, min_free_mb=8)
        # Logs stay off the disk that fills up.
        with server:
            asyncio.run(ride_out_a_full_disk(server, disk / "ballast"))


def test_a_disk_without_a_reserve_that_runs_full_loses_nothing(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path, 64) as disk,
        Server(disk / "data", segment_mb=4, min_free_mb=0) as server,
    ):
        asyncio.run(ride_out_a_full_disk(server, disk / "ballast"))


def test_a_recording_ends_at_the_largest_file_and_disturbs_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        microphone = Microphone(server.port, 8 * MIB // 4, block_frames=50_000)
        bystander = Microphone(server.port, 96_000, speed=96_000)
        going = asyncio.create_task(microphone.record())
        await bystander.record()
        assert bystander.rules.refusals == []
        check_recording(server.data, bystander)
        assert set(microphone.rules.refusals) == {"quota"}
        assert health(server) == (200, "ok")
        await asyncio.to_thread(server.kill)
        check_header(server.data, microphone)
        server.max_file_bytes = None
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(going, 20)
        check_recording(server.data, microphone)

    # A segment fits, the WAV doesn't.
    with Server(tmp_path / "data", segment_mb=4, max_file_bytes=5 * MIB) as server:
        asyncio.run(run())


def test_files_that_may_not_grow_any_more_are_no_room_until_they_may(tmp_path: Path) -> None:
    async def run() -> None:
        microphone = Microphone(server.port, 12 * MIB // 4, speed=MIB, block_frames=20_000)
        going = asyncio.create_task(microphone.record())
        assert await wait_until(lambda: microphone.acked > MIB // 4, 10)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (5 * MIB, resource.RLIM_INFINITY))
        await wait_for_health(server, (503, "storage-full"))
        assert await wait_until(lambda: "storage-full" in microphone.rules.refusals, 5)
        assert server.exit_status is None
        check_header(server.data, microphone)
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
        await wait_for_health(server, (200, "ok"))
        await asyncio.wait_for(going, 20)
        check_recording(server.data, microphone)

    with Server(tmp_path / "data", segment_mb=4) as server:
        asyncio.run(run())


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("hours", [0.3, pytest.param(12, marks=SOAK)])
def test_memory_stays_flat_over_hours_of_sound(tmp_path: Path, hours: float) -> None:
    sound = Signal("pcm_s16le", 2, 48_000)

    async def run() -> None:
        microphone = Microphone(server.port, 1 << 40, sound=sound, block_frames=48_000)
        going = asyncio.create_task(microphone.record())
        seen: list[int] = []
        end = round(hours * 3_600 * 48_000)
        for part in range(1, 11):
            while microphone.acked < end * part // 10:
                assert not going.done()
                await asyncio.sleep(0.02)
            seen.append(resident_bytes(server.pid))
        microphone.end_soon()
        await going
        print([f"{size / MIB:.1f}" for size in seen])
        # What buffers need is there after the first tenths; from then on nothing is added.
        assert max(seen[5:]) - max(seen[:5]) < 12 * MIB
        assert max(seen) < 400 * MIB

    with Server(tmp_path / "data") as server:
        # The catalogue is loaded some seconds after the start, or with the first list.
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/api/v1/recordings"):
            pass
        asyncio.run(run())
