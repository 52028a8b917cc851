"""The HTTP routes of access: who am I, in and out, tickets, tokens, invitations.

Secrets come in bodies and go out in bodies or cookies, never in an address. What they are
worth is decided at the desk.
"""

import hashlib
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from micwire.access.credentials import cookie_name, is_https
from micwire.access.desk import Desk, Mode, TooEarly, Visitor
from micwire.access.oidc import WAITING_S, Provider, ProviderError
from micwire.access.secrets import csrf_of, new_id
from micwire.access.store import MAX_NAME_CHARACTERS, Invitation
from micwire.access.tickets import LIFE_S
from micwire.api.endpoints import AS_WHOLE, Answer, Endpoint, body_of, person_of, query_of
from micwire.api.problems import ProblemError
from micwire.core.people import Person, Scope

MAX_CONSENT_CHARACTERS = 20_000
MAX_COOKIE_AGE_S = 400 * 86_400
"""What browsers allow at most; the server ends a session before."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_S = 200_000_000_000.0
"""The year 8307: so late that no date behind it needs to be told."""


Secret = Annotated[str, Field(max_length=2_000)]
Label = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]


def _too_early(words: str, outcome: TooEarly) -> ProblemError:
    wait = {"retry-after": str(math.ceil(outcome.wait_s))}
    return ProblemError(429, "too-many-attempts", words, headers=wait)


class Me(BaseModel):
    """Who asks."""

    user: str | None = Field(description="Null: nobody is signed in. Empty: nobody has to be.")
    name: str
    identity: str = Field(
        description="Stands for whoever asks: the same for a user, or for who came by one"
        " invitation. Empty: nobody is signed in, or has to be."
    )
    scopes: list[Scope]
    is_admin: bool
    is_open: bool = Field(description="Nobody has to sign in.")
    is_guest: bool = Field(description="Came by an invitation.")
    max_seconds: float | None = Field(description="How long a recording may be.")
    csrf: str | None = Field(description="What a page sends as `X-Micwire-CSRF`.")
    sign_in: list[str] = Field(description="Ways to sign in: `password`, `token`, `oidc`.")


class _Exactly(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ByPassword(_Exactly):
    """A user."""

    user: Secret
    password: Secret


class ByToken(_Exactly):
    """Whoever has the link that the server printed."""

    token: Secret


class ByInvitation(_Exactly):
    """A guest; without `consent_version` only the text to agree to is asked for."""

    invitation: Secret
    consent_version: Secret | None = None


class SignIn(RootModel[ByPassword | ByToken | ByInvitation]):
    """How somebody signs in."""


class SignOut(BaseModel):
    """From where."""

    everywhere: bool = Field(False, description="End all sessions of the user.")


class Ticket(BaseModel):
    """Good for one socket."""

    ticket: str
    expires_in_s: int


class NewToken(BaseModel):
    """What a token may do."""

    name: Label
    scopes: list[Scope] = Field(min_length=1)


class TokenInfo(BaseModel):
    """An API token, without itself."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: str


class MadeToken(TokenInfo):
    """A new API token."""

    token: str = Field(description="Not to be had again.")


class Tokens(BaseModel):
    """Somebody's API tokens."""

    tokens: list[TokenInfo]


class NewInvitation(BaseModel):
    """What a guest may do."""

    name: Label
    max_recordings: Annotated[int | None, AS_WHOLE] = Field(
        None, ge=1, le=1_000_000, description="Takes in all."
    )
    max_seconds: float | None = Field(None, ge=1, le=10_000_000, description="Of a recording.")
    until: AwareDatetime | None = Field(None, description="Nothing is begun afterwards.")
    consent_version: str = Field("", max_length=200)
    consent_text: str = Field(
        "", max_length=MAX_CONSENT_CHARACTERS, description="What a guest has to agree to."
    )


class InvitationText(BaseModel):
    """An invitation, as a guest sees it."""

    name: str
    max_recordings: int | None
    max_seconds: float | None
    until: str | None
    consent_version: str
    consent_text: str
    used: int = Field(description="How many takes were begun.")


class InvitationInfo(InvitationText):
    """An invitation, without its code."""

    id: str
    created_at: str


class MadeInvitation(InvitationInfo):
    """A new invitation."""

    code: str = Field(description="Not to be had again.")
    link: str = Field(description="What to send; the code is behind `#`.")


