"""Links that break and clients that misbehave, against a real server over real sockets.

In each test a bystander records all the while: nobody else's trouble may delay its acks by
more than a second, or lose it a frame.
"""

import asyncio
import json
import random
import socket as sockets
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.faults.harness import (
    CLOSE_CODES,
    SOAK,
    Gap,
    Lag,
    Message,
    Microphone,
    RefusedByServer,
    Server,
    Signal,
    audio,
    check_recording,
    check_wav,
    dial,
    new_key,
    receive,
    receive_type,
    refusal,
    sidecar,
    stored_frames,
    wait_ack,
    wait_until,
    wav_path,
    whole,
)
from tests.faults.proxy import Proxy, any_harm

SOUND = Signal()
Sent = str | bytes | Message | list[Message]


@asynccontextmanager
async def bystander(server: Server) -> AsyncIterator[Microphone]:
    """Record next to what a test does, and demand that it goes undisturbed."""
    microphone = Microphone(server.port, 1 << 40, speed=48_000)
    async with Lag() as lag:
        going = asyncio.create_task(microphone.record())
        await asyncio.wait_for(microphone.opened.wait(), 5)
        yield microphone
        microphone.end_soon()
        await asyncio.wait_for(going, 10)
    assert microphone.rules.connections == 1, "the bystander lost its link"
    assert microphone.rules.worst_ack_s <= 1 + lag.worst_s
    assert microphone.rules.worst_silence_s <= 1 + lag.worst_s
    check_recording(server.data, microphone, has_ffprobe=False)


def run_beside(server: Server, work: Callable[[], Awaitable[None]]) -> None:
    """Do something against a server while a bystander records."""

    async def both() -> None:
        async with bystander(server):
            await work()

    asyncio.run(both())


async def opened(microphone: Microphone) -> ClientConnection:
    """Return a socket on which the recording is open."""
    socket = await dial(microphone.port)
    await microphone.open(socket)
    return socket


async def send_frames(
    microphone: Microphone, socket: ClientConnection, first_frame: int, end: int
) -> None:
    """Send frames in one message, and wait until they are acknowledged."""
    microphone.sent = max(microphone.sent, end)
    await socket.send(audio(first_frame, microphone.signal.data(first_frame, end - first_frame)))
    microphone.acked = await wait_ack(socket, end)


# ---- links that break ------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [30, pytest.param(1_000, marks=SOAK)])
def test_links_cut_at_any_byte_lose_nothing(tmp_path: Path, cuts: int) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")

    async def work() -> None:
        rng = random.Random(seed)
        async with Proxy(server.port, lambda: any_harm(rng)) as proxy:
            microphones = [
                Microphone(
                    proxy.port,
                    1 << 40,
                    gaps=(Gap(3_000, 700), Gap(9_000, 1, "device", exact=False)),
                    marks=((0, "begin"), (5_000, "later")),
                    speed=48_000,
                    block_frames=block_frames,
                    seed=seed + block_frames,
                )
                for block_frames in (50, 480, 960, 4_800, 48_000)
            ]
            going = [asyncio.create_task(microphone.record()) for microphone in microphones]
            assert await wait_until(
                lambda: len(proxy.harmed) >= cuts or any(task.done() for task in going), cuts
            )
            for microphone in microphones:
                microphone.end_soon()
                microphone.port = server.port
            await asyncio.wait_for(asyncio.gather(*going), 30)
        print(f"{len(proxy.harmed)} links harmed: {sorted(set(proxy.harmed))}")
        for microphone in microphones:
            check_recording(server.data, microphone, has_ffprobe=False)

    with Server(tmp_path / "data") as server:
        run_beside(server, work)


