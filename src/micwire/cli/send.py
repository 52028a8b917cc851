"""`micwire send`: an audio file as a microphone would bring it.

Reading blocks, so it happens on threads of its own; they never keep the program alive.
"""

import asyncio
import signal
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from micwire.audiofile import STANDARD_INPUT, AudioSource, open_audio
from micwire.cli.exits import INTERRUPTED, OK, USAGE
from micwire.client import Recording, connect

BLOCK_S = 0.1
FAST_BLOCK_BYTES = 256 * 1024
SHOW_S = 0.2
TELL_S = 5.0

T = TypeVar("T")


def send_file(
    name: str,
    url: str,
    *,
    is_fast: bool,
    title: str | None,
    token: str | None,
    authority: Path | None,
    connect_timeout_s: float,
) -> int:
    """Stream a file and return the exit code.

    Raises:
        MicwireError: The file, the server or the recording is not as it should be.
        OSError: The file can't be read.
    """
    source = open_audio(name)
    for note in source.notes:
        typer.echo(f"micwire: {note}", err=True)
    if title is None and name != STANDARD_INPUT:
        title = Path(name).name
    try:
        recording = connect(
            url,
            source.format,
            title=title,
            token=token,
            trust=None if authority is None else ssl.create_default_context(cafile=authority),
            open_timeout_s=connect_timeout_s,
        )
    except ssl.SSLError:
        typer.echo(f"micwire: {authority} holds no certificate in PEM", err=True)
        return USAGE
    except ValueError as error:
        typer.echo(f"micwire: {error}", err=True)
        return USAGE
    return asyncio.run(_Sending(source, recording, is_fast=is_fast).run())


class _Sending:
    """One file on its way."""

    def __init__(self, source: AudioSource, recording: Recording, *, is_fast: bool) -> None:
        self._source = source
        self._recording = recording
        self._is_fast = is_fast
        self._is_stopped = asyncio.Event()
        self._is_read = False

    async def run(self) -> int:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._interrupt, task)
        telling: asyncio.Task[None] | None = None
        try:
            with self._shown() as progress:
                async with self._recording:
                    telling = asyncio.create_task(self._tell(progress))
                    await self._stream()
        except asyncio.CancelledError:
            typer.echo(
                f"micwire: given up; {self._seconds(self._recording.durable_frames)} are safe in"
                f" {self._recording.url}",
                err=True,
            )
            return INTERRUPTED
        finally:
            if telling is not None:
                telling.cancel()
        typer.echo(
            f"{self._seconds(self._recording.durable_frames)}"
            f" ({self._recording.durable_frames} frames) are safe, and the digest agrees",
            err=True,
        )
        typer.echo(self._recording.url)
        return OK

    def _interrupt(self, task: asyncio.Task[int] | None) -> None:
        if self._is_stopped.is_set() and task is not None:
            task.cancel()
        self._is_stopped.set()

    async def _stream(self) -> None:
        """Read and write until the file ends or the first Ctrl+C."""
        audio_format = self._source.format
        frames = max(1, round(BLOCK_S * audio_format.sample_rate))
        if self._is_fast:
            frames = max(1, FAST_BLOCK_BYTES // audio_format.frame_bytes)
        stopped = asyncio.create_task(self._is_stopped.wait())
        start = asyncio.get_running_loop().time()
        while True:
            reading = asyncio.create_task(_apart(self._source.read, frames))
            await asyncio.wait({reading, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                reading.cancel()
                break
            block = reading.result()
            if not block or stopped.done():
                break
            if not self._is_fast:
                # By the end of the block, as a microphone; from the start, so that no
                # delay adds up.
                end = self._recording.captured_frames + len(block) // audio_format.frame_bytes
                due = start + audio_format.seconds(end)
                await asyncio.wait({stopped}, timeout=due - asyncio.get_running_loop().time())
            await self._recording.write(block)
        stopped.cancel()
        self._is_read = True

    # ---- what the person sees ------------------------------------------------------

    def _seconds(self, frames: int) -> str:
        return f"{self._source.format.seconds(frames):.1f} s"

    def _shown(self) -> AbstractContextManager[Progress | None]:
        console = Console(stderr=True)
        if not console.is_terminal:
            return nullcontext()
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[words]}"),
            console=console,
            transient=True,
        )

    async def _tell(self, progress: Progress | None) -> None:
        if progress is None:
            while True:
                await asyncio.sleep(TELL_S)
                print(f"{self._state()}: {self._words()}", file=sys.stderr, flush=True)
        bar = progress.add_task(self._state(), total=self._source.frames, words=self._words())
        while True:
            progress.update(
                bar,
                completed=self._recording.durable_frames,
                description=self._state(),
                words=self._words(),
            )
            await asyncio.sleep(SHOW_S)

    def _state(self) -> str:
        if self._recording.state == "online":
            return "finishing" if self._is_read else "sending"
        return self._recording.state

    def _words(self) -> str:
        recording = self._recording
        words = (
            f"{self._seconds(recording.captured_frames)} read,"
            f" {self._seconds(recording.durable_frames)} safe on the server"
        )
        return f"{words} ({recording.trouble})" if recording.trouble else words


async def _apart(function: Callable[[int], T], count: int) -> T:
    """Call a function that blocks, perhaps for ever, on a thread that nobody waits for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # it is a T without an error

    def work() -> None:
        result, error = None, None
        try:
            result = function(count)
        except Exception as caught:
            error = caught
        with suppress(RuntimeError):  # the loop is closed: the program is ending
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, daemon=True).start()
    return await future
