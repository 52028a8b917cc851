"""micwire's recorder behind a Tornado handler: its links need no framework.

Run `python examples/tornado_app.py`: microphones speak `micwire.v1` at
127.0.0.1:8000/v1/stream.
"""

import asyncio
from contextlib import suppress

from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from micwire import create_app

micwire = create_app()


class Stream(WebSocketHandler):
    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "micwire.v1" if "micwire.v1" in subprotocols else None

    def open(self) -> None:  # Tornado has let in pages of its own origin only
        self.link = micwire.recorder.connect(self.tell)

    async def on_message(self, message: str | bytes) -> None:
        if not self.link.feed(message):
            await self.link.has_room()  # the next message is read when this returns

    def tell(self) -> None:
        with suppress(WebSocketClosedError):  # `on_close` is on its way
            for text in self.link.outgoing():
                self.write_message(text)
            if self.link.closing is not None:
                self.close(*self.link.closing)

    def on_close(self) -> None:
        self.link.lost()


async def serve() -> None:
    async with micwire:
        application = Application()
        # By no other name: a foreign page may point one of its own here.
        application.add_handlers(r"(localhost|127\.0\.0\.1)", [("/v1/stream", Stream)])
        application.listen(micwire.config.port, "127.0.0.1")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