class Invitations(BaseModel):
    """Somebody's invitations."""

    invitations: list[InvitationInfo]


def _with_cookie(
    request: Request, response: Response, cookie: str, *, is_secure: bool | None = None
) -> Response:
    """Let a browser keep a session."""
    secure = is_https(request.scope) if is_secure is None else is_secure
    response.set_cookie(
        cookie_name(request.scope, is_secure=secure),
        cookie,
        max_age=MAX_COOKIE_AGE_S,
        path="/",
        secure=secure,
        httponly=True,
        samesite="lax",
    )
    return response


def _identity(person: Person) -> str:
    """Return what tells people of one browser apart, and says nothing else of them."""
    if not person.id and person.invitation is None:
        return ""
    whole = f"{person.id} {person.invitation or ''}"
    return hashlib.sha256(whole.encode()).hexdigest()[:32]


class AccessRoutes:
    """What the desk is asked over HTTP.

    Args:
        desk: Decides.
        public_url: The address people use, for links; empty: the one that was called.
    """

    def __init__(self, desk: Desk, public_url: str = "") -> None:
        self._desk = desk
        self._public_url = public_url

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of the table."""
        base, manage = "/api/v1", Scope.MANAGE
        token, invitation = f"{base}/tokens/{{token}}", f"{base}/invitations/{{invitation}}"
        gone = {204: Answer("Gone.")}
        entered = {
            200: Answer("The invitation, and what to agree to.", InvitationText),
            204: Answer("Signed in: the cookie is set."),
        }
        refused = {
            401: "Name, password, token or invitation is wrong or over.",
            409: "The text to agree to has changed.",
            429: "Too many attempts failed; `Retry-After` says how long to wait.",
        }
        made_token = {201: Answer("The token.", MadeToken)}
        made = {201: Answer("The invitation and its link.", MadeInvitation)}
        return [
            Endpoint("GET", f"{base}/me", self.me, {200: Answer("Who asks.", Me)}),
            Endpoint(
                "POST", f"{base}/session", self.sign_in, entered, body=SignIn, problems=refused
            ),
            Endpoint("DELETE", f"{base}/session", self.sign_out, gone, query=SignOut),
            Endpoint(
                "GET",
                f"{base}/session/oidc",
                self.go_to_provider,
                {302: Answer("To the provider.")},
                problems={404: "There is no provider here."},
            ),
            Endpoint(
                "GET",
                f"{base}/session/oidc/callback",
                self.come_from_provider,
                {302: Answer("To the recorder, or back to the page for signing in.")},
                problems={404: "There is no provider here."},
            ),
            Endpoint(
                "POST",
                f"{base}/tickets",
                self.ticket,
                {200: Answer("The ticket.", Ticket)},
                Scope.RECORD,
            ),
            Endpoint("GET", f"{base}/tokens", self.tokens, {200: Answer("All.", Tokens)}, manage),
            Endpoint("POST", f"{base}/tokens", self.make_token, made_token, manage, body=NewToken),
            Endpoint("DELETE", token, self.remove_token, gone, manage),
            Endpoint(
                "GET",
                f"{base}/invitations",
                self.invitations,
                {200: Answer("All.", Invitations)},
                manage,
            ),
            Endpoint("POST", f"{base}/invitations", self.invite, made, manage, body=NewInvitation),
            Endpoint("DELETE", invitation, self.remove_invitation, gone, manage),
        ]

    # ---- in and out ------------------------------------------------------------------

    async def me(self, request: Request) -> Response:
        """Return who asks, and how one could sign in."""
        visitor: Visitor = request.state.visitor
        person, mode = visitor.person, visitor.mode
        ways = {Mode.TOKEN: ["token"], Mode.USERS: ["password"]}.get(mode, [])
        if mode is Mode.USERS and self._desk.provider is not None:
            ways = [*ways, "oidc"]
        return JSONResponse(
            {
                "user": None if person is None else person.id,
                "name": "" if person is None else person.name,
                "identity": "" if person is None else _identity(person),
                "scopes": [] if person is None else sorted(person.scopes),
                "is_admin": person is not None and person.is_admin,
                "is_open": mode is Mode.OPEN,
                "is_guest": person is not None and person.invitation is not None,
                "max_seconds": None if person is None else person.max_seconds,
                "csrf": None if visitor.session is None else csrf_of(visitor.session),
                "sign_in": ways,
            }
        )

    async def sign_in(self, request: Request) -> Response:
        """Sign a browser in, or read an invitation."""
        given = (await body_of(request, SignIn)).root
        match given:
            case ByInvitation():
                return await self._accept(request, given)
            case ByToken(token=token):
                cookie = await self._desk.sign_in_by_token(token, is_secure=is_https(request.scope))
                if cookie is None:
                    raise ProblemError(401, "unauthenticated", "This is not this server's token.")
            case ByPassword():
                cookie = await self._by_password(request, given)
        return _with_cookie(request, Response(status_code=204), cookie)

    async def _by_password(self, request: Request, given: ByPassword) -> str:
        address = "" if request.client is None else request.client.host
        outcome = await self._desk.sign_in(
            given.user, given.password, address, is_secure=is_https(request.scope)
        )
        if outcome is None:
            raise ProblemError(401, "unauthenticated", "The name or the password is wrong.")
        if isinstance(outcome, TooEarly):
            raise _too_early("Too many attempts failed. Wait, then try again.", outcome)
        return outcome

    async def _accept(self, request: Request, given: ByInvitation) -> Response:
        invitation = await self._desk.look_at_invitation(given.invitation)
        if invitation is None:
            raise ProblemError(401, "invitation-over", "This invitation is over, or is none.")
        if given.consent_version is None:
            return JSONResponse(_text_of(invitation).model_dump())
        cookie = await self._desk.accept_invitation(
            invitation, given.consent_version, is_secure=is_https(request.scope)
        )
        if cookie is None:
            raise ProblemError(409, "consent-changed", "The text to agree to has changed.")
        if isinstance(cookie, TooEarly):
            raise _too_early("Many come by this invitation now. Wait, then try again.", cookie)
        return _with_cookie(request, Response(status_code=204), cookie)

    async def sign_out(self, request: Request) -> Response:
        """Sign a browser out, or the user everywhere."""
        visitor: Visitor = request.state.visitor
        everywhere, person = query_of(request, SignOut).everywhere, visitor.person
        if everywhere and person and not visitor.session and not person.may(Scope.MANAGE):
            raise ProblemError(403, "forbidden", "This token may not sign its user out.")
        await self._desk.sign_out(visitor, everywhere=everywhere)
        response = Response(status_code=204)
        if visitor.session is not None:  # else a foreign page could sign somebody out
            secure = is_https(request.scope)
            name = cookie_name(request.scope, is_secure=secure)
            response.delete_cookie(name, secure=secure, httponly=True)
        return response

    async def go_to_provider(self, request: Request) -> Response:
        """Send a browser to the provider, to sign in there."""
        provider, address = self._provider(), self._address(request)
        try:
            url, browser = await provider.begin(f"{address}api/v1/session/oidc/callback")
        except ProviderError as error:
            return self._not_let_in(request, error)
        response = RedirectResponse(url, 302)
        is_secure = address.startswith("https:")
        response.set_cookie(
            _waiting_cookie(request, is_secure=is_secure),
            browser,
            max_age=int(WAITING_S),
            secure=is_secure,
            httponly=True,
            samesite="lax",
        )
        return response

    async def come_from_provider(self, request: Request) -> Response:
        """Sign in who comes back from the provider."""
        provider, address = self._provider(), self._address(request)
        is_secure = address.startswith("https:")
        waiting = _waiting_cookie(request, is_secure=is_secure)
        try:
            user = await provider.finish(request.query_params, request.cookies.get(waiting, ""))
        except ProviderError as error:
            return self._not_let_in(request, error)
        cookie = await self._desk.begin_session(user, how="oidc", is_secure=is_secure)
        response = RedirectResponse(address, 302)
        response.delete_cookie(waiting, secure=is_secure, httponly=True)
        return _with_cookie(request, response, cookie, is_secure=is_secure)

    def _provider(self) -> Provider:
        if self._desk.provider is None:
            raise ProblemError(404, "not-found", "There is no provider here.")
        return self._desk.provider

    def _not_let_in(self, request: Request, error: ProviderError) -> Response:
        self._desk.audit.note("sign-in-refused", how="oidc", reason=str(error))
        return RedirectResponse(f"{self._address(request)}sign-in?refused=1", 302)

    def _address(self, request: Request) -> str:
        """Return the address that people use, with a slash at the end."""
        return f"{(self._public_url or str(request.base_url)).rstrip('/')}/"

    # ---- for programs ------------------------------------------------------------------

    async def ticket(self, request: Request) -> Response:
        """Make a ticket with which one socket opens as whoever asks, within 30 s."""
        ticket = self._desk.issue_ticket(person_of(request))
        return JSONResponse(Ticket(ticket=ticket, expires_in_s=LIFE_S).model_dump())

    async def tokens(self, request: Request) -> Response:
        """List one's API tokens, without themselves."""
        tokens = await self._desk.tokens(person_of(request))
        infos = [
            TokenInfo(
                id=token.id,
                name=token.name,
                scopes=sorted(token.scopes),
                created_at=_date(token.created_at),
            )
            for token in tokens
        ]
        return JSONResponse(Tokens(tokens=infos).model_dump())

    async def make_token(self, request: Request) -> Response:
        """Make an API token, with scopes that one has oneself."""
        self._see_that_people_are_ours(request)
        person, wanted = person_of(request), await body_of(request, NewToken)
        scopes = frozenset(wanted.scopes) & person.scopes
        if not scopes:
            raise ProblemError(403, "forbidden", "A token may do only what you may.")
        token, secret = await self._desk.make_token(person, wanted.name, scopes)
        made = MadeToken(
            id=token,
            name=wanted.name,
            scopes=sorted(scopes),
            created_at=_date(time.time()),
            token=secret,
        )
        return JSONResponse(made.model_dump(), 201)

    async def remove_token(self, request: Request) -> Response:
        """Take an API token back."""
        if not await self._desk.remove_token(person_of(request), request.path_params["token"]):
            raise ProblemError(404, "not-found", "There is no such token.")
        return Response(status_code=204)

    def _see_that_people_are_ours(self, request: Request) -> None:
        visitor: Visitor = request.state.visitor
        if visitor.mode is Mode.HOST:
            raise ProblemError(
                403, "forbidden", "The application around micwire knows its people: ask it."
            )

    # ---- invitations -------------------------------------------------------------------

    async def invitations(self, request: Request) -> Response:
        """List one's invitations, without their codes."""
        invitations = await self._desk.invitations(person_of(request))
        infos = [_info_of(invitation) for invitation in invitations]
        return JSONResponse(Invitations(invitations=infos).model_dump())

    async def invite(self, request: Request) -> Response:
        """Make a link with which others may record, and nothing else."""
        self._see_that_people_are_ours(request)
        person, wanted = person_of(request), await body_of(request, NewInvitation)
        until = wanted.until
        invitation = Invitation(
            id=new_id(),
            user=person.id or None,
            name=wanted.name,
            max_recordings=wanted.max_recordings,
            max_seconds=wanted.max_seconds,
            until=None if until is None else max(0.0, (until - _EPOCH).total_seconds()),
            consent_version=wanted.consent_version,
            consent_text=wanted.consent_text.strip(),
            created_at=time.time(),
        )
        code = await self._desk.invite(person, invitation)
        made = MadeInvitation(
            **_info_of(invitation).model_dump(),
            code=code,
            link=f"{self._address(request)}#invite={code}",
        )
        return JSONResponse(made.model_dump(), 201)

    async def remove_invitation(self, request: Request) -> Response:
        """Take an invitation back: whoever came by it is let do nothing more."""
        invitation = request.path_params["invitation"]
        if not await self._desk.remove_invitation(person_of(request), invitation):
            raise ProblemError(404, "not-found", "There is no such invitation.")
        return Response(status_code=204)


def _waiting_cookie(request: Request, *, is_secure: bool) -> str:
    return f"{cookie_name(request.scope, is_secure=is_secure)}-oidc"


def _text_of(invitation: Invitation) -> InvitationText:
    return InvitationText(
        name=invitation.name,
        max_recordings=invitation.max_recordings,
        max_seconds=invitation.max_seconds,
        until=None if invitation.until is None else _date(invitation.until),
        consent_version=invitation.consent_version,
        consent_text=invitation.consent_text,
        used=invitation.used,
    )


def _info_of(invitation: Invitation) -> InvitationInfo:
    return InvitationInfo(
        **_text_of(invitation).model_dump(),
        id=invitation.id,
        created_at=_date(invitation.created_at),
    )


def _date(seconds: float) -> str:
    return (_EPOCH + timedelta(seconds=min(seconds, _LATEST_S))).isoformat(timespec="seconds")
