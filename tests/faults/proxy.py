"""A TCP proxy that harms what passes: cuts, silence, delay, half-closes, single bytes.

It knows nothing of WebSockets, so that it cuts anywhere: in a handshake, in a header, in
the middle of a frame of audio.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

KINDS = ("reset", "close", "half-close", "black-hole", "delay", "drip")


@dataclass(frozen=True)
class Harm:
    """What befalls one connection.

    Args:
        kind: One of `KINDS`; empty for none.
        up_bytes: After so many bytes of the client.
        down_bytes: Or after so many bytes of the server.
        seconds: How long silence or delay lasts.
    """

    kind: str = ""
    up_bytes: int = 1 << 60
    down_bytes: int = 1 << 60
    seconds: float = 0.5


def any_harm(rng: random.Random) -> Harm:
    """Choose a harm, as often in the handshake as in the middle of much audio."""
    up, down = rng.choice([(600, 400), (60_000, 3_000)])
    return Harm(
        rng.choice(KINDS),
        up_bytes=rng.randint(0, up),
        down_bytes=rng.choice([1 << 60, rng.randint(0, down)]),
        seconds=rng.uniform(0.05, 0.4),
    )


class Proxy:
    """A proxy on this machine; a context manager.

    Args:
        target_port: Where the server is.
        harm: Chooses what befalls the next connection.
    """

    def __init__(self, target_port: int, harm: Callable[[], Harm]) -> None:
        self.port = 0
        self.harmed: list[str] = []
        self._target_port = target_port
        self._harm = harm
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        harm = self._harm()
        try:
            to_server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            writer.transport.abort()
            return
        both = (writer, to_server[1])
        pumps = [
            asyncio.create_task(self._pump(reader, to_server[1], both, harm, harm.up_bytes)),
            asyncio.create_task(self._pump(to_server[0], writer, both, harm, harm.down_bytes)),
        ]
        try:
            await asyncio.wait(pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in both:
                end.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        harm: Harm,
        limit: int,
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if harm.kind and passed + len(data) > limit:
                    writer.write(data[: limit - passed])
                    await writer.drain()
                    self.harmed.append(harm.kind)
                    if not await self._hurt(harm, writer, both, data[limit - passed :]):
                        return
                    harm = self._harm()  # it lives on, until the next harm
                    limit = passed + len(data) + harm.up_bytes % 60_000
                else:
                    writer.write(data)
                    await writer.drain()
                passed += len(data)
            if writer.can_write_eof():
                writer.write_eof()

    @staticmethod
    async def _hurt(
        harm: Harm,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        rest: bytes,
    ) -> bool:
        """Do the harm; True if the connection goes on."""
        match harm.kind:
            case "reset":
                for end in both:
                    end.transport.abort()
                return False
            case "close":
                for end in both:
                    end.close()
                return False
            case "half-close":
                writer.write_eof()
                await asyncio.sleep(harm.seconds)
                return False
            case "black-hole":
                await asyncio.sleep(harm.seconds)
                for end in both:
                    end.transport.abort()
                return False
            case "delay":
                await asyncio.sleep(harm.seconds)
                writer.write(rest)
            case "drip":
                for position in range(min(len(rest), 300)):
                    writer.write(rest[position : position + 1])
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write(rest[300:])
        await writer.drain()
        return True
