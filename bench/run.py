"""The comparison: every peer under the same load, one after another, as a table.

    python -m bench --streams 200 --kinds s16-100ms --repeat 3

See README.md for what each column means.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time, sleep

from bench.kinds import KINDS, Kind, Route
from bench.load import Load, raise_descriptor_limit
from bench.server import Server, default_micwire, make_user, micwire_command, peer_command
from bench.websocket import ServerError

BASE = "starlette"
"""The peer that ratios refer to."""
_DEFAULT_STREAMS, _ALL_STREAMS = "200", "50,200,500,1000"


@dataclass(frozen=True)
class Peer:
    """A server to measure, and how streams reach it."""

    name: str
    route: Route
    command: Callable[[str, Path], list[str]]
    """From micwire's program and the data directory."""
    writes_pcm: bool = False
    """Whether the bytes of `*.pcm` in its directory tell what it kept."""
    has_users: bool = False
    """Whether one has to sign in."""


PEERS = {
    peer.name: peer
    for peer in (
        Peer("micwire", Route.STREAM, micwire_command),
        Peer("micwire-users", Route.STREAM, micwire_command, has_users=True),
        Peer("micwire-plain", Route.PLAIN, micwire_command),
        Peer("starlette", Route.SINK, lambda _, data: peer_command("sink_starlette", data), True),
        Peer("aiohttp", Route.SINK, lambda _, data: peer_command("sink_aiohttp", data), True),
        Peer("tornado", Route.SINK, lambda _, data: peer_command("memo_tornado", data)),
    )
}


@dataclass
class Row:
    """One peer under one load; the fields are the columns. None: this peer can't have it."""

    round: int
    streams: int
    kind: str
    peer: str
    cpu_s_per_stream_hour: float
    closing_cpu_s_per_stream_hour: float
    memory_kib_per_stream: float
    ack_p50_ms: float | None
    ack_p99_ms: float | None
    ack_max_ms: float | None
    unacked: int
    behind_ms: float
    late_p99_ms: float
    generator_cpu: float
    lost_frames: int | None
    altered: int | None
    closing_s: float
    opened: dict[str, object]

    @property
    def doubts(self) -> str:
        """Return why this row should not be trusted, or is a failure; empty if it should."""
        found = {
            "server fell behind": self.behind_ms > 500,
            "generator was late": self.late_p99_ms > 20,
            "FRAMES LOST": bool(self.lost_frames),
            "RECORDINGS ALTERED": bool(self.altered),
            "acks missing": self.unacked > 0,
        }
        return ", ".join(doubt for doubt, is_so in found.items() if is_so)


@dataclass(frozen=True)
class Case:
    """One peer, one load, one round."""

    peer: Peer
    kind: Kind
    streams: int
    round: int


@dataclass(frozen=True)
class Settings:
    """How long to measure, where, and which micwire."""

    seconds: float
    warm_up: float
    directory: Path
    micwire: str


def measure(case: Case, settings: Settings) -> Row:
    """Run one peer under one load.

    Raises:
        SystemExit: The server does not start, or breaks off; with the end of its stderr.
    """
    os.sync()  # what the last server left to the disk is not the burden of this one
    directory = Path(tempfile.mkdtemp(prefix="micwire-bench-", dir=settings.directory))
    data = directory / "data"
    data.mkdir()
    token = make_user(settings.micwire, data) if case.peer.has_users else None
    server = Server(case.peer.name, case.peer.command(settings.micwire, data), directory)
    try:
        with server:
            return _measure(case, settings, server, data, token)
    except ServerError as error:
        raise SystemExit(server.report(f"broke off: {error}")) from None
    finally:
        shutil.rmtree(directory)


