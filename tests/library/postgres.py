"""A private Postgres of Debian's package, for tests: made in a folder, gone with it.

It listens on a socket in that folder only. Postgres refuses to run as root, so then
it runs as the user that its package brought.
"""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

START_S = 30.0


class Postgres:
    """A running server; `database` makes a new, empty database."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._run("initdb", "-D", f"{folder}/data", "-U", "micwire", "-A", "trust", "-E", "UTF8")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["-k", str(self.folder), "-c", "listen_addresses=", "-c", "fsync=off"]
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", f"{self.folder}/data", *options],
            cwd=self.folder,
            user=self._user,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("pg_isready", "-h", str(self.folder))
                return
            time.sleep(0.05)
        raise RuntimeError("Postgres does not start")

    def stop(self) -> None:
        """Stop it at once."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(START_S)
            self._process = None

    def kill(self) -> None:
        """Break all connections and take no more."""
        if self._process is not None:
            self._run("pg_ctl", "stop", "-m", "immediate", "-D", f"{self.folder}/data")
            self._process.wait(START_S)
            self._process = None

    def database(self) -> str:
        """Return the address of a new database."""
        name = f"test_{uuid4().hex}"
        self._run("createdb", "-h", str(self.folder), "-U", "micwire", name)
        return f"postgresql://micwire@/{name}?host={self.folder}"

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._programs / program, *words],
            cwd=self.folder,
            user=self._user,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a Postgres of its own."""
    [*_, programs] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    # Not below pytest's folder: that is for its own user's eyes only.
    folder = Path(tempfile.mkdtemp(prefix="micwire-postgres-"))
    server = Postgres(folder, programs)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
