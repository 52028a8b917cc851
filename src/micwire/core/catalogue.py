"""What a catalogue of recordings is asked, and what it answers: values only.

A catalogue is an index: all that is in it comes from sidecars and can be made again from
them. How it is kept is in `micwire.library.catalogue`.
"""

import base64
import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from micwire.core.audio import Format
from micwire.core.errors import MicwireError, UnsupportedFormatError

MAX_PAGE = 200
MAX_CURSOR_CHARS = 2_000
MAX_COUNT = 2**62
"""Counts beyond it are nobody's: they would not fit a database's numbers."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TITLE_KEY_CHARS = 100


class BadCursorError(MicwireError):
    """A cursor is none that the catalogue gave, or belongs to another order."""

    code = "bad-cursor"


class CatalogueUnavailableError(MicwireError):
    """The catalogue can't answer now; recordings are not touched by that."""

    code = "catalogue-unavailable"


class CatalogueUrlError(MicwireError):
    """The catalogue's address can't be used; the text says why and never holds the address."""

    code = "bad-catalogue-url"


class CatalogueDamagedError(CatalogueUnavailableError):
    """What is there is no catalogue, or is broken: it is to be made anew."""

    code = "catalogue-damaged"


class Sort(StrEnum):
    """The order of a list; a minus sign means the largest first."""

    NEWEST = "-started_at"
    OLDEST = "started_at"
    LONGEST = "-duration"
    SHORTEST = "duration"
    TITLE = "title"

    @property
    def is_descending(self) -> bool:
        """Tell whether the largest value comes first."""
        return self.value.startswith("-")


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording as the catalogue knows it; times are microseconds since 1970 in UTC."""

    recording: str
    status: str
    """`recording`, `finished` or `interrupted`."""
    path: str
    """The WAV's path below the data directory, without suffix."""
    format: Format
    frames: int = 0
    title: str | None = None
    notes: str = ""
    tags: tuple[str, ...] = ()
    owner: str = ""
    take: str | None = None
    part: int | None = None
    started_at: str = ""
    started_us: int = 0
    created_us: int = 0
    """By the server's clock, at the first `open`."""
    gaps: int = 0
    gap_frames: int = 0
    marks: int = 0
    clipped: int = 0
    verifiable: bool | None = None
    hold: bool = False

    @property
    def duration_us(self) -> int:
        """Return how long the recording lasts, in whole microseconds."""
        return self.frames * 1_000_000 // self.format.sample_rate

    @property
    def title_key(self) -> str:
        """Return what titles are sorted by: without case and width, the first characters."""
        return unicodedata.normalize("NFKC", self.title or "").casefold()[:_TITLE_KEY_CHARS]


@dataclass(frozen=True, slots=True)
class Filing:
    """What is put into the catalogue for one recording.

    Args:
        entry: What lists show.
        texts: What is searched: title, tags, notes, labels of marks and of the device.
        stamp: Names the state of the sidecar that this was read from; empty for none.
    """

    entry: Entry
    texts: tuple[str, ...] = ()
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """Which recordings are asked for, in which order.

    Args:
        limit: How many at most, 1 to 200.
        cursor: The `next` of the page before; None for the first page.
        words: All of them must be in one text of the recording; the beginning of a word is
            enough. Blank for no search.
        tags: All of them must be on the recording, letter by letter.
        status: `recording`, `finished` or `interrupted`.
        owner: A person's id.
        take: A take's id.
        since: Begun at this time or later.
        until: Begun before this time.
        sort: The order.

    Raises:
        ValueError: The limit is out of range, or a time has no zone.
    """

    limit: int = 50
    cursor: str | None = None
    words: str = ""
    tags: tuple[str, ...] = ()
    status: str | None = None
    owner: str | None = None
    take: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sort: Sort = Sort.NEWEST

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_PAGE:
            raise ValueError(f"a limit of {self.limit} is not within 1 to {MAX_PAGE}")
        for time in (self.since, self.until):
            if time is not None and time.tzinfo is None:
                raise ValueError("a time without a zone is no point in time")


@dataclass(frozen=True, slots=True)
class Page:
    """Some recordings in order, and the cursor behind them; None where nothing follows."""

    entries: tuple[Entry, ...]
    next: str | None
    is_complete: bool = True
    """The catalogue has all recordings; False while it is still being compared with the disk."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much those of a person's recordings take that are over."""

    recordings: int
    seconds: float
    bytes: int


