"""The floor for an ASGI server: Starlette on uvicorn that converts and writes, no more.

One plain buffered file per connection; no journal, no sync, no acks. micwire's own stack
(uvloop, httptools, websockets without deflate), so the difference is what micwire adds.
"""

from itertools import count
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from bench.peers.common import converter, data_directory, listen


def application(directory: Path) -> Starlette:
    """Return the app; connection n writes `n.pcm` in `directory`."""
    numbers = count()

    async def record(socket: WebSocket) -> None:
        convert = converter(socket.query_params.get("encoding"))
        await socket.accept()
        # A blocking file on the loop, as anyone would write it at first.
        with (directory / f"{next(numbers)}.pcm").open("wb") as file:
            while (event := await socket.receive())["type"] == "websocket.receive":
                if message := event.get("bytes"):
                    file.write(convert(message))

    return Starlette(routes=[WebSocketRoute("/websocket", record)])


def main() -> None:
    """Serve until told to stop."""
    config = uvicorn.Config(
        application(data_directory()),
        loop="uvloop",
        http="httptools",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
    uvicorn.Server(config).run(sockets=[listen("sink_starlette")])


if __name__ == "__main__":
    main()
