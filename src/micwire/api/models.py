"""What routes of recordings take and give, as models: the description is made from them."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from micwire.api.endpoints import AS_WHOLE
from micwire.core.catalogue import MAX_CURSOR_CHARS, MAX_PAGE, Sort
from micwire.core.edits import (
    MAX_NOTES_CHARACTERS,
    MAX_TAG_CHARACTERS,
    MAX_TAGS,
    MAX_TITLE_CHARACTERS,
)
from micwire.core.wire import MAX_COUNT, MAX_LABEL_CHARACTERS, is_rfc3339

ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
NO_NUL = r"^[^\x00]*$"
Status = Literal["recording", "finished", "interrupted"]


def _moment(text: object) -> object:
    if not (isinstance(text, str) and is_rfc3339(text)):
        raise ValueError("a time as in RFC 3339 is wanted, such as 2026-11-22T18:13:05Z")
    return text


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]


# ---- what is given -----------------------------------------------------------------


class SoundFormat(BaseModel):
    """How the sound is stored."""

    encoding: str = Field(description="`pcm_s16le`, `pcm_s24le` or `pcm_f32le`.")
    sample_rate: int = Field(description="Hz.")
    channels: int


class GapInfo(BaseModel):
    """Frames that were lost before they reached the server; the WAV holds zeros there."""

    first_frame: int
    frames: int
    cause: str = Field(
        description="`capture`, `overflow`, `suspended`, `device`, or `file-lost` on the server."
    )
    exact: bool


class MarkInfo(BaseModel):
    """A cue point."""

    frame: int
    label: str


class Detail(BaseModel):
    """All that is known of one recording: its sidecar, and where its sound is."""

    model_config = ConfigDict(extra="allow")

    recording: str = Field(json_schema_extra={"format": "uuid"})
    status: Status
    format: SoundFormat
    frames: int
    gaps: list[GapInfo]
    marks: list[MarkInfo]
    clipped: int = Field(description="Samples beyond full scale that were clipped.")
    nonfinite: int = Field(description="Samples that are NaN or infinite.")
    digest: str | None = Field(description="As in spec/wire.md; null while it is recorded.")
    verifiable: bool | None = Field(description="Whether the browser shows what it loses.")
    settings: dict[str, object] | None
    device: object
    take: str | None
    part: int | None
    take_time_s: float | None
    started_at: str
    created_at: str
    title: str | None
    tags: list[str]
    notes: str
    owner: str
    consent: dict[str, str] | None
    invitation: str | None
    hold: bool = Field(description="Nobody may delete it.")
    metadata: dict[str, str]
    url: str = Field(description="The WAV: a path on this server.")
    peaks_url: str = Field(description="Its waveform: a path on this server.")


class Summary(BaseModel):
    """One recording in a list."""

    recording: str = Field(json_schema_extra={"format": "uuid"})
    title: str | None
    status: Status
    started_at: str
    duration_s: float
    frames: int
    format: SoundFormat
    gaps: int = Field(description="How many there are.")
    gap_frames: int = Field(description="How many frames they are together.")
    marks: int = Field(description="How many there are.")
    clipped: int
    verifiable: bool | None
    tags: list[str]
    notes: str
    owner: str
    take: str | None
    part: int | None
    hold: bool
    url: str = Field(description="The WAV: a path on this server.")
    peaks_url: str = Field(description="Its waveform: a path on this server.")


class Listed(BaseModel):
    """Some recordings, in the order that was asked for."""

    recordings: list[Summary]
    next: str | None = Field(description="The `cursor` of the next page; null behind the last.")
    complete: bool = Field(description="False for a while after a start: more may be on the disk.")


class TagCount(BaseModel):
    """A tag, and how many recordings have it."""

    tag: str
    recordings: int


class Tags(BaseModel):
    """The tags of all recordings that the person sees, by name."""

    tags: list[TagCount]


# ---- what is taken -----------------------------------------------------------------


class ListQuery(BaseModel):
    """Which recordings, and in which order."""

    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(
        None, max_length=MAX_CURSOR_CHARS, description="`next` of the page before."
    )
    q: str = Field(
        "",
        max_length=1_000,
        description="Words: all of them must be in its title, tags, notes, marks or device.",
    )
    tag: list[str] = Field([], max_length=MAX_TAGS, description="It must have all of them.")
    status: Status | None = None
    owner: str | None = None
    take: str | None = None
    since: Moment | None = Field(None, description="Begun then or later.")
    until: Moment | None = Field(None, description="Begun before.")
    sort: Sort = Field(Sort.NEWEST, description="A minus sign: the largest first.")


class Patch(BaseModel):
    """What is to be changed (RFC 7396): what is not there stays, null takes it away."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = Field(None, max_length=MAX_TITLE_CHARACTERS, pattern=ONE_LINE)
    tags: list[Annotated[str, Field(max_length=MAX_TAG_CHARACTERS, pattern=ONE_LINE)]] | None = (
        Field(None, max_length=MAX_TAGS, description="Trimmed; each is kept once.")
    )
    notes: str | None = Field(None, max_length=MAX_NOTES_CHARACTERS, pattern=NO_NUL)
    hold: bool | None = None


class NewMark(BaseModel):
    """A cue point to be set."""

    model_config = ConfigDict(extra="forbid")

    frame: Annotated[int, AS_WHOLE] = Field(ge=0, le=MAX_COUNT)
    label: str = Field(max_length=MAX_LABEL_CHARACTERS)


class MarkQuery(BaseModel):
    """Which mark."""

    frame: int = Field(ge=0, le=MAX_COUNT)
    label: str = Field("", max_length=MAX_LABEL_CHARACTERS)
