"""The routes of sound: a recording as audio, live, as a waveform; many as a zip."""

import json
from collections.abc import Callable

from anyio import to_thread
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from micwire.api.audio import SoundName, audio_response
from micwire.api.endpoints import Answer, Endpoint, person_of, query_of
from micwire.api.export import MAX_RECORDINGS, export_response
from micwire.api.found import Find, Hear, Sound
from micwire.api.live import live_response
from micwire.api.streams import Streams
from micwire.core.people import Scope
from micwire.core.wire import MAX_COUNT
from micwire.library.peaks import PeakStore

MAX_COLUMNS = 4_000
DEFAULT_COLUMNS = 1_000


class AudioQuery(BaseModel):
    """How the sound is wanted."""

    format: SoundName = Field("wav", description="`plain` is a WAV with the shortest header.")
    download: bool = Field(False, description="As a file with a name, not to be played.")


class LiveQuery(BaseModel):
    """Where to begin."""

    first_frame: int | None = Field(
        None, alias="from", ge=0, le=MAX_COUNT, description="A frame. Default: now."
    )


class ExportQuery(BaseModel):
    """What to pack."""

    recording: list[str] = Field(min_length=1, max_length=MAX_RECORDINGS)


class PeaksQuery(BaseModel):
    """Which part of a recording, and how wide."""

    first_frame: int = Field(0, ge=0, le=MAX_COUNT)
    frames: int | None = Field(None, ge=0, le=MAX_COUNT, description="Default: to the end.")
    columns: int = Field(DEFAULT_COLUMNS, ge=1, le=MAX_COLUMNS)


class Peaks(BaseModel):
    """A waveform, -128 to 127 in 8 bits of full scale."""

    first_frame: int
    frames: int
    known_frames: int = Field(description="So many of the frames have been looked at.")
    columns: int
    channels: int
    min: list[list[int]] = Field(description="By channel, then by column.")
    max: list[list[int]] = Field(description="By channel, then by column.")


class SoundRoutes:
    """What can be heard and seen of recordings.

    Args:
        find: Finds a recording for a person.
        hear: Finds its sound only.
        peaks: The waveforms.
        is_stopping: Whether the server ends.
    """

    def __init__(
        self,
        find: Find,
        hear: Hear,
        peaks: PeakStore,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._find = find
        self._hear = hear
        self._is_stopping = is_stopping
        self._peak_store = peaks
        self.streams = Streams()
        """What is being sent."""

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of the table."""
        below = "/api/v1/recordings/{recording}"
        audio = {
            200: Answer("The sound.", "audio/*"),
            206: Answer("A part of the WAV.", "audio/wav"),
            416: Answer("There is nothing in the range that is asked for."),
        }
        unfit = {
            422: "The format can't hold this sound.",
            501: "The format needs an extra that is not installed.",
            503: "Too many downloads are being made.",
        }
        peaks = {200: Answer("The waveform.", Peaks)}
        live = {200: Answer("A WAV whose sizes say that nobody knows its end.", "audio/wav")}
        packed = {200: Answer("A zip; its `manifest.json` says what is in it.", "application/zip")}
        return [
            Endpoint(
                "GET", f"{below}/audio", self.get_audio, audio, Scope.READ, AudioQuery, None, unfit
            ),
            Endpoint("GET", f"{below}/peaks", self.get_peaks, peaks, Scope.READ, PeaksQuery),
            Endpoint("GET", f"{below}/live", self.get_live, live, Scope.READ, LiveQuery),
            Endpoint(
                "GET",
                "/api/v1/export",
                self.export,
                packed,
                Scope.READ,
                ExportQuery,
                None,
                {404: "None of them is there.", 503: unfit[503]},
            ),
        ]

    async def get_audio(self, request: Request) -> Response:
        """Return a recording's sound, also while it grows; of a WAV a range, too.

        Of a growing one it is what is durable now. FLAC keeps every sample of 16 and 24
        bits; floats it rounds to 24 bits, clips them at full scale, and has silence for what
        is no number: `X-Micwire-Encoding` says which. Opus is resampled to 48 kHz. Encoded
        sound is sent as it is made: `X-Micwire-Duration` says how many seconds will come.
        """
        query = query_of(request, AudioQuery)
        found = await self._find(person_of(request), request.path_params["recording"])
        return await audio_response(
            request, found, query.format, self.streams, is_download=query.download
        )

    async def get_live(self, request: Request) -> Response:
        """Return a recording's sound as it comes, until the recording ends.

        What is heard is durable, and about a second old.
        """
        query = query_of(request, LiveQuery)
        sound = await self._hear(person_of(request), request.path_params["recording"])
        return live_response(
            request, sound, query.first_frame, self._hear, self._is_stopping, self.streams
        )

    async def export(self, request: Request) -> Response:
        """Return recordings as a zip: WAVs, sidecars and a manifest.

        What is not there, or is deleted meanwhile, is named in the manifest.
        """
        query = query_of(request, ExportQuery)
        return await export_response(request, query.recording, self._find, self.streams)

    async def get_peaks(self, request: Request) -> Response:
        """Return a recording's waveform: the lowest and the highest sample of each column."""
        query = query_of(request, PeaksQuery)
        sound = await self._hear(person_of(request), request.path_params["recording"])
        total = sound.readable.frames
        first = min(query.first_frame, total)
        frames = total - first if query.frames is None else min(query.frames, total - first)
        body = await to_thread.run_sync(
            self._peaks_json, sound, first, frames, min(query.columns, frames)
        )
        return Response(
            body,
            media_type="application/json",
            headers={"cache-control": "no-store" if sound.digest is None else "private, no-cache"},
        )

    def _peaks_json(self, sound: Sound, first: int, frames: int, columns: int) -> bytes:
        """Return the body, made on a thread: of many channels it is much."""
        peaks = self._peak_store.peaks(sound.recording, sound.readable, first, frames, columns)
        lowest, highest = peaks.columns.transpose(2, 1, 0).tolist()
        facts = {
            "first_frame": first,
            "frames": frames,
            "known_frames": peaks.known_frames,
            "columns": len(peaks.columns),
            "channels": sound.readable.format.channels,
            "min": lowest,
            "max": highest,
        }
        return json.dumps(facts, separators=(",", ":")).encode()
