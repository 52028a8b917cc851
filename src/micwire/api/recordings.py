"""`/api/v1/recordings`: which there are, what is known of them, and changes of that."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from micwire.api.endpoints import Answer, Endpoint, body_of, person_of, query_of
from micwire.api.models import (
    Detail,
    Listed,
    ListQuery,
    MarkInfo,
    MarkQuery,
    NewMark,
    Patch,
    Tags,
)
from micwire.api.problems import ProblemError
from micwire.api.shelf import FACTS_THREADS, Recordings, Shelf
from micwire.core.catalogue import Entry, Query
from micwire.core.edits import Editable, clean_tags
from micwire.core.interfaces import Catalogue
from micwire.core.people import Scope
from micwire.core.recording import MarkEntry
from micwire.core.wire import format_fields

BASE = "/api/v1/recordings"
_UNABLE = {503: "The disk or the catalogue can't answer now."}
_FULL = {503: "The disk has failed.", 507: "There is no room; nothing was changed."}


class RecordingRoutes:
    """The list of recordings, and each of them.

    Args:
        shelf: All recordings.
        catalogue: Lists them.
        recorder: Returns the recorder; there is one by the time of a request.
        note: Told what has to stand in the audit log.
    """

    def __init__(
        self,
        shelf: Shelf,
        catalogue: Catalogue,
        recorder: Callable[[], Recordings],
        note: Callable[..., None],
    ) -> None:
        self._shelf = shelf
        self._catalogue = catalogue
        self._recorder = recorder
        self._note = note
        self._threads = CapacityLimiter(FACTS_THREADS)

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of the table."""
        one, marks = f"{BASE}/{{recording}}", f"{BASE}/{{recording}}/marks"
        listed, detail = {200: Answer("A page.", Listed)}, {200: Answer("It.", Detail)}
        tags = {200: Answer("The tags.", Tags)}
        gone, set_ = {204: Answer("Gone.")}, {201: Answer("It is set.", MarkInfo)}
        stale = _FULL | {
            409: "The server may not write to its files.",
            412: "It is not as `If-Match` says any more.",
        }
        held = _FULL | {409: "It is on hold, or its files can't be read."}
        too_far = _FULL | {409: "It lies behind the end, or there are too many."}
        read, manage = Scope.READ, Scope.MANAGE
        return [
            Endpoint(
                "GET", BASE, self.list_recordings, listed, read, query=ListQuery, problems=_UNABLE
            ),
            Endpoint("GET", "/api/v1/tags", self.list_tags, tags, read, problems=_UNABLE),
            Endpoint("GET", one, self.get_recording, detail, read),
            Endpoint("PATCH", one, self.edit_recording, detail, manage, body=Patch, problems=stale),
            Endpoint("DELETE", one, self.delete_recording, gone, manage, problems=held),
            Endpoint("POST", marks, self.set_mark, set_, manage, body=NewMark, problems=too_far),
            Endpoint(
                "DELETE", marks, self.remove_mark, gone, manage, query=MarkQuery, problems=_FULL
            ),
        ]

    # ---- lists -------------------------------------------------------------------------

    async def list_recordings(self, request: Request) -> Response:
        """List recordings, the newest first unless another order is asked for.

        Those that are being recorded have the numbers of this very moment.
        """
        asked = query_of(request, ListQuery)
        query = Query(
            limit=asked.limit,
            cursor=asked.cursor,
            words=asked.q,
            tags=tuple(asked.tag),
            status=asked.status,
            owner=asked.owner,
            take=asked.take,
            since=asked.since,
            until=asked.until,
            sort=asked.sort,
        )
        page = await self._catalogue.page(query, person_of(request))
        recorder = self._recorder()
        entries = [entry for entry in page.entries if not recorder.was_deleted(entry.recording)]
        return JSONResponse(
            {
                "recordings": [_summary(request, self._fresh(entry)) for entry in entries],
                "next": page.next,
                "complete": page.is_complete,
            },
            headers={"cache-control": "no-store"},
        )

    def _fresh(self, entry: Entry) -> Entry:
        state = self._recorder().state(entry.recording)
        if state is None:
            return entry
        about = state.about
        return replace(
            entry,
            frames=state.frames,
            title=about.title,
            tags=about.tags,
            notes=about.notes,
            hold=about.hold,
            gaps=len(state.gaps),
            gap_frames=state.gap_frames,
            marks=len(state.marks),
            clipped=state.clipped,
        )

    async def list_tags(self, request: Request) -> Response:
        """List the tags of all recordings that the person sees."""
        tags = await self._catalogue.tags(person_of(request))
        return JSONResponse(
            {"tags": [{"tag": tag, "recordings": recordings} for tag, recordings in tags]},
            headers={"cache-control": "no-store"},
        )

    # ---- one recording -----------------------------------------------------------------

    async def get_recording(self, request: Request) -> Response:
        """Return what is known of a recording.

        `ETag` names the state of what can be edited of it, for `If-Match` of a PATCH.
        """
        record = await self._shelf.record(person_of(request), request.path_params["recording"])
        facts = await self._shelf.facts(record)
        links = _links(request, facts["recording"])
        body, version = await to_thread.run_sync(_detail, facts, links, limiter=self._threads)
        headers = {"cache-control": "no-store", "etag": f'"{version}"'}
        return Response(body, 200, headers, "application/json")

    async def edit_recording(self, request: Request) -> Response:
        """Change title, tags, notes or hold; durable once it is answered.

        With `If-Match` only if nobody has edited it since.
        """
        patch = await body_of(request, Patch)
        condition, person = request.headers.get("if-match"), person_of(request)
        held = (False, False)  # before and after

        def change(before: Editable) -> Editable:
            nonlocal held
            if condition is not None and not _matches(condition, before.version):
                raise ProblemError(412, "edited", "Somebody has edited it since.")
            changes: dict[str, Any] = {}
            if "title" in patch.model_fields_set:
                changes["title"] = (patch.title or "").strip() or None
            if "tags" in patch.model_fields_set:
                changes["tags"] = clean_tags(patch.tags or ())
            if "notes" in patch.model_fields_set:
                changes["notes"] = patch.notes or ""
            if "hold" in patch.model_fields_set:
                changes["hold"] = patch.hold or False
                held = (before.hold, changes["hold"])
                if held == (True, False) and not person.is_admin:
                    raise ProblemError(403, "forbidden", "Only an admin takes it off hold.")
            return replace(before, **changes)

        await self._edit(request, change)
        if held[0] is not held[1]:
            event = "hold-set" if held[1] else "hold-lifted"
            self._note(event, recording=request.path_params["recording"], user=person.id)
        return await self.get_recording(request)

    async def delete_recording(self, request: Request) -> Response:
        """Delete a recording: unreadable from now on, and never back.

        If it is being recorded, its client is told so and stops.
        """
        recording = await self._own(request)
        await self._recorder().delete(recording, why="asked", by=person_of(request).id)
        return Response(status_code=204)

    # ---- marks -------------------------------------------------------------------------

    async def set_mark(self, request: Request) -> Response:
        """Set a mark at a frame; the same one twice is one."""
        new = await body_of(request, NewMark)
        await self._edit(request, lambda before: before.with_mark(MarkEntry(new.frame, new.label)))
        return JSONResponse({"frame": new.frame, "label": new.label}, 201)

    async def remove_mark(self, request: Request) -> Response:
        """Take a mark out; one that is not there is no error."""
        asked = query_of(request, MarkQuery)
        mark = MarkEntry(asked.frame, asked.label)
        await self._edit(request, lambda before: before.without_mark(mark))
        return Response(status_code=204)

    async def _edit(self, request: Request, change: Callable[[Editable], Editable]) -> None:
        await self._recorder().edit(await self._own(request), change)

    async def _own(self, request: Request) -> str:
        """Return the id of the recording that the path names, if it is the person's."""
        recording: str = request.path_params["recording"]
        await self._shelf.record(person_of(request), recording)
        return recording


