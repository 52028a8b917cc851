"""The same bare sink as `sink_starlette`, on aiohttp with uvloop."""

import asyncio
from itertools import count
from pathlib import Path

import uvloop
from aiohttp import WSMsgType, web

from bench.peers.common import converter, data_directory, listen


def application(directory: Path) -> web.Application:
    """Return the app; connection n writes `n.pcm` in `directory`."""
    numbers = count()

    async def record(request: web.Request) -> web.WebSocketResponse:
        convert = converter(request.query.get("encoding"))
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        with (directory / f"{next(numbers)}.pcm").open("wb") as file:
            async for message in socket:
                if message.type is WSMsgType.BINARY:
                    file.write(convert(message.data))
        return socket

    app = web.Application()
    app.router.add_get("/websocket", record)
    return app


async def serve(directory: Path) -> None:
    """Serve until the process is ended."""
    runner = web.AppRunner(application(directory), access_log=None)
    await runner.setup()
    await web.SockSite(runner, listen("sink_aiohttp"), backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(data_directory()))