def _measure(case: Case, settings: Settings, server: Server, data: Path, token: str | None) -> Row:
    peer, kind, streams = case.peer, case.kind, case.streams
    idle_kib = server.memory_kib()
    peak_kib = idle_kib

    def observe() -> None:
        nonlocal peak_kib
        peak_kib = max(peak_kib, server.memory_kib())

    load = Load(server.address, peer.route, kind, streams, token)
    load.open()
    load.run(settings.warm_up)
    server_cpu, own_cpu = server.cpu_s(), process_time()
    window = load.run(settings.seconds, observe)
    server_cpu, own_cpu = server.cpu_s() - server_cpu, process_time() - own_cpu
    load.drain()
    closing_cpu = server.cpu_s()
    ending = load.finish()
    if peer.writes_pcm:
        ending.held_frames = _frames_in_files(data, ending.sent_frames)
    closing_cpu = server.cpu_s() - closing_cpu
    load.close()

    # What the server did not read cost it nothing: CPU is per hour of sound that it took.
    bytes_per_hour = 3600 * kind.sample_rate * kind.frame_bytes
    sent_bytes = window.messages * len(kind.block)
    taken_hours = (sent_bytes + window.unread_before - window.unread_after) / bytes_per_hour
    sent_hours = ending.sent_frames / kind.sample_rate / 3600
    has_word = peer.route is not Route.SINK
    is_known = has_word or peer.writes_pcm
    acks_ms = [1e3 * seconds for seconds in sorted(window.ack_s)]
    return Row(
        round=case.round,
        streams=streams,
        kind=kind.name,
        peer=peer.name,
        cpu_s_per_stream_hour=server_cpu / max(taken_hours, 1e-9),
        closing_cpu_s_per_stream_hour=closing_cpu / sent_hours,
        memory_kib_per_stream=(peak_kib - idle_kib) / streams,
        ack_p50_ms=quantile(acks_ms, 0.5) if acks_ms else None,
        ack_p99_ms=quantile(acks_ms, 0.99) if acks_ms else None,
        ack_max_ms=acks_ms[-1] if acks_ms else None,
        unacked=window.unacked,
        behind_ms=1e3
        * (window.owed * kind.interval_s + window.unread_after / bytes_per_hour * 3600)
        / streams,
        late_p99_ms=1e3 * quantile(sorted(window.late_s), 0.99),
        generator_cpu=own_cpu / window.seconds,
        lost_frames=ending.lost_frames if is_known else None,
        altered=ending.altered if has_word else None,
        closing_s=ending.seconds,
        opened=load.opened,
    )


def _frames_in_files(data: Path, expected: int, timeout_s: float = 10) -> int:
    """Return the frames in a sink's files, once they are as expected or time is up.

    A sink answers the close before it has written what it received.
    """
    deadline = perf_counter() + timeout_s
    while True:
        frames = sum(path.stat().st_size for path in data.glob("*.pcm")) // 2
        if frames >= expected or perf_counter() > deadline:
            return frames
        sleep(0.05)


def quantile(ordered: list[float], share: float) -> float:
    """Return the value below which `share` of the ordered values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# ---- printing --------------------------------------------------------------------

_HEAD = (
    f"{'streams':>7} {'kind':<10} {'peer':<14} {'CPU s/h':>8} {'closing':>8} {'KiB/str':>8}"
    f" {'ack p50':>8} {'p99':>8} {'max ms':>8} {'behind':>7} {'late p99':>8} {'gen CPU':>7}"
    f" {'lost':>6} {'altered':>7}"
)


def _line(row: Row) -> str:
    def number(value: float | None, width: int, digits: int = 1) -> str:
        return f"{'-' if value is None else format(value, f'.{digits}f'):>{width}}"

    columns = [
        f"{row.streams:>7} {row.kind:<10} {row.peer:<14}",
        number(row.cpu_s_per_stream_hour, 8),
        number(row.closing_cpu_s_per_stream_hour, 8),
        number(row.memory_kib_per_stream, 8, 0),
        number(row.ack_p50_ms, 8),
        number(row.ack_p99_ms, 8),
        number(row.ack_max_ms, 8),
        number(row.behind_ms, 7, 0),
        number(row.late_p99_ms, 8),
        f"{row.generator_cpu:>7.0%}",
        number(row.lost_frames, 6, 0),
        number(row.altered, 7, 0),
    ]
    return " ".join(columns) + (f"  ! {row.doubts}" if row.doubts else "")


def ratios(rows: list[Row]) -> dict[str, dict[str, list[float]]]:
    """Return, for each load and peer, CPU and memory relative to `BASE` in the same round."""
    base = {(row.round, row.streams, row.kind): row for row in rows if row.peer == BASE}
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        other = base.get((row.round, row.streams, row.kind))
        if other is None or other is row:
            continue
        pair = found.setdefault(f"{row.streams:>7} {row.kind:<10} {row.peer:<14}", {})
        for name in ("cpu_s_per_stream_hour", "memory_kib_per_stream"):
            divisor = getattr(other, name)
            if divisor > 0:
                pair.setdefault(name, []).append(getattr(row, name) / divisor)
    return found


def _print_ratios(rows: list[Row]) -> None:
    found = ratios(rows)
    if not found:
        return
    print(f"\nRelative to {BASE} in the same round: min / median / max")
    print(f"{'streams':>7} {'kind':<10} {'peer':<14} {'CPU':^22} {'memory':^22}")
    for load, values in found.items():
        cells = []
        for name in ("cpu_s_per_stream_hour", "memory_kib_per_stream"):
            few = values.get(name)
            text = f"{min(few):.2f} / {statistics.median(few):.2f} / {max(few):.2f}" if few else "-"
            cells.append(f"{text:^22}")
        print(load, *cells)


def machine(directory: Path) -> dict[str, object]:
    """Describe where this runs, with what one write and sync costs there."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.partition(": ")[2] for line in cpuinfo.splitlines() if "model name" in line]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sync_ms": round(1e3 * _sync_s(directory), 2),
    }


