"""Errors of the HTTP API, as `application/problem+json` (RFC 9457).

The code is for machines and never changes; the sentences are for people. What is not there
and what a person may not see are one answer: nothing tells them apart.
"""

from http import HTTPStatus

from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from micwire.core.errors import MicwireError
from micwire.core.people import Person, Scope

MEDIA_TYPE = "application/problem+json"
_CODES = {404: "not-found", 405: "method-not-allowed"}
_STATUSES = {
    "bad-cursor": 400,
    "not-found": 404,
    "held": 409,
    "bad-mark": 409,
    "locked": 409,
    "too-many-marks": 409,
    "storage-failed": 503,
    "catalogue-unavailable": 503,
    "storage-full": 507,
}
"""How errors of ours, by their codes, are answered; the rest are 500."""


class Problem(BaseModel):
    """What is wrong with a request (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="A sentence for people.")
    code: str = Field(description="Names the kind of problem, for ever.")


class ProblemError(Exception):
    """What is wrong with a request; raised by a route, sent by `problem_response`.

    Args:
        status: The HTTP status.
        code: Names the kind of error for ever, such as `not-found`.
        detail: What is wrong, as a sentence that holds no secret.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, code: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{detail} ({code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers

    def response(self) -> Response:
        """Return the answer."""
        problem = Problem(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
        )
        return JSONResponse(
            problem.model_dump(), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


async def problem_response(request: Request, error: Exception) -> Response:
    """Answer with a problem that a route has raised; for Starlette's `exception_handlers`."""
    if not isinstance(error, ProblemError):
        raise error
    return error.response()


async def error_response(request: Request, error: Exception) -> Response:
    """Answer with what the recorder, the library or the catalogue has refused."""
    if not isinstance(error, MicwireError):
        raise error
    status = _STATUSES.get(error.code, 500)
    sentence = str(error)
    return ProblemError(status, error.code, f"{sentence[:1].upper()}{sentence[1:]}.").response()


async def crash_response(request: Request, error: Exception) -> Response:
    """Answer where we have made a mistake; what it was is in the log."""
    return ProblemError(500, "internal-error", "The server has made a mistake.").response()


async def http_response(request: Request, error: Exception) -> Response:
    """Answer with what Starlette itself has raised: no such route, or not with this method."""
    if not isinstance(error, HTTPException):
        raise error
    if request.url.path.removeprefix(request.scope.get("root_path", "")).startswith("/api/"):
        headers = None if error.headers is None else dict(error.headers)
        code = _CODES.get(error.status_code, "error")
        return ProblemError(error.status_code, code, f"{error.detail}.", headers).response()
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=error.headers)


def no_such_recording() -> ProblemError:
    """Return what is said of every id that is not there, or not for this person."""
    return ProblemError(404, "not-found", "There is no such recording.")


def bad_request(detail: str) -> ProblemError:
    """Return what is said of a query or a body that can't be used."""
    return ProblemError(400, "bad-request", detail)


def person_who_may(request: Request, scope: Scope) -> Person:
    """Return who asks.

    Raises:
        ProblemError: Nobody has signed in (401), or they may not do this at all (403).
    """
    person: Person | None = request.state.person
    if person is None:
        raise ProblemError(
            401, "unauthenticated", "Sign in first.", headers={"www-authenticate": "Bearer"}
        )
    if not person.may(scope):
        raise ProblemError(403, "forbidden", f"This needs the permission {str(scope)!r}.")
    return person
