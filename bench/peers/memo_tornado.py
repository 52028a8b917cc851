"""The server that micwire began with: everything in memory, one file at the close.

Its faults are kept on purpose, since they are what is measured: memory grows with the
sound, the conversion at the close holds up everyone, loud samples wrap around, and all
connections write the same path.
"""

import asyncio
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tornado.httpserver import HTTPServer
from tornado.web import Application
from tornado.websocket import WebSocketHandler

from bench.peers.common import data_directory, listen


class Microphone(WebSocketHandler):
    """Keeps each message as an array until the page goes away."""

    def initialize(self, path: Path) -> None:
        """Take the one path that every recording is written to."""
        self.path = path

    def open(self) -> None:
        """Begin with no sound."""
        self.is_float = self.get_query_argument("encoding") == "pcm_f32le"
        self.blocks: list[NDArray[Any]] = []

    def on_message(self, message: str | bytes) -> None:
        """Keep one block."""
        if isinstance(message, bytes):
            self.blocks.append(np.frombuffer(message, "<f4" if self.is_float else "<i2"))

    def on_close(self) -> None:
        """Convert all blocks at once and write them."""
        samples = np.array(self.blocks)
        if self.is_float:
            with np.errstate(invalid="ignore"):  # out of range wraps, as it always did
                samples = (samples * 32767).astype(np.int16)
        with wave.open(str(self.path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(48_000)
            file.writeframes(samples.tobytes())


async def serve(directory: Path) -> None:
    """Serve until the process is ended."""
    settings = {"path": directory / "audio.wav"}
    server = HTTPServer(Application([("/websocket", Microphone, settings)]))
    server.add_socket(listen("memo_tornado"))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(data_directory()))