def _sync_s(directory: Path) -> float:
    seconds = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(32):
            began = perf_counter()
            file.write(bytes(65_536))
            os.fdatasync(file.fileno())
            seconds.append(perf_counter() - began)
    return statistics.median(seconds)


# ---- the command line ------------------------------------------------------------


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add what all programs of the benchmark understand."""
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where servers write; a real disk, not a tmpfs (default: %(default)s)",
    )
    parser.add_argument(
        "--micwire", default=default_micwire(), help="the program (default: %(default)s)"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    parser.add_argument("--streams", default=None, help=f"default {_DEFAULT_STREAMS}")
    parser.add_argument("--kinds", default=",".join(KINDS), help="default %(default)s")
    parser.add_argument("--peers", default=",".join(PEERS), help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=20, help="measured window (20)")
    parser.add_argument("--warm-up", type=float, default=3, help="seconds before it (3)")
    parser.add_argument("--repeat", type=int, default=1, help="rounds of all peers (1)")
    parser.add_argument("--full", action="store_true", help=f"--streams {_ALL_STREAMS}")
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    add_common_options(parser)
    arguments = parser.parse_args()
    for name, known in (("kinds", KINDS), ("peers", PEERS)):
        for word in getattr(arguments, name).split(","):
            if word not in known:
                parser.error(f"--{name}: {word!r} is none of {', '.join(known)}")
    return arguments


def main() -> None:
    """Measure what the command line asks for, and print it."""
    arguments = _arguments()
    streams = arguments.streams or (_ALL_STREAMS if arguments.full else _DEFAULT_STREAMS)
    counts = [int(word) for word in streams.split(",")]
    kinds = [KINDS[word] for word in arguments.kinds.split(",")]
    peers = [PEERS[word] for word in arguments.peers.split(",")]
    settings = Settings(
        arguments.seconds, arguments.warm_up, arguments.directory, arguments.micwire
    )
    raise_descriptor_limit(4 * max(counts) + 256)
    here = machine(settings.directory)
    print(", ".join(f"{name} {value}" for name, value in here.items()))
    print(f"{settings.seconds:g} s measured after {settings.warm_up:g} s of warm-up\n\n{_HEAD}")
    rows: list[Row] = []
    for count in counts:
        for kind in kinds:
            for round_ in range(1, arguments.repeat + 1):
                # Every other round runs backwards, so that a drift of the machine cancels.
                for peer in peers if round_ % 2 else reversed(peers):
                    rows.append(measure(Case(peer, kind, count, round_), settings))
                    print(_line(rows[-1]), flush=True)
    _print_ratios(rows)
    if arguments.json:
        document = {"machine": here, "rows": [asdict(row) for row in rows], "ratios": ratios(rows)}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    if any(row.lost_frames or row.altered or row.unacked for row in rows):
        sys.exit("frames were lost or altered, or not acknowledged")


if __name__ == "__main__":
    main()
