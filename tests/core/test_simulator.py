"""The promises of custody under thousands of random disasters, client and server at once.

A seeded simulator drives the real `Sender` and the real `Session` over an imaginary wire
that delays, repeats, cuts and half-closes, with a server that crashes and forgets what it had not
synced. Every frame names its own index, so a lost, repeated, moved or altered one shows.
A schedule that fails is repeated by its seed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from micwire.core.audio import Encoding, Format
from micwire.core.digest import digest_of
from micwire.core.errors import SERVICE_RESTART
from micwire.core.recording import GapEntry, MarkEntry
from micwire.core.sender import Completed, Discarded, Refused, Sender
from micwire.core.sender import Event as ClientEvent
from micwire.core.session import (
    DiscardAsked,
    FinishAsked,
    FramesArrived,
    GapArrived,
    Limits,
    MarkArrived,
    OpenAsked,
    Session,
)
from micwire.core.session import Event as ServerEvent
from micwire.core.session import Refused as ServerRefused
from micwire.core.session import State as SessionState
from micwire.core.wire import (
    AUDIO_HEADER,
    Ack,
    Audio,
    Error,
    Finished,
    Gap,
    Open,
    Opened,
    decode_client,
    decode_server,
    encode_client,
)

FORMAT = Format(Encoding.S16, 8_000, 2)
FRAME_BYTES = FORMAT.frame_bytes
RECORDING = "0b9f1f3c-6a1e-4d57-9c40-0d9c6a6f1a11"
LIMITS = Limits(max_message_bytes=256, max_unacked_bytes=100 * FRAME_BYTES)
SCHEDULES = 3_000
STEPS = 200
CALM_STEPS = 400


def sound(first_frame: int, frames: int) -> bytes:
    """Return frames each of which names its own index; frame 0 isn't silent either."""
    return b"".join((first_frame + n + 1).to_bytes(4, "big") for n in range(frames))


@dataclass
class Link:
    """One connection: what is under way in each direction, and who still believes in it."""

    session: Session = field(default_factory=lambda: Session(LIMITS))
    up: deque[str | bytes] = field(default_factory=deque)
    down: deque[str] = field(default_factory=deque)
    is_client_there: bool = True
    is_server_there: bool = True
    is_up_cut: bool = False
    """Nothing that the client sends any more arrives; what is under way may."""
    close_code: int | None = None


Entry = FramesArrived | GapEntry | MarkEntry | FinishAsked | DiscardAsked | tuple[Link, Open]


@dataclass
class Store:
    """What is durable."""

    sound: bytearray = field(default_factory=bytearray)
    gaps: list[GapEntry] = field(default_factory=list)
    marks: list[MarkEntry] = field(default_factory=list)
    epoch: int = 0
    ending: FinishAsked | None = None
    is_deleted: bool = False

    @property
    def frames(self) -> int:
        return len(self.sound) // FRAME_BYTES