# ---- cursors ------------------------------------------------------------------------


def sort_value(entry: Entry, sort: Sort) -> int | str:
    """Return what an entry is sorted by; of equal ones the id decides."""
    match sort:
        case Sort.NEWEST | Sort.OLDEST:
            return entry.started_us
        case Sort.LONGEST | Sort.SHORTEST:
            return entry.duration_us
        case Sort.TITLE:
            return entry.title_key


def encode_cursor(entry: Entry, sort: Sort) -> str:
    """Return the cursor that stands behind an entry."""
    place = json.dumps([sort, sort_value(entry, sort), entry.recording], ensure_ascii=False)
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, sort: Sort) -> tuple[int | str, str]:
    """Return the sort value and the id that a cursor stands behind.

    Raises:
        BadCursorError: It is none of ours, or belongs to another order.
    """
    try:
        if len(cursor) > MAX_CURSOR_CHARS:
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        order, value, recording = place
        is_number = type(value) is int and abs(value) < MAX_COUNT
        if sort is Sort.TITLE:
            is_fit = isinstance(value, str) and value == storable(value)
        else:
            is_fit = is_number
        if order != sort or not is_fit or recording != storable(recording):
            raise ValueError
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BadCursorError("the cursor is not one of this list: begin again without it") from None
    return value, recording


# ---- from sidecars --------------------------------------------------------------------


def storable(text: str) -> str:
    """Return a text as every database takes it: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def microseconds(time: datetime) -> int:
    """Return a time as microseconds since 1970 in UTC."""
    return (time - _EPOCH) // _MICROSECOND


def filing_of(fields: Mapping[str, Any], path: str, stamp: str = "") -> Filing:
    """Return what the catalogue holds of a recording, from its sidecar's fields.

    Args:
        fields: As JSON has them; keys of later versions are passed over.
        path: The WAV's path below the data directory, without suffix.
        stamp: Names the state of the sidecar.

    Raises:
        ValueError: This is no sidecar of a recording; the text says why.
    """
    try:
        return _filing(fields, storable(path), stamp)
    except (KeyError, TypeError, AttributeError, UnsupportedFormatError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _filing(fields: Mapping[str, Any], path: str, stamp: str) -> Filing:
    status = fields["status"]
    if status not in ("recording", "finished", "interrupted"):
        raise ValueError(f"unknown status {status!r}")
    gaps, marks, verifiable = fields["gaps"], fields["marks"], fields["verifiable"]
    started_at = _text(fields["started_at"])
    started_us = _time(started_at)
    created_at = fields.get("created_at")
    part = fields["part"]
    title = fields["title"]
    entry = Entry(
        recording=_text(fields["recording"]),
        status=status,
        path=path,
        format=Format.parse(**fields["format"]),
        frames=_count(fields["frames"]),
        title=None if title is None else _text(title),
        notes=_text(fields.get("notes", "")),
        tags=tuple(dict.fromkeys(_text(tag) for tag in fields.get("tags", ()))),
        owner=_text(fields.get("owner", "")),
        take=None if fields["take"] is None else _text(fields["take"]),
        part=None if part is None else _count(part),
        started_at=started_at,
        started_us=started_us,
        created_us=started_us if created_at is None else _time(created_at),
        gaps=len(gaps),
        gap_frames=_count(sum(_count(gap["frames"]) for gap in gaps)),
        marks=len(marks),
        clipped=_count(fields["clipped"]),
        verifiable=verifiable if isinstance(verifiable, bool) else None,
        hold=fields.get("hold") is True,
    )
    return Filing(entry, tuple(_texts(entry, fields)), stamp)


def _texts(entry: Entry, fields: Mapping[str, Any]) -> Iterator[str]:
    yield from (entry.title or "", *entry.tags, entry.notes)
    device = fields["device"]
    label = device.get("label") if isinstance(device, dict) else device
    if isinstance(label, str):
        yield storable(label)
    yield from (_text(mark["label"]) for mark in fields["marks"])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return storable(value)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < MAX_COUNT:
        raise ValueError(f"{value!r} is no count")
    return value


def _time(text: object) -> int:
    time = datetime.fromisoformat(_text(text))
    # Without a zone it is somebody's own edit; UTC is what we would have written.
    return microseconds(time if time.tzinfo is not None else time.replace(tzinfo=UTC))
