"""`/api/v1/recordings`: what is known of recordings, and their sound."""

from typing import Any

from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from micwire.api.endpoints import Answer, Endpoint, person_of
from micwire.api.shelf import Shelf
from micwire.core.people import Scope

BASE = "/api/v1/recordings"


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

    recording: str = Field(json_schema_extra={"format": "uuid"})
    status: str = Field(description="`recording`, `finished` or `interrupted`.")
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
    url: str = Field(description="The WAV, relative to this server.")
    peaks_url: str = Field(description="Its waveform, relative to this server.")


class RecordingRoutes:
    """The routes of single recordings and of their list.

    Args:
        shelf: All recordings.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of the table."""
        one = f"{BASE}/{{recording}}"
        return [
            Endpoint("GET", one, self.get_recording, {200: Answer("It.", Detail)}, Scope.READ),
        ]

    async def get_recording(self, request: Request) -> Response:
        """Return what is known of a recording."""
        record = await self._shelf.record(person_of(request), request.path_params["recording"])
        return JSONResponse(_linked(request, await self._shelf.facts(record)))


def _linked(request: Request, facts: dict[str, Any]) -> dict[str, Any]:
    base = f"{request.scope.get('root_path', '')}{BASE}/{facts['recording']}"
    return facts | {"url": f"{base}/audio", "peaks_url": f"{base}/peaks"}