class Server:
    """A recorder as small as it can be: a log, of which a crash takes what is not synced."""

    def __init__(self) -> None:
        self.store = Store()
        self.links: list[Link] = []
        self.owner: Link | None = None
        self.log: list[Entry] = []  # taken, in order, not durable yet
        self.acked = 0
        self.granted: list[int] = []

    def receive(self, link: Link, message: str | bytes) -> None:
        before = (len(self.log), link.session.next_frame)
        for event in link.session.receive(message):
            if isinstance(event, ServerRefused):
                # Invariant 8: a refused message alters nothing and says where we stand.
                assert (len(self.log), link.session.next_frame) == before
            self.handle(link, event)
        if not any(isinstance(entry, GapEntry) for entry in self.log):
            assert not link.session.is_congested  # the client keeps to its window

    def handle(self, link: Link, event: ServerEvent) -> None:
        match event:
            case OpenAsked(message):
                self.open(link, message)
            case ServerRefused():
                if self.owner is link:
                    self.owner = None
            case GapArrived(gap):
                self.take(link, gap)
            case MarkArrived(mark):
                self.take(link, mark)
            case FramesArrived() | FinishAsked() | DiscardAsked():
                self.take(link, event)

    def open(self, link: Link, message: Open) -> None:
        if self.store.is_deleted or any(isinstance(entry, DiscardAsked) for entry in self.log):
            link.session.refuse("deleted", "it was deleted", frames=0)
            return
        end = self.store.frames + sum(
            entry.frames for entry in self.log if isinstance(entry, FramesArrived | GapEntry)
        )
        assert (message.acked or 0) <= end  # invariant 1: nothing acknowledged is lost
        self.fence()
        self.log.append((link, message))

    def fence(self) -> None:
        if self.owner is not None:
            self.owner.session.refuse("taken-over", "a newer connection")
            self.owner = None

    def take(self, link: Link, entry: Entry) -> None:
        # Invariant 7: one writer. Sessions of older epochs are closed and return no events.
        assert self.owner is link
        self.log.append(entry)

    def commit(self, entries: int) -> None:
        """Make the first entries of the log durable, in order."""
        store = self.store
        batch, self.log = self.log[:entries], self.log[entries:]
        for entry in batch:
            match entry:
                case FramesArrived(first_frame, _, data):
                    assert first_frame == store.frames  # invariant 4
                    store.sound += data
                case GapEntry(first_frame, frames):
                    assert first_frame == store.frames
                    store.sound += bytes(frames * FRAME_BYTES)
                    store.gaps.append(entry)
                case MarkEntry():
                    assert entry not in store.marks
                    store.marks.append(entry)
                case FinishAsked():
                    store.ending = store.ending or entry
                    self.tell_finished()
                case DiscardAsked():
                    store.is_deleted = True
                    if self.owner is not None:
                        self.owner.session.discarded()
                case (link, _):
                    self.grant(link)
            if self.owner is not None and self.owner.session.state is not SessionState.OPENING:
                self.owner.session.durable(store.frames)

    def grant(self, link: Link) -> None:
        store = self.store
        store.epoch += 1
        self.granted.append(store.epoch)
        if not link.is_server_there:
            return
        assert store.frames >= self.acked  # invariant 1
        self.fence()
        self.owner = link
        link.session.opened(
            Opened(
                RECORDING,
                store.epoch,
                store.frames,
                "durable",
                LIMITS.ack_interval_ms,
                LIMITS.max_message_bytes,
                LIMITS.max_unacked_frames(FORMAT),
            ),
            FORMAT,
            {(mark.frame, mark.label) for mark in store.marks},
            sum(gap.frames for gap in store.gaps),
            is_ending=store.ending is not None,
        )
        self.tell_finished()

    def tell_finished(self) -> None:
        if self.store.ending is None or self.owner is None:
            return
        digest, sent = digest_of(self.store.sound), self.store.ending.message.digest
        matches = None if sent is None else sent == digest
        self.owner.session.finished(
            Finished(RECORDING, self.store.frames, digest, matches, "/audio")
        )

    def pump(self, link: Link) -> None:
        """Put what the session has to say onto the wire, and what it says of durability."""
        for text in link.session.outgoing():
            message = decode_server(text)
            if isinstance(message, Ack | Opened | Finished):
                assert message.frames <= self.store.frames  # only what is durable
                self.acked = max(self.acked, message.frames)
            if isinstance(message, Error):
                link.close_code = link.session.close_code
            link.down.append(text)
        if link.session.close_code is not None:
            link.close_code = link.session.close_code

    def lose(self, link: Link) -> None:
        """The server learns that a link is gone; what it had sent stays."""
        link.is_server_there = False
        link.session.leave(SERVICE_RESTART)
        if self.owner is link:
            self.owner = None

    def crash(self) -> None:
        for link in self.links:
            self.lose(link)
            link.up.clear()
        self.links = []
        self.log = []


