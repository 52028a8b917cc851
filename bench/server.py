"""A server under test: a child process, its address, its CPU time and its memory."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter, sleep
from types import TracebackType
from typing import Self

from bench.websocket import Address

_ROOT = Path(__file__).resolve().parent.parent
_READY = re.compile(rb" is at http://([\d.]+):(\d+)")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024
_TAIL_LINES = 20


class Server:
    """One server, from its start to its end; a context manager that stops it."""

    def __init__(self, name: str, command: list[str], directory: Path) -> None:
        self.name, self._command = name, command
        self._output, self._errors = directory / "stdout.txt", directory / "stderr.txt"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.address: Address = ("127.0.0.1", 0)

    def start(self, timeout_s: float = 120) -> float:
        """Start it; return the seconds until it said that it listens.

        Raises:
            SystemExit: It ended or said nothing in time; the text has the end of its stderr.
        """
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(_ROOT)}
        with self._output.open("wb") as output, self._errors.open("ab") as errors:
            began = perf_counter()
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdout=output,
                    stderr=errors,
                    cwd=self._directory,
                    env=environment,
                )
            except OSError as error:
                raise SystemExit(f"{self.name} can't be started: {error}") from None
        while (ready := _READY.search(self._output.read_bytes())) is None:
            if self._process.poll() is not None:
                raise SystemExit(self.report(f"ended with {self._process.returncode} at its start"))
            if perf_counter() - began > timeout_s:
                self.kill()
                raise SystemExit(self.report(f"did not listen within {timeout_s:.0f} s"))
            sleep(0.002)
        seconds = perf_counter() - began
        self.address = (ready[1].decode(), int(ready[2]))
        return seconds

    def report(self, what: str) -> str:
        """Return a sentence about what happened, with the end of the server's stderr."""
        lines = self._errors.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (nothing)"
        return f"{self.name} {what}\n  {' '.join(self._command)}\n  stderr ends with:\n{tail}"

    def cpu_s(self) -> float:
        """Return user and system seconds so far, of the process and its children."""
        ticks = 0
        for pid in self._processes():
            # The name may hold spaces and brackets; what follows the last bracket is fixed.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS_PER_S

    def memory_kib(self) -> float:
        """Return the resident memory now, of the process and its children."""
        pages = 0
        for pid in self._processes():
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * _PAGE_KIB

    def _processes(self) -> list[int]:
        assert self._process is not None
        found, waiting = [], [self._process.pid]
        while waiting:
            pid = waiting.pop()
            found.append(pid)
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())
        return found

    def kill(self) -> None:
        """End it with SIGKILL, at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float = 30) -> None:
        """End it with SIGTERM, and with SIGKILL if that does not help."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def peer_command(module: str, data: Path) -> list[str]:
    """Return how to start one of `bench.peers`."""
    return [sys.executable, "-m", f"bench.peers.{module}", "--data", str(data)]


def micwire_command(program: str, data: Path) -> list[str]:
    """Return how to start micwire."""
    return [program, "serve", "--port", "0", "--data", str(data)]


def make_user(program: str, data: Path) -> str:
    """Make a user, so that everybody has to sign in; return a token that may record."""

    def run(arguments: str, given: str = "") -> str:
        command = [program, *arguments.split(), "--data", str(data)]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    run("user add bench", "a password of the bench\n")
    return run("token create bench --scope record --user bench")


def default_micwire() -> str:
    """Return the `micwire` beside the running Python, as in any virtual environment."""
    return str(Path(sys.executable).with_name("micwire"))
