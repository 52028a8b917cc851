"""Whether one stream's trouble delays the acks of the others.

    python -m bench.abuse

A few streams send in real time the whole while. First nothing else happens, then each
disturbance in turn, from a process of its own with a lower priority, so that what is
seen is the server and not the scheduler. Exits with 1 if an ack was more than a second
later than in the quiet, or if a frame of the quiet streams was lost.
"""

import argparse
import contextlib
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from time import perf_counter

from bench.kinds import KINDS, Kind, Route
from bench.load import Load, Window, open_message, raise_descriptor_limit
from bench.recording import Recording, cut
from bench.run import add_common_options, quantile
from bench.server import Server, micwire_command
from bench.websocket import (
    BINARY,
    TEXT,
    Address,
    ServerError,
    connect,
    encode,
    read_upgrade,
)

_LONG_S = 20 * 60
_BURST = 200
_BURST_EVERY_S = 2
_ALLOWED_DELAY_MS = 1000
_HUGE_BYTES = 8 << 20
_PATIENCE_S = 0.5
_SPAWN = multiprocessing.get_context("spawn")
_KIND = KINDS["s16-100ms"]


# ---- the disturbances, each in its own process ------------------------------------


def _send_long(address: Address, ready: Event, go: Event) -> None:
    os.nice(10)
    recording = Recording(address, _KIND)
    recording.send(round(_LONG_S / _KIND.interval_s))
    ready.set()
    go.wait()
    print(f"    finish to finished: {recording.finish():.2f} s", flush=True)


def _send_garbage(address: Address, ready: Event, stop: Event) -> None:
    os.nice(10)
    ready.set()
    attempts = 0
    while not stop.is_set():
        is_opened, garbage = _GARBAGE[attempts % len(_GARBAGE)]
        _misbehave(address, garbage, is_opened=is_opened)
        attempts += 1
    print(f"    {attempts} connections with garbage", flush=True)


def _open_in_bursts(address: Address, ready: Event, stop: Event) -> None:
    os.nice(10)
    ready.set()
    bursts, longest_s = 0, 0.0
    while not stop.is_set():
        began = perf_counter()
        load = Load(address, Route.STREAM, _KIND, _BURST)
        load.open()
        load.finish()
        load.close()
        bursts, longest_s = bursts + 1, max(longest_s, perf_counter() - began)
        stop.wait(max(0.0, _BURST_EVERY_S - (perf_counter() - began)))
    print(
        f"    {bursts} bursts of {_BURST} opens and closes, {longest_s:.2f} s at most", flush=True
    )


_HEADER = bytes(8)
_GARBAGE: list[tuple[bool, bytes | bytearray]] = [
    # (whether an `open` goes before, what is sent then)
    (False, encode(TEXT, b"no JSON")),
    (False, encode(TEXT, b'{"type":"open"}')),
    (False, encode(TEXT, b'{"a":' * 5_000)),
    (False, encode(TEXT, b"\xff\xfe")),
    (False, encode(BINARY, _HEADER + _KIND.block)),
    (False, encode(BINARY, bytes(_HUGE_BYTES))),
    (False, b"\x82\x05hello"),  # not masked
    (False, b"\x83\x80\0\0\0\0"),  # reserved opcode
    (False, b"\x82\xff" + b"\x3f" + b"\xff" * 7 + bytes(4)),  # 2^62 bytes announced
    (False, b""),
    (True, encode(BINARY, _HEADER + b"odd")),
    (True, encode(BINARY, b"short")),
    (True, encode(BINARY, b"\xff" * 8 + _KIND.block)),
    (True, encode(BINARY, (1_000_000).to_bytes(8, "little") + _KIND.block)),
    (True, encode(BINARY, _HEADER + bytes(_HUGE_BYTES))),
    (True, encode(TEXT, open_message(_KIND))),
    (True, encode(TEXT, b'{"type":"gap","first_frame":0,"frames":9007199254740991}')),
    (True, encode(TEXT, b'{"type":"finish","frames":5}')),
    (True, b""),
]


def _misbehave(address: Address, garbage: bytes | bytearray, *, is_opened: bool) -> None:
    # The server may answer, refuse, or hang up in the middle; all of it is its right.
    with contextlib.suppress(OSError, ServerError):
        connection = connect(address, "/v1/stream", "micwire.v1", _PATIENCE_S)
        with connection:
            read_upgrade(connection)
            if is_opened:
                connection.sendall(encode(TEXT, open_message(_KIND)))
                connection.recv(65_536)
            if garbage:
                connection.sendall(garbage)
                connection.recv(65_536)  # the error, the close, or nothing at all
            cut(connection)