class World:
    """One schedule: a client, a server, and everything that goes wrong between them."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.server = Server()
        self.sender = Sender(Open(RECORDING, "k" * 22, FORMAT))
        self.truth = bytearray()
        self.gaps: list[GapEntry] = []
        self.marks: set[MarkEntry] = set()
        self.link: Link | None = None  # the client's only one
        self.outcome: Completed | Discarded | None = None
        self.is_ending = False

    # ---- the client ----------------------------------------------------------------

    @property
    def end(self) -> int:
        return len(self.truth) // FRAME_BYTES

    def capture(self) -> None:
        if not self.is_ending:
            data = sound(self.end, self.dice.randrange(30))
            self.truth += data
            self.sender.append(data)

    def lose_sound(self) -> None:
        if not self.is_ending:
            gap = GapEntry(self.end, self.dice.choice((1, 5, 250)), "overflow", True)
            self.truth += bytes(gap.frames * FRAME_BYTES)
            self.gaps.append(gap)
            self.sender.gap(gap.frames, gap.cause, exact=gap.exact)

    def set_mark(self) -> None:
        if not self.is_ending:
            mark = MarkEntry(self.dice.randint(0, self.end), self.dice.choice("abc"))
            self.marks.add(mark)
            self.sender.mark(mark.frame, mark.label)

    def finish(self) -> None:
        if not self.is_ending:
            self.is_ending = True
            self.sender.finish()

    def discard(self) -> None:
        if not self.is_ending:
            self.is_ending = True
            self.sender.discard()
            if self.sender.is_over:  # the server never heard of it
                self.outcome = Discarded()

    def connect(self) -> None:
        if self.link is None and not self.sender.is_over:
            self.link = Link()
            self.server.links.append(self.link)
            self.sender.connected()

    def flush(self) -> None:
        if self.link is not None:
            messages = self.sender.outgoing()
            if not self.link.is_up_cut:
                self.link.up.extend(messages)

    def give_up(self) -> None:
        """The client takes its link for dead. The server may not notice for long."""
        if self.link is not None:
            self.link.is_client_there = False
            self.hear(self.sender.disconnected())
            self.link = None

    def hear(self, events: Sequence[ClientEvent]) -> None:
        for event in events:
            if isinstance(event, Completed | Discarded):
                self.outcome = event
            if isinstance(event, Refused):
                assert event.retry, event
                self.give_up()

    # ---- the wire ------------------------------------------------------------------

    def deliver_up(self) -> None:
        """Bring one message to the server; also of links that the client gave up long ago."""
        links = [link for link in self.server.links if link.up]
        if links:
            link = self.dice.choice(links)
            message = link.up.popleft()
            if isinstance(message, bytes) and link.session.state is SessionState.STREAMING:
                # The client goes on exactly where `opened` said.
                assert AUDIO_HEADER.unpack_from(message)[0] == link.session.next_frame
            if self.dice.random() < 0.1:
                message = self.overlapping(message)
            self.server.receive(link, message)
            if self.dice.random() < 0.1 and link.session.state is not SessionState.OPENING:
                self.server.receive(link, message)

    def overlapping(self, message: str | bytes) -> str | bytes:
        """Return a message that begins earlier: a carrier may cut anew what it repeats."""
        decoded = decode_client(message)
        if isinstance(decoded, Gap) and decoded.first_frame:
            first = decoded.first_frame - 1
            return encode_client(replace(decoded, first_frame=first, frames=decoded.frames + 1))
        if not isinstance(decoded, Audio):
            return message
        end = decoded.first_frame + len(decoded.data) // FRAME_BYTES
        first = max(0, decoded.first_frame - self.dice.randrange(20), end - 62)
        return encode_client(
            Audio(first, bytes(self.truth[first * FRAME_BYTES : end * FRAME_BYTES]))
        )

    def deliver_down(self) -> None:
        link = self.link
        if link is None:
            return
        self.server.pump(link)
        if link.down:
            self.hear(self.sender.receive(link.down.popleft()))
        elif link.close_code is not None or not link.is_server_there:
            self.link = None
            self.hear(self.sender.disconnected(link.close_code))

    def cut(self) -> None:
        """A link dies: what is under way is lost from some point on, in both directions."""
        for link in self.server.links:
            if self.dice.random() < 0.5:
                link.is_up_cut = True
                _cut(link.up, self.dice)
                _cut(link.down, self.dice)

    def server_notices(self) -> None:
        """The server's ping finds dead clients; what had arrived was read before."""
        for link in tuple(self.server.links):
            if (link.is_up_cut or not link.is_client_there) and not link.up:
                self.server.lose(link)
                self.server.links.remove(link)

    def commit(self) -> None:
        self.server.commit(self.dice.randint(0, len(self.server.log)))

    def acknowledge(self) -> None:
        for link in self.server.links:
            link.session.acknowledge()
            self.server.pump(link)

    def crash(self) -> None:
        self.server.crash()

    # ---- the schedule ----------------------------------------------------------------

    def step(self) -> None:
        actions = (
            (self.capture, 6),
            (self.lose_sound, 0.7),
            (self.set_mark, 0.7),
            (self.finish, 0.15),
            (self.discard, 0.01),
            (self.connect, 4),
            (self.flush, 8),
            (self.deliver_up, 14),
            (self.deliver_down, 10),
            (self.commit, 5),
            (self.acknowledge, 4),
            (self.give_up, 1.2),
            (self.cut, 0.8),
            (self.server_notices, 1),
            (self.crash, 0.8),
        )
        action = self.dice.choices([a for a, _ in actions], [weight for _, weight in actions])[0]
        action()
        self.check()

    def calm(self) -> None:
        """From now on nothing goes wrong: the recording has to come to its end."""
        if not self.is_ending:
            self.finish()
        for _ in range(CALM_STEPS):
            if self.outcome is not None:
                return
            if self.link is not None and self.link.is_up_cut:
                self.give_up()
            self.connect()
            self.flush()
            for _ in range(10):
                self.deliver_up()
            self.server_notices()
            self.server.commit(len(self.server.log))
            self.acknowledge()
            for _ in range(10):
                self.deliver_down()
            self.check()
        raise AssertionError("the recording never came to its end")

    def check(self) -> None:
        store, sender = self.server.store, self.sender
        assert store.frames >= self.server.acked >= sender.durable_frames  # 1
        # 2, 3, 6: what is stored is what was sent, bit for bit, from the first frame on.
        assert self.truth.startswith(store.sound)
        # 5: each gap once, none invented, as durable as what follows it.
        assert store.gaps == [gap for gap in self.gaps if gap.first_frame < store.frames]
        assert self.marks.issuperset(store.marks)
        assert self.server.granted == sorted(set(self.server.granted))  # 7
        assert sender.captured_frames == self.end

    def check_end(self) -> None:
        store = self.server.store
        if isinstance(self.outcome, Discarded):
            assert store.is_deleted or not self.server.granted
            return
        assert isinstance(self.outcome, Completed)
        assert self.outcome.receipt.matches
        assert self.outcome.receipt.digest == digest_of(self.truth) == digest_of(store.sound)
        assert store.sound == self.truth
        assert set(store.marks) == self.marks
        assert self.sender.unacked_bytes == 0


def _cut(messages: deque[str | bytes] | deque[str], dice: Random) -> None:
    for _ in range(dice.randint(0, len(messages))):
        messages.pop()


def run(seed: int) -> World:
    """Run one schedule; the seed says all about it."""
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.calm()
    world.check_end()
    return world


@pytest.mark.parametrize("part", range(10))
def test_every_schedule_ends_with_every_frame_in_its_place(part: int) -> None:
    for seed in range(part, SCHEDULES, 10):
        try:
            run(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_the_schedules_contain_the_disasters_they_are_meant_to() -> None:
    worlds = [run(seed) for seed in range(200)]
    assert sum(len(world.server.granted) for world in worlds) > 600
    assert any(isinstance(world.outcome, Discarded) for world in worlds)
    assert sum(isinstance(world.outcome, Completed) for world in worlds) > 150
    assert sum(len(world.gaps) for world in worlds) > 200
    assert sum(len(world.marks) for world in worlds) > 200
