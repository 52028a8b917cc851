"""What is known of one recording, as the fold of its records.

The journal, the WAV writer and the recorder each hold such a state and move it with the
same `apply`: a state is never anything but the log up to some point.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from micwire.core.audio import Format
from micwire.core.errors import MicwireError
from micwire.core.records import Kind, Record, recording_bytes
from micwire.core.wav import header_bytes
from micwire.core.wire import format_fields


class LogContradictionError(MicwireError):
    """A record does not fit onto the log before it: frames are missing between them."""

    code = "log-contradiction"


@dataclass(frozen=True, slots=True)
class GapEntry:
    """Frames that were lost before they reached us; the WAV holds zeros there."""

    first_frame: int
    frames: int
    cause: str
    """`capture`, `overflow`, `suspended` or `device`, as the client said; or `file-lost`."""
    exact: bool

    @property
    def end(self) -> int:
        """Return the frame behind the gap."""
        return self.first_frame + self.frames

    def facts(self) -> dict[str, object]:
        """Return what JSON says of it; `asdict` takes ten times as long, and there are many."""
        return {
            "first_frame": self.first_frame,
            "frames": self.frames,
            "cause": self.cause,
            "exact": self.exact,
        }


@dataclass(frozen=True, slots=True)
class MarkEntry:
    """A cue point."""

    frame: int
    label: str

    def facts(self) -> dict[str, object]:
        """Return what JSON says of it."""
        return {"frame": self.frame, "label": self.label}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a recording ended: `finished` by its client, or `interrupted` by us."""

    status: str
    digest: str | None = None
    """The digest that the client sent with `finish`."""


@dataclass(frozen=True, slots=True)
class About:
    """What a recording is begun with. No later `open` alters it; people may edit some of it."""

    recording: str
    key_hash: str
    """SHA-256 of the client's key in hex; empty where the connection is the recording."""
    format: Format
    path: str
    """The WAV's path below the data directory, without suffix."""
    created_at: str
    """The server's UTC clock at the first `open`, RFC 3339."""
    plain: bool = False
    """It came over the plain socket: nobody can continue it."""
    title: str | None = None
    started_at: str | None = None
    take: str | None = None
    part: int | None = None
    take_time_s: float | None = None
    device: object = None
    settings: dict[str, object] | None = None
    metadata: dict[str, str] | None = None
    owner: str = ""
    """The id of the person who made it; empty where nobody had signed in."""
    tags: tuple[str, ...] = ()
    notes: str = ""
    consent: dict[str, str] | None = None
    """What its owner agreed to: `version`, `text_sha256`, `accepted_at`."""
    invitation: str | None = None
    """The invitation by which its owner came."""
    hold: bool = False
    """Nobody may delete it, and no rule."""
    data_offset: int = 0
    """Where the sound begins in its WAV; 0 if that was begun with a header without tags."""
    max_frames: int | None = None
    """How long it may become, as was decided when it began; None is as long as it likes."""

    @property
    def tag_bytes(self) -> int:
        """Return the size of the tags in the header of its WAV."""
        return max(0, self.data_offset - header_bytes(self.format))

    @staticmethod
    def parse(facts: dict[str, Any]) -> "About":
        """Read what `asdict` wrote, also before some of the fields existed."""
        wire_format, tags = facts.pop("format"), facts.pop("tags", ())
        return About(format=Format.parse(**wire_format), tags=tuple(tags), **facts)