def _matches(condition: str, version: str) -> bool:
    """Judge `If-Match` (RFC 9110, section 13.1.1)."""
    tags = [tag.strip() for tag in condition.split(",")]
    return "*" in tags or f'"{version}"' in tags


def _detail(facts: dict[str, Any], links: dict[str, object]) -> tuple[bytes, str]:
    """Return the body, and what names the state of all that can be edited.

    For a thread: of 100,000 gaps it is much to write.
    """
    whole = _defaults() | facts | links
    text = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(), Editable.parse(facts).version


def _links(request: Request, recording: str) -> dict[str, object]:
    prefix: str = request.scope.get("root_path", "")
    base = f"{prefix}{BASE}/{recording}"
    return {"url": f"{base}/audio", "peaks_url": f"{base}/peaks"}


def _defaults() -> dict[str, object]:
    """Return what sidecars of before there were people don't say."""
    return {
        "created_at": "",
        "tags": [],
        "notes": "",
        "owner": "",
        "consent": None,
        "invitation": None,
        "hold": False,
        "take_time_s": None,
    }


def _summary(request: Request, entry: Entry) -> dict[str, object]:
    facts: dict[str, object] = {
        "recording": entry.recording,
        "title": entry.title,
        "status": entry.status,
        "started_at": entry.started_at,
        "duration_s": entry.duration_us / 1_000_000,
        "frames": entry.frames,
        "format": format_fields(entry.format),
        "gaps": entry.gaps,
        "gap_frames": entry.gap_frames,
        "marks": entry.marks,
        "clipped": entry.clipped,
        "verifiable": entry.verifiable,
        "tags": list(entry.tags),
        "notes": entry.notes,
        "owner": entry.owner,
        "take": entry.take,
        "part": entry.part,
        "hold": entry.hold,
    }
    return facts | _links(request, entry.recording)
