"""A sound system of our own: PulseAudio with microphones that count their frames.

Both browsers take its microphones for real ones. What feeds a microphone is its clock; it
can be pulled out, muted, or made the default while a browser records from it.
"""

import contextlib
import fcntl
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

from tests.browser.harness import eventually, place_signal

RATE = 48_000
"""What both browsers record at, in frames a second; another microphone is resampled to it."""
_BLOCKS_PER_S = 100
_PIPE_BYTES = 16_384


class Microphone:
    """A thread that feeds one source of PulseAudio, in stereo, at a pace of its own.

    Args:
        pipe: The named pipe that the source reads.
        sample_rate: Frames a second of its own clock.
        place: Where in the signal it begins.
    """

    def __init__(self, pipe: Path, sample_rate: int, place: int) -> None:
        self.sample_rate = sample_rate
        self.place = place
        """The place of the next frame."""
        self._is_ended = threading.Event()
        self._pipe = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        frames = self.sample_rate // _BLOCKS_PER_S
        due = time.monotonic()
        while not self._is_ended.wait(max(0.0, due - time.monotonic())):
            block = place_signal(frames, self.place).astype("<i2").tobytes()
            try:
                os.write(self._pipe, block)  # all or nothing: less than PIPE_BUF
            except BlockingIOError:
                due = time.monotonic()  # the machine is busy: the clock stands still
            except BrokenPipeError:
                return
            else:
                self.place += frames
            due += 1 / _BLOCKS_PER_S

    def end(self) -> None:
        """Stop the clock for good."""
        self._is_ended.set()
        self._thread.join()
        os.close(self._pipe)


class Pulse:
    """A PulseAudio server that only who is given its `environment` knows; a context manager.

    Args:
        directory: Empty; it keeps what the server needs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        socket = directory / "native"
        settings = directory / ".config" / "pulse" / "daemon.conf"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"default-sample-rate = {RATE}\n")
        self.environment = {
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory),
            "PULSE_RUNTIME_PATH": str(directory),
            "PULSE_SERVER": f"unix:{socket}",
        }
        self._microphones: dict[str, tuple[Microphone, list[str]]] = {}
        self._process = subprocess.Popen(
            [
                "pulseaudio",
                "-n",
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--disallow-exit",
                f"--load=module-native-protocol-unix socket={socket} auth-anonymous=1",
                # Where pages play: without it an AudioContext has no clock.
                "--load=module-null-sink sink_name=speaker",
            ],
            env=os.environ | self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually(socket.exists)
        except BaseException:
            self._process.kill()
            raise

    def plug_in(self, name: str, sample_rate: int = RATE, *, place: int = 0) -> Microphone:
        """Add a microphone; the first is the default one."""
        pipe = self._directory / f"{name}.pipe"
        module = self.control(
            "load-module",
            "module-pipe-source",
            f"source_name={name}",
            f"file={pipe}",
            "format=s16le",
            f"rate={sample_rate}",
            "channels=2",
            f"source_properties=device.description={name}",
        ).strip()
        # Somebody always listens: else its clock would stand still between two recordings.
        listener = self.control(
            "load-module",
            "module-loopback",
            f"source={name}",
            "source_dont_move=true",
            "sink=speaker",
        ).strip()
        microphone = Microphone(pipe, sample_rate, place)
        self._microphones[name] = (microphone, [listener, module])
        if len(self._microphones) == 1:
            self.make_default(name)
        return microphone

    def pull_out(self, name: str) -> None:
        """Take a microphone away."""
        microphone, modules = self._microphones.pop(name)
        for module in modules:
            self.control("unload-module", module)
        microphone.end()

    def make_default(self, name: str) -> None:
        """Make a microphone the one that is used where none is named."""
        self.control("set-default-source", name)

    def mute(self, name: str, *, is_muted: bool) -> None:
        """Silence a microphone as the switch of a sound settings' window would, or end that."""
        self.control("set-source-mute", name, str(int(is_muted)))

    def control(self, *command: str) -> str:
        """Run `pactl`; return what it prints."""
        done = subprocess.run(
            ["pactl", *command],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in tuple(self._microphones):
            with contextlib.suppress(AssertionError):
                self.pull_out(name)
        self._process.terminate()
        self._process.wait(10)
