"""What every browser test needs: a server, a page's host, and a microphone that counts.

The microphone is a file whose every stereo frame names its own place, so that a gap, a
repeat, an alteration and a swapped channel all show.
"""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page, WebSocket

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
FAKE_MIC_RATE = 44_100
"""Chromium's fake microphone runs at this rate; another file would be resampled."""
_READY = re.compile(r"(?:micwire is at|running on) (https?://[^\s/]+)")


class Server:
    """A server as a process of its own; a context manager that stops it.

    Args:
        data: Its data directory.
        command: What to run; it says where it listens once it does.
    """

    def __init__(self, data: Path, command: list[str]) -> None:
        self.data = data
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"MICWIRE_DATA": str(data), "MICWIRE_PORT": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.address = self._await_ready()

    @staticmethod
    def micwire(data: Path, *arguments: str) -> "Server":
        """Return a running `micwire serve` on a free port, or that of a further argument."""
        return Server(data, [str(Path(sys.executable).with_name("micwire")), "serve", *arguments])

    def _await_ready(self) -> str:
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            ready = _READY.search(line)
            if ready is not None:
                return ready[1]
            said += line
        raise AssertionError(f"the server ended with {self._process.wait()}: {said}")

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.address.rpartition(":")[2])

    def wavs(self) -> list[Path]:
        """Return the WAVs in the data directory, by name."""
        return sorted(self.data.glob("*/*.wav"))

    def recording(self, recording: str) -> dict[str, object]:
        """Return what the server knows of a recording."""
        with urlopen(f"{self.address}/api/v1/recordings/{recording}") as answer:
            facts: dict[str, object] = json.load(answer)
            return facts

    def wav(self, recording: str, path: Path) -> Path:
        """Download the WAV of a recording to `path`."""
        with urlopen(f"{self.address}/api/v1/recordings/{recording}/audio") as answer:
            path.write_bytes(answer.read())
        return path

    def pause(self) -> None:
        """Freeze it, as an overloaded machine would."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it with SIGTERM; nothing happens if it has ended."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(30)
        self._process.stdout.close()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Wire:
    """What a page's sockets carried, as the browser's own inspector saw it."""

    def __init__(self, page: Page) -> None:
        self.sent: list[str | bytes] = []
        self.heard: list[dict[str, object]] = []
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        # Playwright sets an attribute on its listeners: a built-in method has no room for one.
        socket.on("framesent", self._sent)
        socket.on("framereceived", lambda text: self.heard.append(json.loads(text)))

    def _sent(self, message: str | bytes) -> None:
        self.sent.append(message)

    def samples(self, channels: int) -> NDArray[np.float32]:
        """Return the samples that were sent, in shape (frames, channels)."""
        data = b"".join(message for message in self.sent if isinstance(message, bytes))
        return np.frombuffer(data, dtype="<f4").reshape(-1, channels)

    @property
    def recording(self) -> str:
        """The id of the recording."""
        return str(self.heard[0]["recording"])

    @property
    def acked(self) -> int:
        """The largest acknowledgement."""
        return max(int(str(message["frames"])) for message in self.heard if "frames" in message)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a test that fails says enough."""


@contextmanager
def hosted(directory: Path) -> Iterator[str]:
    """Serve a directory as another web application would; yield its origin."""
    handler = functools.partial(_QuietHandler, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def place_signal(frames: int, first: int = 0) -> NDArray[np.int16]:
    """Return a stereo signal, shape (frames, 2), whose every frame names its own place.

    The first frame is that of place `first`.
    """
    mixed = np.arange(first, first + frames, dtype=np.uint32) * np.uint32(0x9E3779B1)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(0x85EBCA6B)
    halves = np.stack([mixed >> np.uint32(16), mixed & np.uint32(0xFFFF)], axis=1)
    samples: NDArray[np.int16] = halves.astype(np.uint16).view(np.int16)
    return samples


def write_wav(path: Path, samples: NDArray[np.int16], sample_rate: int) -> None:
    """Write samples of shape (frames, channels)."""
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, sample_rate, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


def read_wav(path: Path) -> tuple[int, NDArray[np.int16]]:
    """Return the sample rate, and the samples in shape (frames, channels)."""
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        data = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return file.getframerate(), data.reshape(-1, file.getnchannels())


def as_stored(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return what the wire promises to store of float samples, by a formula of its own."""
    exact = np.rint(samples.astype(np.float64) * 32_768)
    stored: NDArray[np.int16] = np.nan_to_num(exact).clip(-32_768, 32_767).astype(np.int16)
    return stored


def eventually(is_so: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until a function returns true."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
