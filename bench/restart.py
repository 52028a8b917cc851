"""How long a server takes to come back, and how long a long recording takes to finish.

    python -m bench.restart

First a thousand recordings are begun, some of their frames acknowledged and their
connections cut; the server is killed with SIGKILL and started again on the same data.
Then ten hours are sent as fast as possible, and timed from `finish` to `finished`.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from time import perf_counter, sleep

from bench.kinds import KINDS, Kind, Route
from bench.load import Load, raise_descriptor_limit
from bench.recording import Recording
from bench.run import add_common_options
from bench.server import Server, micwire_command
from bench.websocket import ServerError


def time_restart(server: Server, recordings: int, seconds: float) -> None:
    """Kill a server that holds unfinished recordings; print the times of its starts."""
    print(f"start on an empty directory: {server.start():.2f} s", flush=True)
    load = Load(server.address, Route.STREAM, KINDS["s16-100ms"], recordings)
    began = perf_counter()
    load.open()
    print(f"{recordings} recordings opened in {perf_counter() - began:.2f} s", flush=True)
    window = load.run(seconds)
    load.drain(30)
    load.close()
    minutes = window.messages * KINDS["s16-100ms"].interval_s / 60
    server.kill()
    restart_s = server.start()
    print(
        f"restart after SIGKILL with {recordings} unfinished recordings"
        f" ({minutes:.1f} minutes of sound): {restart_s:.2f} s",
        flush=True,
    )
    server.kill()
    print(f"restart once more, nothing left to mend: {server.start():.2f} s", flush=True)
    server.stop()


def time_finish(server: Server, hours: float, sample_rate: int, settle_s: float) -> None:
    """Send `hours` as fast as possible; print how long `finish` takes."""
    server.start()
    # One second per message where that fits, as 48,000 bytes do.
    kind = Kind("s16-long", "pcm_s16le", min(sample_rate, 24_000), sample_rate)
    recording = Recording(server.address, kind)
    began = perf_counter()
    recording.send(round(hours * 3600 / kind.interval_s))
    send_s = perf_counter() - began
    mebibytes = recording.sent * kind.frame_bytes / (1 << 20)
    sleep(settle_s)
    idle_kib = server.memory_kib()
    finish_s = recording.finish()
    print(
        f"{hours:g} hours at {sample_rate} Hz, int16 mono ({mebibytes:.0f} MiB), sent faster than"
        f" real time in {send_s:.1f} s, then {settle_s:g} s of silence\n"
        f"finish to finished: {finish_s:.2f} s"
        f" (server's memory {idle_kib / 1024:.0f} MiB before, {server.memory_kib() / 1024:.0f} MiB"
        " after)",
        flush=True,
    )
    server.stop()


def main() -> None:
    """Take both times, each on fresh data."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.restart", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--recordings", type=int, default=1000, help="unfinished ones (1000)")
    parser.add_argument("--seconds", type=float, default=3, help="sound in each of them (3)")
    parser.add_argument("--hours", type=float, default=10, help="the long recording (10)")
    parser.add_argument(
        "--sample-rate", type=int, default=8_000, help="of the long one; try 48000 (8000)"
    )
    parser.add_argument(
        "--settle", type=float, default=5, help="seconds between its last ack and `finish` (5)"
    )
    add_common_options(parser)
    arguments = parser.parse_args()
    raise_descriptor_limit(4 * arguments.recordings + 256)
    directory = Path(tempfile.mkdtemp(prefix="micwire-bench-", dir=arguments.directory))
    servers = [
        Server("micwire", micwire_command(arguments.micwire, directory / name), directory)
        for name in ("restart", "long")
    ]
    try:
        time_restart(servers[0], arguments.recordings, arguments.seconds)
        print()
        time_finish(servers[1], arguments.hours, arguments.sample_rate, arguments.settle)
    except ServerError as error:
        raise SystemExit(servers[1].report(f"broke off: {error}")) from None
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