# ---- the phases --------------------------------------------------------------------


class _Disturbance:
    """One of the works above, in a process of its own."""

    def __init__(self, work: Callable[[Address, Event, Event], None], address: Address) -> None:
        self._ready, self._proceed = _SPAWN.Event(), _SPAWN.Event()
        arguments = (address, self._ready, self._proceed)
        self._process = _SPAWN.Process(target=work, args=arguments, daemon=True)
        self._process.start()

    def is_ready(self) -> bool:
        """Tell whether it has done what goes before `proceed`."""
        return self._ready.is_set() or self.is_over()

    def proceed(self) -> None:
        """Let it finish, or stop."""
        self._proceed.set()

    def is_over(self) -> bool:
        """Tell whether it has ended.

        Raises:
            SystemExit: It failed.
        """
        if self._process.exitcode:
            raise SystemExit(f"the disturber ended with {self._process.exitcode}")
        return self._process.exitcode == 0

    def stop(self) -> None:
        """End it, and wait for that."""
        self.proceed()
        self._process.join(30)
        self.is_over()


class _Phases:
    """The streams that must not notice, and what each phase did to their acks."""

    def __init__(self, load: Load, seconds: float) -> None:
        self._load, self._seconds = load, seconds
        self.quiet_max_ms = 0.0
        self.worst_delay_ms = 0.0
        print(f"{'':<44} {'ack p50':>8} {'p99':>8} {'max ms':>8} {'late p99':>8}")

    def run(self, name: str, until: Callable[[], bool] = lambda: True) -> None:
        """Measure for the set time, and again and again until `until` is true."""
        whole = Window()
        while not whole.messages or not until():
            window = self._load.run(self._seconds)
            self._load.drain()
            whole.messages += window.messages
            whole.ack_s += window.ack_s
            whole.late_s += window.late_s
        acks_ms = [1e3 * seconds for seconds in sorted(whole.ack_s)]
        late_ms = 1e3 * quantile(sorted(whole.late_s), 0.99)
        p50, p99, most = quantile(acks_ms, 0.5), quantile(acks_ms, 0.99), acks_ms[-1]
        print(f"{name:<44} {p50:>8.1f} {p99:>8.1f} {most:>8.1f} {late_ms:>8.1f}", flush=True)
        self.quiet_max_ms = self.quiet_max_ms or most
        self.worst_delay_ms = max(self.worst_delay_ms, most - self.quiet_max_ms)


def _measure(address: Address, kind: Kind, streams: int, seconds: float) -> bool:
    load = Load(address, Route.STREAM, kind, streams)
    load.open()
    load.run(2)
    load.drain()
    phases = _Phases(load, seconds)
    phases.run("quiet")
    long = _Disturbance(_send_long, address)
    phases.run("20 minutes sent as fast as possible", until=long.is_ready)
    long.proceed()
    phases.run("these 20 minutes finished", until=long.is_over)
    for name, work in (
        ("garbage and reconnections in a loop", _send_garbage),
        (f"bursts of {_BURST} opens and closes", _open_in_bursts),
    ):
        disturbance = _Disturbance(work, address)
        phases.run(name)
        disturbance.stop()
    phases.run("quiet again")
    ending = load.finish()
    load.close()
    print(f"\nworst delay over the quiet maximum: {phases.worst_delay_ms:.0f} ms")
    print(f"frames lost: {ending.lost_frames}, recordings altered: {ending.altered}")
    is_calm = phases.worst_delay_ms <= _ALLOWED_DELAY_MS
    return is_calm and not ending.lost_frames and not ending.altered


def main() -> None:
    """Run all phases against one server."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.abuse", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--streams", type=int, default=20, help="streams beside (20)")
    parser.add_argument("--kind", choices=list(KINDS), default="f32-1024", help="of what kind")
    parser.add_argument("--seconds", type=float, default=10, help="length of each phase (10)")
    add_common_options(parser)
    arguments = parser.parse_args()
    raise_descriptor_limit(4096)
    directory = Path(tempfile.mkdtemp(prefix="micwire-bench-", dir=arguments.directory))
    server = Server("micwire", micwire_command(arguments.micwire, directory / "data"), directory)
    try:
        with server:
            is_good = _measure(
                server.address, KINDS[arguments.kind], arguments.streams, arguments.seconds
            )
    except ServerError as error:
        raise SystemExit(server.report(f"broke off: {error}")) from None
    finally:
        shutil.rmtree(directory)
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
