"""The routes of a recording's sound: the audio itself, and its waveform."""

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from micwire.api.audio import audio_response
from micwire.api.found import Find
from micwire.api.problems import bad_request, person_who_may
from micwire.core.people import Scope
from micwire.library.peaks import PeakStore

MAX_COLUMNS = 4_000
DEFAULT_COLUMNS = 1_000


class SoundRoutes:
    """What can be heard and seen of recordings.

    Args:
        find: Finds a recording for a person.
        peaks: The waveforms.
    """

    def __init__(self, find: Find, peaks: PeakStore) -> None:
        self._find = find
        self._peak_store = peaks

    def routes(self) -> list[Route]:
        """Return the routes, to be put into an application."""
        below = "/api/v1/recordings/{recording}"
        return [
            Route(f"{below}/audio", self._audio),
            Route(f"{below}/peaks", self._peaks),
        ]

    async def _audio(self, request: Request) -> Response:
        person = person_who_may(request, Scope.READ)
        return audio_response(request, await self._find(person, request.path_params["recording"]))

    async def _peaks(self, request: Request) -> Response:
        person = person_who_may(request, Scope.READ)
        found = await self._find(person, request.path_params["recording"])
        total = found.readable.frames
        first = min(_count(request, "first_frame", 0), total)
        frames = min(_count(request, "frames", total), total - first)
        columns = _count(request, "columns", DEFAULT_COLUMNS)
        if not 1 <= columns <= MAX_COLUMNS:
            raise bad_request(f"columns is a number from 1 to {MAX_COLUMNS}.")
        peaks = await to_thread.run_sync(
            self._peak_store.peaks,
            found.recording,
            found.readable,
            first,
            frames,
            min(columns, frames),
        )
        by_channel = peaks.columns.transpose(2, 1, 0).tolist()
        return JSONResponse(
            {
                "first_frame": first,
                "frames": frames,
                "known_frames": peaks.known_frames,
                "columns": len(peaks.columns),
                "channels": found.readable.format.channels,
                "min": by_channel[0],
                "max": by_channel[1],
            },
            headers={"cache-control": "no-store" if found.digest is None else "private, no-cache"},
        )


def _count(request: Request, name: str, default: int) -> int:
    """Return a parameter that is a whole number from 0."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 16):
        raise bad_request(f"{name} is a whole number from 0.")
    return int(text)
