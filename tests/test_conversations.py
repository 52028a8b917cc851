"""The conversations of `spec/vectors/conversations.json`, held with a real server."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.faults.harness import Server

VECTORS = Path(__file__).parents[1] / "spec" / "vectors" / "conversations.json"
CONVERSATIONS: list[dict[str, Any]] = json.loads(VECTORS.read_text())["conversations"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("conversations")) as running:
        yield running


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda vector: vector["name"])
def test_a_conversation_goes_as_the_spec_says(conversation: dict[str, Any], server: Server) -> None:
    asyncio.run(asyncio.wait_for(hold(conversation["steps"], server.port), 20))


async def hold(steps: list[dict[str, Any]], port: int) -> None:
    """Take every step; an assertion tells the first that goes otherwise."""
    links: list[ClientConnection] = []
    try:
        for step in steps:
            if "connect" in step:
                links.append(await open_link(port))
            elif "client" in step:
                await links[-1].send(message_of(step["client"]))
            elif "close" in step:
                assert await closing_code(links[-1]) == step["close"], step
            else:
                await expect(links[-1], step["server"])
    finally:
        for link in links:
            await link.close()


async def open_link(port: int) -> ClientConnection:
    return await connect(
        f"ws://127.0.0.1:{port}/v1/stream",
        subprotocols=["micwire.v1"],  # type: ignore[list-item]  # a NewType of str
        compression=None,
    )


def message_of(client: dict[str, Any]) -> str | bytes:
    return bytes.fromhex(client["hex"]) if "hex" in client else json.dumps(client)


async def expect(link: ClientConnection, wanted: dict[str, Any]) -> None:
    while True:
        message = json.loads(await link.recv())
        is_awaited = wanted["type"] == "ack" and message.get("frames", 0) >= wanted["frames"]
        if message["type"] == "ack" and not is_awaited:
            continue
        assert {name: message.get(name) for name in wanted} == wanted
        return


async def closing_code(link: ClientConnection) -> int | None:
    try:
        while True:
            message = json.loads(await link.recv())
            assert message["type"] == "ack", message
    except ConnectionClosed:
        return link.close_code
