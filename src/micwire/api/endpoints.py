"""The HTTP API as a table: the rows that serve requests are the rows that describe them.

A row says who may ask, what may be asked and what is answered; `routes` serves the rows
and `openapi.document` writes them down. What a row asks for is read with `query_of` and
`body_of`, and a handler sees only what fits.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from micwire.api.problems import ProblemError, bad_request, person_who_may
from micwire.core.people import Person, Scope

JSON_TYPES = ("application/json", "application/merge-patch+json")
Handler = Callable[[Request], Awaitable[Response]]
Model = TypeVar("Model", bound=BaseModel)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


AS_WHOLE = BeforeValidator(_whole)
"""For an integer of a body: to JSON Schema 4.0 is one too, and neither "4" nor true is."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which requests are answered.

    Args:
        description: When, or with what.
        content: A model of the JSON; or the media type of what is no JSON; or nothing.
    """

    description: str
    content: type[BaseModel] | str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Args:
        method: Such as `GET`, which brings `HEAD` with it.
        path: From the root of the application on, with `{names}` as in Starlette.
        handler: Answers; its docstring is the description.
        answers: By status; problems that each row can have aside.
        scope: What the person must be allowed to do; None: everybody may ask, signed in
            or not.
        query: What may stand in the address; a field that is a list may be repeated.
        body: What the body must be.
        problems: Further problems that it answers with, by status: when.
    """

    method: str
    path: str
    handler: Handler
    answers: Mapping[int, Answer]
    scope: Scope | None = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)


def routes(endpoints: Iterable[Endpoint]) -> list[Route]:
    """Return what serves the rows."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [
        Route(path, _serving(methods), methods=list(methods)) for path, methods in by_path.items()
    ]


def _serving(methods: Mapping[str, Endpoint]) -> Handler:
    async def serve(request: Request) -> Response:
        endpoint = methods["GET" if request.method == "HEAD" else request.method]
        if endpoint.scope is not None:
            person_who_may(request, endpoint.scope)
        return await endpoint.handler(request)

    return serve


def person_of(request: Request) -> Person:
    """Return who asks, in a handler whose row has a scope."""
    person: Person = request.state.person
    return person


def query_of(request: Request, model: type[Model]) -> Model:
    """Read what the address asks for.

    Raises:
        ProblemError: It is not what `model` says (400).
    """
    names = {info.alias or name for name, info in model.model_fields.items()}
    unknown = sorted(set(request.query_params) - names)
    if unknown:  # a filter with a slip of the pen must not be none
        raise bad_request(f"There is no such parameter; there are {', '.join(sorted(names))}.")
    values: dict[str, str | list[str]] = {}
    for field_name, info in model.model_fields.items():
        name = info.alias or field_name
        found = request.query_params.getlist(name)
        if found:
            values[name] = found if get_origin(info.annotation) in (list, tuple) else found[-1]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise bad_request(_first_of(error)) from None


async def body_of(request: Request, model: type[Model]) -> Model:
    """Read the body.

    Raises:
        ProblemError: It is no JSON (415), or not what `model` says (400).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in JSON_TYPES:
        raise ProblemError(415, "unsupported-media-type", f"The body must be {JSON_TYPES[0]}.")
    data = await request.body()  # whole and not too long: the guard has seen to that
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise bad_request(_first_of(error)) from None


def _first_of(error: ValidationError) -> str:
    """Say what is wrong first; what was sent is not repeated: it may be a secret."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    return f"{name}: {first['msg']}." if name else f"{first['msg']}."