def test_two_clients_that_fight_for_a_recording_alter_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        first = Microphone(server.port, 48_000)
        second = Microphone(server.port, 48_000)
        second.recording, second.key = first.recording, first.key
        epochs: list[int] = []

        async def fight(microphone: Microphone, rng: random.Random) -> None:
            for _ in range(25):
                try:
                    socket = await dial(server.port)
                    microphone.sent = 48_000  # what the other has sent is the same sound
                    answer = await microphone.open(socket)
                    epochs.append(whole(answer, "epoch"))
                    for _ in range(rng.randint(0, 5)):
                        first_frame = rng.randint(0, whole(answer, "frames"))
                        data = SOUND.data(first_frame, rng.randint(1, 900))
                        await socket.send(audio(first_frame, data))
                        await asyncio.sleep(rng.uniform(0, 0.01))
                    await socket.close()
                except RefusedByServer as refused:
                    if refused.code != "taken-over":
                        raise
                except ConnectionClosed:
                    pass

        await asyncio.gather(fight(first, random.Random(1)), fight(second, random.Random(2)))
        assert len(set(epochs)) == len(epochs), "one epoch for two"
        first.epoch = 0
        await first.record()
        check_recording(server.data, first)

    with Server(tmp_path / "data") as server:
        run_beside(server, work)


def test_an_open_sent_twice_and_late_makes_one_recording(tmp_path: Path) -> None:
    async def work() -> None:
        microphone = Microphone(server.port, 48_000)
        links = [await dial(server.port) for _ in range(8)]
        for link in links:
            await link.send(json.dumps(microphone.open_message))
        answers = await asyncio.gather(
            *(receive(link, 10) for link in links), return_exceptions=True
        )
        granted = [answer for answer in answers if isinstance(answer, dict)]
        epochs = [whole(answer, "epoch") for answer in granted]
        assert len(set(epochs)) == len(epochs)
        for answer in answers:
            if not isinstance(answer, dict):
                assert isinstance(answer, RefusedByServer)
                assert answer.code == "taken-over"
        await asyncio.gather(*(link.close() for link in links))
        microphone.epoch = max(epochs)
        await microphone.record()
        check_recording(server.data, microphone)

    with Server(tmp_path / "data") as server:
        run_beside(server, work)