@dataclass(slots=True)
class RecordingState:
    """One recording at one point of the log."""

    about: About
    epoch: int = 0
    frames: int = 0
    """The next frame expected: all before it are in the log."""
    gaps: list[GapEntry] = field(default_factory=list)
    marks: dict[MarkEntry, None] = field(default_factory=dict)
    """In the order in which they came; the same one twice is one."""
    added_marks: dict[MarkEntry, None] = field(default_factory=dict)
    """Those of `marks` that people set, and that the client has not sent."""
    removed_marks: dict[MarkEntry, None] = field(default_factory=dict)
    """Marks of the client that somebody took out. It repeats them, and they stay out."""
    clipped: int = 0
    nonfinite: int = 0
    ending: Ending | None = None
    is_deleted: bool = False
    idle_s: float = 0.0
    """For how long no client has been connected, as far as servers were up to count."""
    _about_json: str = field(default="", repr=False, compare=False)
    # Every state is written at the head of each journal segment; this part changes by edits only.
    _gaps_json: str = field(default="", repr=False, compare=False)
    _written_gaps: list[GapEntry] = field(default_factory=list, repr=False, compare=False)
    # And there may be 100,000 gaps, which only ever become more.

    @property
    def gap_frames(self) -> int:
        """Return how many frames are declared lost."""
        return sum(gap.frames for gap in self.gaps)

    def apply(self, record: Record) -> bool:
        """Move on by one record of this recording; False for one it already holds.

        Raises:
            LogContradictionError: Frames are missing before this record.
        """
        if record.is_audio:
            return self._advance(record)
        match record.kind:
            case Kind.MARK:
                mark = MarkEntry(record.first_frame, bytes(record.payload).decode())
                if mark in self.added_marks:
                    del self.added_marks[mark]
                elif mark in self.marks or mark in self.removed_marks:
                    return False
                else:
                    self.marks[mark] = None
            case Kind.FINISH:
                self.ending = Ending(**json.loads(bytes(record.payload)))
            case Kind.DELETE:
                self.is_deleted = True
            case _:
                raise ValueError(f"{record.kind.name} is not applied to a state")
        return True

    def _advance(self, record: Record) -> bool:
        end = record.end
        if end <= self.frames:
            return False
        if record.first_frame != self.frames:
            raise LogContradictionError(
                f"recording {self.about.recording} holds {self.frames} frames"
                f" and its next record begins at frame {record.first_frame}"
            )
        self.frames = end
        self.clipped += record.clipped
        self.nonfinite += record.nonfinite
        if record.is_gap:
            facts = json.loads(bytes(record.payload))
            self.gaps.append(
                GapEntry(record.first_frame, record.frames, facts["cause"], facts["exact"])
            )
        return True

    def record(self) -> Record:
        """Return this state as the record that replaces all before it."""
        if not self._about_json:
            facts = asdict(self.about) | {"format": format_fields(self.about.format)}
            self._about_json = _json(facts)
        # Put together by hand: a thousand of them stand at the head of each segment.
        marks, added = _marks_json(self.marks), _marks_json(self.added_marks)
        removed = _marks_json(self.removed_marks)
        ending = "null" if self.ending is None else _json(asdict(self.ending))
        text = (
            f'{{"about":{self._about_json},"epoch":{self.epoch},"frames":{self.frames},'
            f'"gaps":[{self._gaps_text()}],"marks":{marks},"added_marks":{added},'
            f'"removed_marks":{removed},"clipped":{self.clipped},'
            f'"nonfinite":{self.nonfinite},"ending":{ending},'
            f'"is_deleted":{"true" if self.is_deleted else "false"},"idle_s":{self.idle_s!r}}}'
        )
        return Record(
            Kind.STATE,
            recording_bytes(self.about.recording),
            self.frames,
            epoch=self.epoch,
            payload=text.encode(),
        )

    def _gaps_text(self) -> str:
        written = len(self._written_gaps)
        if self.gaps[:written] != self._written_gaps:
            written = 0
        news = ",".join([_gap_json(gap) for gap in self.gaps[written:]])
        before = self._gaps_json if written else ""
        self._gaps_json = f"{before},{news}" if before and news else before or news
        self._written_gaps = list(self.gaps)
        return self._gaps_json

    @staticmethod
    def from_record(record: Record) -> "RecordingState":
        """Read a STATE record."""
        facts = json.loads(bytes(record.payload))
        about = About.parse(facts.pop("about"))
        ending = facts.pop("ending")
        return RecordingState(
            about=about,
            gaps=[GapEntry(**gap) for gap in facts.pop("gaps")],
            marks={MarkEntry(**mark): None for mark in facts.pop("marks")},
            added_marks={MarkEntry(**mark): None for mark in facts.pop("added_marks", ())},
            removed_marks={MarkEntry(**mark): None for mark in facts.pop("removed_marks", ())},
            ending=None if ending is None else Ending(**ending),
            **facts,
        )

    def copy(self) -> "RecordingState":
        """Return a state that moves on by itself."""
        return replace(
            self,
            gaps=list(self.gaps),
            marks=dict(self.marks),
            added_marks=dict(self.added_marks),
            removed_marks=dict(self.removed_marks),
        )

    def edit(self, about: About, marks: Iterable[MarkEntry]) -> None:
        """Describe the recording anew. Its next STATE record says so."""
        sent = dict.fromkeys(self.known_marks)
        self.about, self._about_json = about, ""
        self.marks = dict.fromkeys(marks)
        self.added_marks = {mark: None for mark in self.marks if mark not in sent}
        self.removed_marks = {mark: None for mark in sent if mark not in self.marks}

    @property
    def known_marks(self) -> tuple[MarkEntry, ...]:
        """Return what its client has sent, and may repeat without saying anything new.

        Nothing else counts against what it may send: it could not go on without its marks.
        """
        own = (mark for mark in self.marks if mark not in self.added_marks)
        return (*own, *self.removed_marks)


