"""What stands before every route: headers on every answer, and who asks on every request.

The headers are the same whatever the answer is: a file, an error, a redirect, a refused
socket. A route may set one of them for itself, and keeps it. Nothing here is asked for a
message on a socket.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.requests import Request

from micwire.access.credentials import headers_of
from micwire.access.desk import Desk, Mode, Visitor
from micwire.access.secrets import csrf_of
from micwire.api.origin import OriginRule
from micwire.api.problems import ProblemError, crash_response
from micwire.core.errors import MicwireError
from micwire.core.interfaces import Access

CSRF_HEADER = "x-micwire-csrf"
MAX_BODY_BYTES = 256 << 10
MAX_LENGTH_DIGITS = 20
BODY_TIMEOUT_S = 15.0
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_FROM_HERE = (
    "Nobody signs in here, so only this machine is let in, as localhost and through no proxy."
    " Add people with `micwire user add`, or tell an application's own:"
    " create_app(authenticate=...). Behind a proxy use --public-url as well."
    " With `--access open` everybody is let in."
)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def security_headers(embedders: tuple[str, ...] = ()) -> dict[str, str]:
    """Return what every answer carries unless it says otherwise itself.

    Args:
        embedders: Origins whose pages may show ours in a frame.
    """
    ancestors = " ".join(embedders) or "'none'"
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; worker-src 'self';"
        " connect-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:;"
        " manifest-src 'self'; form-action 'self'; base-uri 'none';"
        f" frame-ancestors {ancestors}"
    )
    headers = {
        "content-security-policy": policy,
        "permissions-policy": (
            "microphone=(self), camera=(), geolocation=(), payment=(), usb=(), display-capture=()"
        ),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
    if not embedders:
        headers["x-frame-options"] = "DENY"
    return headers


class Guard:
    """An ASGI application around another one.

    Args:
        app: What is guarded.
        access: Says who asks.
        rule: Which origins may change anything.
        headers: What every answer carries.
    """

    def __init__(
        self, app: Application, access: Access, rule: OriginRule, headers: Mapping[str, str]
    ) -> None:
        self._app = app
        self._access = access
        self._rule = rule
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = self._with_headers(scope, message.get("headers", []))
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send_guarded)
            return
        try:
            receive = await _with_body(scope, receive)
            visitor = await self._visitor(scope)
            state = dict(scope.get("state") or {})
            state |= {"visitor": visitor, "person": visitor and visitor.person}
            scope = {**scope, "state": state}
        except ProblemError as problem:
            await problem.response()(scope, receive, send_guarded)
            return
        except MicwireError:
            detail = "Who asks can't be looked up now."
            unable = ProblemError(503, "access-unavailable", detail)
            await unable.response()(scope, receive, send_guarded)
            return
        except Exception as error:
            crashed = await crash_response(Request(scope), error)
            await crashed(scope, receive, send_guarded)
            raise  # the server logs it
        await self._app(scope, receive, send_guarded)

    def _with_headers(
        self, scope: Scope, headers: list[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        headers = list(headers)
        present = {name.lower() for name, _ in headers}
        headers += [(name, value) for name, value in self._headers if name not in present]
        if _is_api(scope) and b"cache-control" not in present:
            headers.append((b"cache-control", b"no-store"))
        return headers

    async def _visitor(self, scope: Scope) -> Visitor | None:
        """Return who asks.

        Raises:
            ProblemError: It is no page that may ask for this.
        """
        found = headers_of(scope)
        is_change = scope["method"] not in SAFE_METHODS
        if is_change and not self._rule(found.get("origin", []), found.get("host", [])):
            raise ProblemError(403, "forbidden", "A page of this origin may not do this.")
        if not _is_api(scope):
            return None  # files hold nothing of anybody
        if isinstance(self._access, Desk):
            visitor = await self._access.visitor(scope)
        else:
            visitor = Visitor(await self._access.person(scope), Mode.HOST)
        if visitor.person is None and visitor.mode is Mode.OPEN:
            raise ProblemError(403, "not-from-here", NOT_FROM_HERE)
        if is_change and visitor.session is not None:
            given = found.get(CSRF_HEADER, [""])[0].encode()
            if not hmac.compare_digest(given, csrf_of(visitor.session).encode()):
                raise ProblemError(
                    403,
                    "csrf",
                    "The header X-Micwire-CSRF is not the `csrf` of /api/v1/me.",
                )
        return visitor


def _is_api(scope: Scope) -> bool:
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path.startswith("/api/")


async def _with_body(scope: Scope, receive: Receive) -> Receive:
    """Take the whole body, so that no route waits for a peer; return what hands it on.

    Raises:
        ProblemError: It is too large, or takes too long.
    """
    found = headers_of(scope)
    length = found.get("content-length", ["0"])[0]
    if length == "0" and "transfer-encoding" not in found:
        return receive
    # Of thousands of digits no number is made.
    is_number = length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS
    if not is_number or int(length) > MAX_BODY_BYTES:
        raise _too_large()
    body = b""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    break
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large()
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise ProblemError(
            408, "timeout", "The body took too long.", headers={"connection": "close"}
        ) from None
    whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def hand_on() -> Message:
        return whole.pop() if whole else await receive()

    return hand_on


def _too_large() -> ProblemError:
    return ProblemError(
        413,
        "too-large",
        f"A body has at most {MAX_BODY_BYTES} bytes here.",
        headers={"connection": "close"},
    )