def test_an_old_epoch_that_wakes_up_has_no_effect_and_is_told_within_a_second(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        microphone = Microphone(server.port, 20_000)
        old = await opened(microphone)
        await send_frames(microphone, old, 0, 1_000)
        async with Lag() as lag:
            new = await opened(microphone)
            began = time.monotonic()
            # What the older one sends from now on is other sound, an end, a deletion.
            foul = bytes(4 * 4_000)
            for message in (
                audio(1_000, foul),
                json.dumps(
                    {"type": "gap", "first_frame": 1_000, "frames": 50_000}
                    | {"cause": "device", "exact": True}
                ),
                json.dumps({"type": "mark", "frame": 1, "label": "foul"}),
                json.dumps({"type": "finish", "frames": 1_000}),
                json.dumps({"type": "discard"}),
            ):
                try:
                    await old.send(message)
                except ConnectionClosed:
                    break
            assert str(await refusal(old)).startswith("taken-over")
            assert time.monotonic() - began <= 1 + lag.worst_s
        await send_frames(microphone, new, 1_000, 2_000)
        await new.close()
        await microphone.record()
        check_recording(server.data, microphone)

    with Server(tmp_path / "data") as server:
        run_beside(server, work)


def test_an_open_that_meets_the_end_of_its_recording_gets_an_epoch_of_its_own(
    tmp_path: Path,
) -> None:
    async def one() -> None:
        microphone = Microphone(server.port, 5_000)
        socket = await opened(microphone)
        await send_frames(microphone, socket, 0, 5_000)
        await socket.send(json.dumps({"type": "finish", "frames": 5_000}))
        for _ in range(4):
            again = await opened(microphone)  # asserts that the epoch grows
            await again.close()
        again = await opened(microphone)
        finished = await receive_type(again, "finished")
        assert finished["frames"] == 5_000
        await again.close()
        await socket.close()
        await asyncio.sleep(0.6)
        assert sidecar(server.data, microphone.recording)["status"] == "finished"
        check_wav(wav_path(server.data, microphone.recording), SOUND, SOUND.expected(5_000))

    async def work() -> None:
        await asyncio.gather(*(one() for _ in range(20)))

    with Server(tmp_path / "data") as server:
        run_beside(server, work)


# ---- clients that misbehave ------------------------------------------------------------------


def refusals() -> list[tuple[str, str, Sent]]:
    """Return a name, the code expected, and what is sent behind 1,000 acknowledged frames."""
    gap = {"type": "gap", "first_frame": 1_000, "frames": 10, "cause": "device", "exact": True}
    return [
        ("not JSON", "bad-message", "{"),
        ("no object", "bad-message", "[]"),
        ("unknown type", "bad-message", {"type": "song"}),
        ("wrong field", "bad-message", gap | {"frames": "10"}),
        ("half a frame", "bad-message", audio(1_000, b"123")),
        ("half a header", "bad-message", b"1234567"),
        ("second open", "bad-message", "open"),
        ("mark behind the end", "bad-message",
         [{"type": "mark", "frame": 2_000, "label": ""}, {"type": "finish", "frames": 1_000}]),
        ("finish behind the end", "gap-undeclared", {"type": "finish", "frames": 1_001}),
        ("finish before the end", "diverged", {"type": "finish", "frames": 999}),
        ("audio behind a hole", "gap-undeclared", audio(1_001, SOUND.data(1_001, 50))),
        ("audio far away", "gap-undeclared", audio((1 << 64) - 1, SOUND.data(0, 50))),
        ("gap behind a hole", "gap-undeclared", gap | {"first_frame": 1_001}),
        ("gap of two days", "quota", gap | {"frames": 2 * 86_400 * 48_000}),
        ("one byte too many", "too-large", audio(1_000, bytes((1 << 20) - 7))),
        ("a long text", "too-large", {"type": "mark", "frame": 1, "label": "x" * (1 << 20)}),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that several tests use."""
    with Server(tmp_path_factory.mktemp("shared") / "data") as server:
        yield server


async def refused_behind_a_thousand(server: Server, code: str, bad: Sent) -> None:
    microphone = Microphone(server.port, 1_200)
    socket = await opened(microphone)
    await send_frames(microphone, socket, 0, 1_000)
    for sent in bad if isinstance(bad, list) else [bad]:
        message = microphone.open_message if sent == "open" else sent
        await socket.send(json.dumps(message) if isinstance(message, dict) else message)
    refused = await refusal(socket)
    assert (refused.code, refused.frames) == (code, 1_000)
    assert await stored_frames(microphone) == 1_000, "as a re-open right after says"
    await microphone.record()  # and it goes on as if nothing had been
    check_recording(server.data, microphone, has_ffprobe=False)


def test_each_refused_message_alters_nothing_and_says_where_the_server_stands(
    shared: Server,
) -> None:
    async def one(name: str, code: str, bad: Sent) -> None:
        try:
            await refused_behind_a_thousand(shared, code, bad)
        except BaseException as error:
            error.add_note(name)
            raise

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            for row in refusals():
                group.create_task(one(*row))

    run_beside(shared, work)


def an_open(**changes: object) -> Message:
    """Return a fresh `open`, with changes."""
    made: Message = {
        "type": "open",
        "recording": str(uuid4()),
        "key": new_key(),
        "format": {"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 2},
    }
    return made | changes


def test_what_comes_before_an_open_is_refused_with_its_code(shared: Server) -> None:
    rows: list[tuple[str, str | bytes | Message]] = [
        ("bad-message", audio(0, b"1234")),
        ("bad-message", b""),
        ("bad-message", {"type": "finish", "frames": 0}),
        ("bad-message", {"type": "discard"}),
        ("bad-message", an_open(recording="7F3A9C2E-0000-4000-8000-000000000000")),
        ("bad-message", an_open(key="short")),
        ("too-large", an_open(title="x" * (16 << 10))),
        ("too-large", bytes((16 << 10) + 1)),
        ("unsupported-format",
         an_open(format={"encoding": "mp3", "sample_rate": 48_000, "channels": 2})),
        ("unsupported-format",
         an_open(format={"encoding": "pcm_s16le", "sample_rate": 7_999, "channels": 2})),
        ("unsupported-format",
         an_open(format={"encoding": "pcm_s16le", "sample_rate": 48_000, "channels": 65})),
        ("unsupported-format",
         an_open(format={"encoding": "pcm_s16le", "sample_rate": 384_001, "channels": 1})),
    ]  # fmt: skip

    async def one(code: str, bad: str | bytes | Message) -> None:
        socket = await dial(shared.port)
        await socket.send(json.dumps(bad) if isinstance(bad, dict) else bad)
        with pytest.raises(RefusedByServer) as refused:
            await receive(socket)
        assert (refused.value.code, refused.value.frames) == (code, 0), bad

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(one(*row))

    run_beside(shared, work)


def test_a_client_that_sends_while_it_is_not_opened_yet_is_refused(shared: Server) -> None:
    async def work() -> None:
        for second in (b"\0" * 12, json.dumps(an_open())):
            socket = await dial(shared.port)
            first = an_open()
            await socket.send(json.dumps(first))
            await socket.send(second)
            assert (await refusal(socket)).code == "bad-message"
            await socket.close()

    run_beside(shared, work)


def test_a_client_that_never_opens_is_refused_after_five_seconds(shared: Server) -> None:
    async def work() -> None:
        began = time.monotonic()
        socket = await dial(shared.port)
        with pytest.raises(RefusedByServer, match="unauthenticated"):
            await receive(socket, 8)
        assert 4.5 <= time.monotonic() - began <= 6.5

    run_beside(shared, work)


def test_keys_endings_and_formats_are_answered_as_the_table_says(shared: Server) -> None:
    async def answer(message: Message) -> tuple[str, int]:
        socket = await dial(shared.port)
        await socket.send(json.dumps(message))
        with pytest.raises(RefusedByServer) as refused:
            await receive(socket)
        return refused.value.code, refused.value.frames

    async def work() -> None:
        microphone = Microphone(shared.port, 5_000)
        socket = await opened(microphone)
        await send_frames(microphone, socket, 0, 1_000)
        right = microphone.open_message
        other_format = {"format": {"encoding": "pcm_s16le", "sample_rate": 44_100, "channels": 2}}
        assert await answer(right | {"key": new_key()}) == ("forbidden", 0)
        assert await answer(right | other_format) == ("diverged", 1_000)
        assert await answer(right | {"acked": 1_001}) == ("diverged", 1_000)
        await send_frames(microphone, socket, 1_000, 1_001)  # none of them took it over
        await socket.close()
        await microphone.record()
        # Finished: `opened`, then `finished`; to others as before.
        socket = await dial(shared.port)
        await microphone.open(socket)
        assert (await receive_type(socket, "finished"))["matches"] is True
        await socket.send(audio(4_000, SOUND.data(4_000, 1_000)))  # a repetition is legal
        await socket.send(json.dumps({"type": "finish", "frames": 5_000}))
        assert (await receive_type(socket, "finished"))["frames"] == 5_000
        await socket.send(json.dumps({"type": "discard"}))
        assert str(await refusal(socket)).startswith("diverged at 5000")
        assert await answer(right | {"key": new_key()}) == ("forbidden", 0)
        assert await answer(right | {"acked": 5_001}) == ("diverged", 5_000)
        assert await answer(right | other_format) == ("diverged", 5_000)
        for late in (audio(5_000, b"1234"), json.dumps({"type": "mark", "frame": 1, "label": "n"})):
            socket = await opened(microphone)
            await receive_type(socket, "finished")
            await socket.send(late)
            assert str(await refusal(socket)).startswith("diverged at 5000")
        check_recording(shared.data, microphone)

    run_beside(shared, work)


def test_a_deleted_recording_never_comes_back_whatever_the_key(tmp_path: Path) -> None:
    async def ask(microphone: Microphone) -> None:
        for key in (microphone.key, new_key()):
            socket = await dial(microphone.port)
            await socket.send(json.dumps(microphone.open_message | {"key": key}))
            with pytest.raises(RefusedByServer, match="deleted at 0"):
                await receive(socket)

    async def work() -> None:
        microphone = Microphone(server.port, 5_000)
        socket = await opened(microphone)
        await send_frames(microphone, socket, 0, 1_000)
        await socket.send(json.dumps({"type": "discard"}))
        await socket.wait_closed()
        assert socket.close_code == 1_000
        await ask(microphone)
        assert not list(server.data.glob(f"*/*{microphone.recording[:8]}*"))
        gone.append(microphone)

    gone: list[Microphone] = []
    with Server(tmp_path / "data") as server:
        run_beside(server, work)
        server.kill()
        server.start()
        asyncio.run(ask(gone[0]))


def test_a_client_that_never_reads_and_one_that_drips_disturb_nobody(shared: Server) -> None:
    async def never_reads() -> None:
        # A raw socket with a small buffer, so that what the server says stays with it.
        loop = asyncio.get_running_loop()
        raw = sockets.socket()
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", shared.port))
        await loop.sock_sendall(raw, handshake(shared.port))
        await asyncio.sleep(0.1)
        await loop.sock_sendall(raw, frame(1, json.dumps(an_open()).encode()))
        await asyncio.sleep(0.2)
        with raw:
            for n in range(300):  # 12 MB: more than may be under way
                await loop.sock_sendall(raw, frame(2, audio(n * 10_000, bytes(40_000))))

    async def drips() -> None:
        microphone = Microphone(shared.port, 3_000)
        loop = asyncio.get_running_loop()
        raw = sockets.socket()
        raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", shared.port))
        opening = frame(1, json.dumps(microphone.open_message).encode())
        with raw:
            for byte in handshake(shared.port) + opening:
                await loop.sock_sendall(raw, bytes([byte]))
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.3)
            for byte in frame(2, audio(0, SOUND.data(0, 300))):
                await loop.sock_sendall(raw, bytes([byte]))
                await asyncio.sleep(0)
            await asyncio.sleep(0.3)
        microphone.sent, microphone.acked = 300, 300
        assert await stored_frames(microphone) == 300
        await microphone.record()
        check_recording(shared.data, microphone)

    async def work() -> None:
        await asyncio.gather(never_reads(), drips())

    run_beside(shared, work)


def handshake(port: int) -> bytes:
    """Return the request that opens a WebSocket, byte for byte."""
    return (
        f"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: micwire.v1\r\n\r\n"
    ).encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a masked WebSocket frame (RFC 6455, section 5.2), its mask zero."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + struct.pack(">H", size)
    else:
        length = b"\xff" + struct.pack(">Q", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def test_floods_of_text_and_of_garbage_disturb_nobody(tmp_path: Path) -> None:
    async def flood_of_marks() -> None:
        socket = await dial(server.port)
        await socket.send(json.dumps(an_open()))
        await receive(socket)
        with suppress(ConnectionClosed):
            for number in range(20_000):
                mark = {"type": "mark", "frame": 0, "label": str(number)}
                await socket.send(json.dumps(mark))
                if number % 1_000 == 0:
                    await asyncio.sleep(0)
        assert (await refusal(socket)).code == "quota"

    async def same_mark() -> None:
        socket = await dial(server.port)
        await socket.send(json.dumps(an_open()))
        await receive(socket)
        for number in range(20_000):
            await socket.send('{"type":"mark","frame":0,"label":"x"}')
            if number % 1_000 == 0:
                await asyncio.sleep(0)
        await socket.send(json.dumps({"type": "finish", "frames": 0}))
        await receive_type(socket, "finished", 20)
        await socket.close()

    async def garbage(seed: int) -> None:
        rng = random.Random(seed)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(rng.choice([b"", handshake(server.port)]) + rng.randbytes(5_000))
        with suppress(OSError):
            await asyncio.wait_for(reader.read(), 8)
        writer.transport.abort()

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(flood_of_marks())
            group.create_task(same_mark())
            for seed in range(20):
                group.create_task(garbage(seed))

    with Server(tmp_path / "data") as server:
        run_beside(server, work)


def test_far_beyond_the_limit_the_carrier_closes_with_1009(shared: Server) -> None:
    async def work() -> None:
        microphone = Microphone(shared.port, 1_200)
        socket = await opened(microphone)
        await send_frames(microphone, socket, 0, 1_000)
        with suppress(ConnectionClosed):
            await socket.send(bytes(20 << 20))
        await asyncio.wait_for(socket.wait_closed(), 5)
        assert socket.close_code in (1009, 1006, CLOSE_CODES["too-large"])
        await microphone.record()

    run_beside(shared, work)


def test_a_handshake_without_the_subprotocol_gets_400(shared: Server) -> None:
    async def work() -> None:
        for offered in (None, ["micwire.v2"]):
            with pytest.raises(InvalidStatus) as refused:
                await dial(shared.port, subprotocols=offered)
            assert refused.value.response.status_code == 400
        socket = await dial(shared.port, subprotocols=["other", "micwire.v1"])
        assert socket.subprotocol == "micwire.v1"
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        await socket.close()

    run_beside(shared, work)