@dataclass(frozen=True, slots=True)
class Closed:
    """A recording that is over: what a late `open` of it is told. Kept for ever."""

    recording: str
    status: str
    """`finished`, `interrupted` or `deleted`."""
    key_hash: str
    format: Format
    path: str
    epoch: int
    frames: int
    digest: str
    client_digest: str | None = None
    marks: tuple[MarkEntry, ...] = ()
    """A client that comes back repeats them, and only a new one contradicts the end."""
    owner: str = ""
    """The id of the person who made it; empty where nobody had signed in."""
    data_offset: int = 0
    """Where the sound begins in its WAV; 0 if that was begun with a header without tags."""

    @property
    def audio_offset(self) -> int:
        """Return where the sound begins in its WAV."""
        return self.data_offset or header_bytes(self.format)

    def to_json(self) -> str:
        """Return the register's entry."""
        return json.dumps(asdict(self) | {"format": format_fields(self.format)})

    @staticmethod
    def from_json(text: str | bytes) -> "Closed":
        """Read the register's entry."""
        facts = json.loads(text)
        marks = tuple(MarkEntry(**mark) for mark in facts.pop("marks"))
        return Closed(format=Format.parse(**facts.pop("format")), marks=marks, **facts)


class Ledger:
    """The recordings that the log still speaks of, moved on record by record."""

    def __init__(self) -> None:
        self.states: dict[bytes, RecordingState] = {}

    def apply(self, record: Record) -> bool:
        """Move on by one record; False if it changes nothing.

        Raises:
            LogContradictionError: The record speaks of a recording that the log does not
                know, or frames are missing before it.
        """
        state = self.states.get(record.recording)
        if state is not None and record.is_audio:
            return state.apply(record)
        if record.kind is Kind.STATE:
            self.states[record.recording] = RecordingState.from_record(record)
            return True
        if record.kind is Kind.CLOSED:
            return self.states.pop(record.recording, None) is not None
        if state is None:
            return self._unknown(record)
        return state.apply(record)

    @staticmethod
    def _unknown(record: Record) -> bool:
        # Behind CLOSED nothing is appended for a recording, so this can only be damage.
        raise LogContradictionError(f"a {record.kind.name} record belongs to no recording")


def _gap_json(gap: GapEntry) -> str:
    return (
        f'{{"first_frame":{gap.first_frame},"frames":{gap.frames},'
        f'"cause":{_json(gap.cause)},"exact":{"true" if gap.exact else "false"}}}'
    )


def _marks_json(marks: Iterable[MarkEntry]) -> str:
    facts = [mark.facts() for mark in marks]
    return _json(facts) if facts else "[]"


def _json(facts: object) -> str:
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def gap_record(recording: bytes, epoch: int, gap: GapEntry) -> Record:
    """Return the record of frames that are lost."""
    payload = json.dumps({"cause": gap.cause, "exact": gap.exact}).encode()
    return Record(Kind.GAP, recording, gap.first_frame, gap.frames, epoch, payload)


def mark_record(recording: bytes, epoch: int, mark: MarkEntry) -> Record:
    """Return the record of a cue point."""
    return Record(Kind.MARK, recording, mark.frame, epoch=epoch, payload=mark.label.encode())


def finish_record(recording: bytes, epoch: int, frames: int, ending: Ending) -> Record:
    """Return the record that ends a recording at `frames`."""
    payload = json.dumps(asdict(ending)).encode()
    return Record(Kind.FINISH, recording, frames, epoch=epoch, payload=payload)


def sidecar_fields(state: RecordingState, status: str, digest: str | None) -> dict[str, object]:
    """Return the sidecar: what is known of a recording, for people and programs."""
    about = state.about
    settings = about.settings
    return {
        "recording": about.recording,
        "status": status,
        "format": format_fields(about.format),
        "frames": state.frames,
        "gaps": [gap.facts() for gap in state.gaps],
        "marks": [mark.facts() for mark in sorted(state.marks, key=lambda mark: mark.frame)],
        "clipped": state.clipped,
        "nonfinite": state.nonfinite,
        "digest": digest,
        "verifiable": None if settings is None else settings.get("verifiable"),
        "settings": settings,
        "device": about.device,
        "take": about.take,
        "part": about.part,
        "take_time_s": about.take_time_s,
        "started_at": about.started_at or about.created_at,
        "created_at": about.created_at,
        "title": about.title,
        "tags": list(about.tags),
        "notes": about.notes,
        "owner": about.owner,
        "consent": about.consent,
        "invitation": about.invitation,
        "hold": about.hold,
        "data_offset": about.data_offset or header_bytes(about.format),
        "metadata": about.metadata or {},
    }
