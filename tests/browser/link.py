"""The way between page and server, which a test can refuse, silence and restore.

Not the browser's own "offline": that one leaves sockets and workers alone.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Self


class Link:
    """A TCP proxy in a thread of its own; a context manager.

    Args:
        port: Where the server is.
    """

    def __init__(self, port: int) -> None:
        self._target_port = port
        self._is_refused = False
        self._loop = asyncio.new_event_loop()
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = 0
        """Where pages find the server now."""
        self._do(self._listen())

    @property
    def address(self) -> str:
        """The server's address, by this way."""
        return f"http://127.0.0.1:{self.port}"

    def refuse(self) -> None:
        """Break all connections, and refuse new ones."""
        self._do(self._set(is_refused=True, is_silent=False))

    def silence(self) -> None:
        """Let nothing pass in either direction, as a network that is gone: no end, no error."""
        self._do(self._set(is_refused=False, is_silent=True))

    def restore(self) -> None:
        """Let pass what comes, and what was held."""
        self._do(self._set(is_refused=False, is_silent=False))

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _set(self, *, is_refused: bool, is_silent: bool) -> None:
        self._is_refused = is_refused
        (self._flows.clear if is_silent else self._flows.set)()
        if is_refused:
            await self._break()

    async def _break(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_refused:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            await self._flows.wait()
            back, forth = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.append(forth)
            await asyncio.gather(self._pump(reader, forth), self._pump(back, writer))
        except OSError:
            pass  # the server is gone
        finally:
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        await self._flows.wait()
        writer.write_eof()

    async def _close(self) -> None:
        self._server.close()
        await self._break()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(TimeoutError):
            self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
