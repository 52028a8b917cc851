"""The WebSocket carrier under ASGI: handshakes, both directions, and no reading ahead."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

from micwire.transports.handshake import Accepted, Denied, Handshake
from micwire.transports.websocket import AsgiSockets, StreamDoor

Message = MutableMapping[str, Any]


class FakeLink:
    """A link that notes what it is fed, and says what a test wants."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.fed: list[str | bytes] = []
        self.texts: list[str] = []
        self.closing: tuple[int, str] | None = None
        self.room = asyncio.Event()
        self.room.set()
        self.is_lost = False

    def feed(self, message: str | bytes) -> bool:
        self.fed.append(message)
        return self.room.is_set()

    async def has_room(self) -> None:
        await self.room.wait()

    def outgoing(self) -> list[str]:
        texts, self.texts = self.texts, []
        return texts

    def lost(self) -> None:
        self.is_lost = True

    def say(self, *texts: str, closing: tuple[int, str] | None = None) -> None:
        self.texts += texts
        self.closing = closing
        self.wake()


class Peer:
    """The ASGI server's side of one connection."""

    def __init__(self, path: str = "/v1/stream", **scope: object) -> None:
        self.links: list[FakeLink] = []
        self.sent: list[Message] = []
        self.taken = 0
        self._incoming: deque[Message] = deque([{"type": "websocket.connect"}])
        self._arrived = asyncio.Event()
        self.scope: Message = {
            "type": "websocket",
            "path": path,
            "query_string": b"",
            "headers": [],
            "subprotocols": ["micwire.v1"],
            "extensions": {"websocket.http.response": {}},
        } | scope

    def connect(self, wake: Callable[[], None], request: Mapping[str, Any]) -> FakeLink:
        assert request is self.scope
        self.links.append(FakeLink(wake))
        return self.links[-1]

    def put(self, **message: object) -> None:
        self._incoming.append(message)
        self._arrived.set()

    async def receive(self) -> Message:
        while not self._incoming:
            self._arrived.clear()
            await self._arrived.wait()
        self.taken += 1
        return self._incoming.popleft()

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def start(self, *, may_connect: bool = True) -> asyncio.Task[None]:
        door = StreamDoor(self.connect, lambda origins, hosts: may_connect)
        sockets = AsgiSockets({"/v1/stream": door})
        return asyncio.create_task(sockets(self.scope, self.receive, self.send))


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_messages_go_both_ways_in_their_order() -> None:
    async def run() -> None:
        peer = Peer()
        task = peer.start()
        await settle()
        (link,) = peer.links
        peer.put(type="websocket.receive", text="{}", bytes=None)
        peer.put(type="websocket.receive", text=None, bytes=b"12")
        peer.put(type="websocket.receive", bytes=b"")
        link.say("a", "b")
        await settle()
        link.say("c", closing=(4400, "bad-message"))
        await settle()
        assert link.fed == ["{}", b"12", b""]
        assert peer.sent == [
            {"type": "websocket.accept", "subprotocol": "micwire.v1"},
            {"type": "websocket.send", "text": "a"},
            {"type": "websocket.send", "text": "b"},
            {"type": "websocket.send", "text": "c"},
            {"type": "websocket.close", "code": 4400, "reason": "bad-message"},
        ]
        assert not link.is_lost
        peer.put(type="websocket.disconnect", code=4400)
        await task
        assert link.is_lost

    asyncio.run(run())


def test_a_link_without_room_is_fed_no_further_message() -> None:
    async def run() -> None:
        peer = Peer()
        task = peer.start()
        await settle()
        (link,) = peer.links
        link.room.clear()
        for number in range(3):
            peer.put(type="websocket.receive", bytes=bytes([number]))
        await settle()
        assert link.fed == [b"\0"]
        assert peer.taken == 2  # connect, and the one
        link.room.set()
        await settle()
        assert link.fed == [b"\0", b"\1", b"\2"]
        peer.put(type="websocket.disconnect")
        await task

    asyncio.run(run())


def test_a_peer_that_left_while_we_send_is_no_error_and_the_link_hears_of_it() -> None:
    async def run() -> None:
        peer = Peer()

        async def gone(message: Message) -> None:
            if message["type"] == "websocket.send":
                raise OSError("the peer is gone")

        peer.send = gone  # type: ignore[method-assign]  # this peer's way of leaving
        task = peer.start()
        await settle()
        peer.links[0].say("a")
        await settle()
        peer.put(type="websocket.disconnect")
        await task
        assert peer.links[0].is_lost

    asyncio.run(run())


def test_a_cancelled_carrier_tells_its_link() -> None:
    async def run() -> None:
        peer = Peer()
        task = peer.start()
        await settle()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert peer.links[0].is_lost

    asyncio.run(run())


def denied_status(peer: Peer, *, may_connect: bool = True) -> object:
    """Return how a handshake was denied; no link was made for it."""

    async def run() -> None:
        await peer.start(may_connect=may_connect)

    asyncio.run(run())
    assert not peer.links
    first, *rest = peer.sent
    if first["type"] == "websocket.close":
        assert not rest
        return first["code"]
    assert first["type"] == "websocket.http.response.start"
    (body,) = rest
    assert dict(first["headers"])[b"content-length"] == str(len(body["body"])).encode()
    return first["status"]


def test_a_denied_handshake_makes_no_link() -> None:
    assert denied_status(Peer(), may_connect=False) == HTTPStatus.FORBIDDEN
    assert denied_status(Peer(subprotocols=[])) == HTTPStatus.BAD_REQUEST
    assert denied_status(Peer(subprotocols=["micwire.v2"])) == HTTPStatus.BAD_REQUEST
    assert denied_status(Peer("/v1/other")) == HTTPStatus.NOT_FOUND
    # A server that can't answer a handshake with HTTP closes it.
    assert denied_status(Peer(extensions={}), may_connect=False) == 1008


def test_an_app_mounted_below_a_path_finds_its_doors() -> None:
    async def run() -> None:
        peer = Peer("/below/v1/stream", root_path="/below")
        task = peer.start()
        await settle()
        assert len(peer.links) == 1
        peer.put(type="websocket.disconnect")
        await task

    asyncio.run(run())


def test_the_stream_door_asks_for_the_origin_first() -> None:
    asked: list[tuple[list[str], list[str]]] = []

    def may_connect(origins: list[str], hosts: list[str]) -> bool:
        asked.append((origins, hosts))
        return False

    door = StreamDoor(Peer().connect, may_connect)
    verdict = door.judge(Handshake("", ["https://a.example"], ["b.example"], [], {}))
    assert isinstance(verdict, Denied)
    assert verdict.status == HTTPStatus.FORBIDDEN
    assert asked == [(["https://a.example"], ["b.example"])]
    welcome = StreamDoor(Peer().connect, lambda origins, hosts: True)
    verdict = welcome.judge(Handshake("", [], [], ["x", "micwire.v1"], {}))
    assert isinstance(verdict, Accepted)
    assert verdict.subprotocol == "micwire.v1"
