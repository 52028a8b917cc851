"""The HTTP routes of access: who am I, in and out, tickets, tokens, invitations.

Secrets come in bodies and go out in bodies or cookies, never in an address. What they are
worth is decided at the desk.
"""

import json
import math
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from micwire.access.credentials import cookie_name, is_https
from micwire.access.desk import Desk, Mode, TooEarly, Visitor
from micwire.access.secrets import csrf_of, new_id
from micwire.access.store import Invitation, clean_name
from micwire.access.tickets import LIFE_S
from micwire.api.problems import ProblemError, bad_request, person_who_may
from micwire.core.people import Person, Scope

MAX_CONSENT_CHARACTERS = 20_000
MAX_COOKIE_AGE_S = 400 * 86_400
"""What browsers allow at most; the server ends a session before."""


def access_routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the routes below `/api/v1`."""
    routes = _Routes(desk)
    return [
        Route("/api/v1/me", routes.me),
        Route("/api/v1/session", routes.sign_in, methods=["POST"]),
        Route("/api/v1/session", routes.sign_out, methods=["DELETE"]),
        Route("/api/v1/tickets", routes.ticket, methods=["POST"]),
        Route("/api/v1/tokens", routes.tokens, methods=["GET"]),
        Route("/api/v1/tokens", routes.make_token, methods=["POST"]),
        Route("/api/v1/tokens/{token}", routes.remove_token, methods=["DELETE"]),
        Route("/api/v1/invitations", routes.invitations, methods=["GET"]),
        Route("/api/v1/invitations", routes.invite, methods=["POST"]),
        Route("/api/v1/invitations/{invitation}", routes.remove_invitation, methods=["DELETE"]),
    ]


def with_cookie(request: Request, response: Response, cookie: str) -> Response:
    """Let a browser keep a session."""
    response.set_cookie(
        cookie_name(request.scope),
        cookie,
        max_age=MAX_COOKIE_AGE_S,
        path="/",
        secure=is_https(request.scope),
        httponly=True,
        samesite="lax",
    )
    return response


class _Routes:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # ---- in and out ------------------------------------------------------------------

    async def me(self, request: Request) -> Response:
        visitor: Visitor = request.state.visitor
        person, mode = visitor.person, visitor.mode
        sign_in = {Mode.TOKEN: ["token"], Mode.USERS: ["password"]}.get(mode, [])
        if mode is Mode.USERS and self._desk.has_provider:
            sign_in = [*sign_in, "oidc"]
        is_guest = person is not None and person.invitation is not None
        return JSONResponse(
            {
                "user": None if person is None else person.id,
                "name": "" if person is None else person.name,
                "scopes": [] if person is None else sorted(person.scopes),
                "is_admin": person is not None and person.is_admin,
                "is_open": mode is Mode.OPEN,
                "is_guest": is_guest,
                "max_seconds": None if person is None else person.max_seconds,
                "csrf": None if visitor.session is None else csrf_of(visitor.session),
                "sign_in": sign_in,
            }
        )

    async def sign_in(self, request: Request) -> Response:
        fields = await _fields(request)
        is_secure = is_https(request.scope)
        if "invitation" in fields:
            return await self._accept(request, fields, is_secure=is_secure)
        if "token" in fields:
            cookie = await self._desk.sign_in_by_token(_text(fields, "token"), is_secure=is_secure)
            if cookie is None:
                raise ProblemError(401, "unauthenticated", "This is not the token of this server.")
            return with_cookie(request, Response(status_code=204), cookie)
        address = "" if request.client is None else request.client.host
        outcome = await self._desk.sign_in(
            _text(fields, "user"), _text(fields, "password"), address, is_secure=is_secure
        )
        if outcome is None:
            raise ProblemError(401, "unauthenticated", "The name or the password is wrong.")
        if isinstance(outcome, TooEarly):
            raise ProblemError(
                429,
                "too-many-attempts",
                "Too many attempts failed. Wait, then try again.",
                headers={"retry-after": str(math.ceil(outcome.wait_s))},
            )
        return with_cookie(request, Response(status_code=204), outcome)

    async def _accept(
        self, request: Request, fields: dict[str, Any], *, is_secure: bool
    ) -> Response:
        invitation = await self._desk.look_at_invitation(_text(fields, "invitation"))
        if invitation is None:
            raise ProblemError(
                401, "invitation-over", "This invitation is not good, or not any more."
            )
        if "consent_version" not in fields:
            return JSONResponse(_invitation_fields(invitation, for_guest=True))
        version = _text(fields, "consent_version")
        cookie = await self._desk.accept_invitation(invitation, version, is_secure=is_secure)
        if cookie is None:
            raise ProblemError(409, "consent-changed", "The text to agree to has changed.")
        return with_cookie(request, Response(status_code=204), cookie)

    async def sign_out(self, request: Request) -> Response:
        everywhere = request.query_params.get("everywhere", "false") == "true"
        visitor: Visitor = request.state.visitor
        await self._desk.sign_out(visitor, everywhere=everywhere)
        response = Response(status_code=204)
        if visitor.session is not None:  # else a foreign page could sign somebody out
            response.delete_cookie(
                cookie_name(request.scope), secure=is_https(request.scope), httponly=True
            )
        return response

    # ---- for programs ------------------------------------------------------------------

    async def ticket(self, request: Request) -> Response:
        person = person_who_may(request, Scope.RECORD)
        ticket = self._desk.issue_ticket(person)
        return JSONResponse({"ticket": ticket, "expires_in_s": LIFE_S})

    async def tokens(self, request: Request) -> Response:
        tokens = await self._desk.tokens(_manager(request))
        return JSONResponse(
            {
                "tokens": [
                    {
                        "id": token.id,
                        "name": token.name,
                        "scopes": sorted(token.scopes),
                        "created_at": _date(token.created_at),
                    }
                    for token in tokens
                ]
            }
        )

    async def make_token(self, request: Request) -> Response:
        person = _manager(request)
        fields = await _fields(request)
        scopes = fields.get("scopes")
        try:
            if not isinstance(scopes, list) or not scopes:
                raise ValueError
            wanted = frozenset(Scope(scope) for scope in scopes)
        except ValueError:
            raise bad_request(f"scopes is a list of some of {', '.join(Scope)}.") from None
        name = _name(fields)
        token, secret = await self._desk.make_token(person, name, wanted & person.scopes)
        return JSONResponse(
            {"id": token, "name": name, "scopes": sorted(wanted & person.scopes), "token": secret},
            201,
        )

    async def remove_token(self, request: Request) -> Response:
        person = _manager(request)
        if not await self._desk.remove_token(person, request.path_params["token"]):
            raise ProblemError(404, "not-found", "There is no such token.")
        return Response(status_code=204)

    # ---- invitations -------------------------------------------------------------------

    async def invitations(self, request: Request) -> Response:
        invitations = await self._desk.invitations(_manager(request))
        return JSONResponse({"invitations": [_invitation_fields(each) for each in invitations]})

    async def invite(self, request: Request) -> Response:
        person = _manager(request)
        fields = await _fields(request)
        invitation = Invitation(
            id=new_id(),
            user=person.id or None,
            name=_name(fields),
            max_recordings=_whole(fields, "max_recordings"),
            max_seconds=_seconds(fields),
            until=_time(fields),
            consent_version=_text(fields, "consent_version", ""),
            consent_text=_text(fields, "consent_text", "", most=MAX_CONSENT_CHARACTERS),
            created_at=time.time(),
        )
        code = await self._desk.invite(person, invitation)
        link = f"{request.base_url}#invite={code}"
        return JSONResponse(_invitation_fields(invitation) | {"code": code, "link": link}, 201)

    async def remove_invitation(self, request: Request) -> Response:
        person = _manager(request)
        if not await self._desk.remove_invitation(person, request.path_params["invitation"]):
            raise ProblemError(404, "not-found", "There is no such invitation.")
        return Response(status_code=204)


def _manager(request: Request) -> Person:
    return person_who_may(request, Scope.MANAGE)


def _invitation_fields(invitation: Invitation, *, for_guest: bool = False) -> dict[str, object]:
    until = None if invitation.until is None else _date(invitation.until)
    fields: dict[str, object] = {
        "name": invitation.name,
        "max_recordings": invitation.max_recordings,
        "max_seconds": invitation.max_seconds,
        "until": until,
        "consent_version": invitation.consent_version,
        "consent_text": invitation.consent_text,
        "used": invitation.used,
    }
    if not for_guest:
        fields |= {"id": invitation.id, "created_at": _date(invitation.created_at)}
    return fields


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


# ---- reading a body ---------------------------------------------------------------------


async def _fields(request: Request) -> dict[str, Any]:
    # A form of a foreign page can't send this type.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ProblemError(415, "bad-request", "The body is application/json.")
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise bad_request("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise bad_request("The body is a JSON object.")
    return fields


def _text(fields: dict[str, Any], name: str, default: str | None = None, most: int = 2_000) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or len(value) > most or "\0" in value or not _is_unicode(value):
        raise bad_request(f"{name} is a text of at most {most} characters.")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(fields: dict[str, Any]) -> str:
    try:
        return clean_name(_text(fields, "name"))
    except ValueError as error:
        raise bad_request(f"{error}.") from None


def _whole(fields: dict[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (type(value) is not int or not 1 <= value <= 1_000_000):
        raise bad_request(f"{name} is a whole number from 1.")
    return value


def _seconds(fields: dict[str, Any]) -> float | None:
    value = fields.get("max_seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 1e7:
        raise bad_request("max_seconds is a number from 1.")
    return float(value)


def _time(fields: dict[str, Any]) -> float | None:
    value = fields.get("until")
    if value is None:
        return None
    try:
        time_then = datetime.fromisoformat(value)
        if time_then.tzinfo is None:
            raise ValueError
        return time_then.timestamp()
    except (TypeError, ValueError, OverflowError):
        raise bad_request("until is a time with a zone, as in RFC 3339.") from None
