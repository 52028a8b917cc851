"""What people change in a recording afterwards: its title, tags, notes, hold and marks.

The sound and all that describes it are never among them. A change is a function from what
there is to what there shall be, so that it is made from the newest state, whoever was
first.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from micwire.core.errors import MicwireError
from micwire.core.recording import MarkEntry, RecordingState

MAX_ADDED_MARKS = 1_000
"""So many marks people may set beside those of the client."""
MAX_ADDED_MARK_CHARACTERS = 100_000
"""All labels of these together."""
MAX_TITLE_CHARACTERS = 200
MAX_TAGS = 50
MAX_TAG_CHARACTERS = 50
MAX_NOTES_CHARACTERS = 10_000


class GoneError(MicwireError):
    """There is no such recording, or not any more."""

    code = "not-found"


class HeldError(MicwireError):
    """The recording is on hold: nobody may delete it before that is lifted."""

    code = "held"


class LockedError(MicwireError):
    """The recording's files can't be read or changed, as the server may not; nothing was done."""

    code = "locked"


class BadMarkError(MicwireError):
    """A mark behind the end of the recording."""

    code = "bad-mark"


class TooManyMarksError(MicwireError):
    """People have set as many marks in a recording as they may."""

    code = "too-many-marks"


@dataclass(frozen=True, slots=True)
class Editable:
    """All that can be changed, as it is at one moment; `frames` is told, not changed."""

    title: str | None
    tags: tuple[str, ...]
    notes: str
    hold: bool
    marks: tuple[MarkEntry, ...]
    frames: int
    sent: frozenset[MarkEntry] = field(default=frozenset(), compare=False)
    """The marks that came from the client; told, not changed."""

    @staticmethod
    def of(state: RecordingState) -> "Editable":
        """Return what can be changed of an unfinished recording."""
        about = state.about
        return Editable(
            about.title,
            about.tags,
            about.notes,
            about.hold,
            tuple(state.marks),
            state.frames,
            frozenset(state.known_marks),
        )

    @staticmethod
    def parse(facts: Mapping[str, Any], sent: Iterable[MarkEntry] = ()) -> "Editable":
        """Read it from a sidecar, also one of before there were tags.

        Args:
            facts: The sidecar.
            sent: The marks that came from the client, as far as that matters.

        Raises:
            ValueError: It is none.
        """
        try:
            return Editable(
                facts["title"],
                tuple(facts.get("tags", ())),
                facts.get("notes", ""),
                facts.get("hold", False),
                tuple(MarkEntry(mark["frame"], mark["label"]) for mark in facts["marks"]),
                facts["frames"],
                frozenset(sent),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no sidecar of a recording: {error!r}") from None

    def fields(self) -> dict[str, object]:
        """Return what a sidecar says of it."""
        return {
            "title": self.title,
            "tags": list(self.tags),
            "notes": self.notes,
            "hold": self.hold,
            "marks": [mark.facts() for mark in sorted(self.marks, key=lambda mark: mark.frame)],
        }

    @property
    def version(self) -> str:
        """Name this very state, whatever else is true of the recording."""
        return hashlib.sha256(json.dumps(self.fields()).encode()).hexdigest()[:32]

    def with_mark(self, mark: MarkEntry) -> "Editable":
        """Return it with one more mark; the same one twice is one.

        Raises:
            BadMarkError: It lies behind the end.
            TooManyMarksError: There are too many.
        """
        if mark in self.marks:
            return self
        if mark.frame > self.frames:
            raise BadMarkError(f"the recording has {self.frames} frames")
        added = [other for other in self.marks if other not in self.sent]
        characters = sum(len(other.label) for other in added) + len(mark.label)
        is_new = mark not in self.sent
        if is_new and (len(added) >= MAX_ADDED_MARKS or characters > MAX_ADDED_MARK_CHARACTERS):
            raise TooManyMarksError(
                f"people may set at most {MAX_ADDED_MARKS} marks in a recording,"
                f" with {MAX_ADDED_MARK_CHARACTERS} characters in all"
            )
        return replace(self, marks=(*self.marks, mark))

    def without_mark(self, mark: MarkEntry) -> "Editable":
        """Return it without a mark; one that is not there is no error."""
        return replace(self, marks=tuple(other for other in self.marks if other != mark))


Change = Callable[[Editable], Editable]
"""Makes what shall be from what there is; what it raises ends the edit, and nothing is done."""


def unless_held(before: Editable) -> Editable:
    """Change nothing.

    Raises:
        HeldError: The recording is on hold.
    """
    if before.hold:
        raise HeldError("the recording is on hold: lift that first")
    return before


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags without space around them, each once, in their order; none that is blank."""
    return tuple(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
