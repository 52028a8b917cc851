"""`/openapi.json`: the table of endpoints, written as OpenAPI 3.1."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from micwire.api.endpoints import JSON_TYPES, Answer, Endpoint
from micwire.api.problems import MEDIA_TYPE, Problem

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_DESCRIPTION = """What a micwire server has recorded, and who may hear it.

Where nobody has to sign in, nothing but the address is needed. Elsewhere a program sends an
API token and a page its cookie. A recording of somebody else is answered exactly as one that
does not exist. Errors are `application/problem+json`; their `code` never changes. What was
changed is durable before it is answered.

Sound is brought over WebSockets, which OpenAPI can't describe: see `spec/wire.md`."""
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}, {"session": []}]


class Documented(BaseModel):
    """An OpenAPI document."""

    openapi: str
    info: dict[str, object]
    paths: dict[str, object]


def described(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the rows and the one that describes them all, itself included."""
    everything: list[Endpoint] = list(endpoints)

    async def openapi(request: Request) -> Response:
        """Return this description."""
        return JSONResponse(document(everything, request.scope.get("root_path", "")))

    answers = {200: Answer("The description.", Documented)}
    everything.append(Endpoint("GET", "/openapi.json", openapi, answers))
    return everything


def document(endpoints: Iterable[Endpoint], prefix: str = "") -> dict[str, Any]:
    """Return the description of some rows.

    Args:
        endpoints: The rows.
        prefix: The path below which the application is mounted.
    """
    rows = list(endpoints)
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Problem, "serialization")]
    for row in rows:
        models += [(model, "validation") for model in (row.query, row.body) if model is not None]
        for answer in row.answers.values():
            if isinstance(answer.content, type):
                models.append((answer.content, "serialization"))
    generated, definitions = models_json_schema(
        list(dict.fromkeys(models)), by_alias=True, ref_template=_REF
    )
    references = {(model, mode): schema for (model, mode), schema in generated.items()}
    schemas: dict[str, Any] = definitions.get("$defs", {})
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        operation = _operation(row, references, schemas)
        paths.setdefault(_PARAMETER.sub(r"{\1}", row.path), {})[row.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "micwire",
            "version": version("micwire"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API token, made on the page or with `micwire token`.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-micwire",
                    "description": "Of a browser that has signed in; over http its name is"
                    " `micwire-PORT`. What changes anything needs the header `X-Micwire-CSRF`"
                    " beside it: `csrf` of `/api/v1/me`.",
                },
            },
        },
    }


References = Mapping[tuple[type[Any], JsonSchemaMode], dict[str, Any]]


def _operation(row: Endpoint, references: References, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, rest = inspect.cleandoc(row.handler.__doc__ or "").partition("\n")
    name = getattr(row.handler, "__name__", "").strip("_")
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary.rstrip("."),
        "description": rest.partition("\nRaises:")[0].strip() or summary,
        "parameters": [*_path_parameters(row), *_query_parameters(row, references, schemas)],
        "responses": _responses(row, references),
    }
    if row.body is not None:
        schema = references[row.body, "validation"]
        kinds = JSON_TYPES if row.method == "PATCH" else JSON_TYPES[:1]
        operation["requestBody"] = {
            "required": True,
            "content": {kind: {"schema": schema} for kind in kinds},
        }
    if row.scope is not None:
        operation["security"] = _SECURITY
        operation["x-scope"] = str(row.scope)
    return operation


def _path_parameters(row: Endpoint) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"} | ({"format": "uuid"} if name == "recording" else {}),
        }
        for name in _PARAMETER.findall(row.path)
    ]


def _query_parameters(
    row: Endpoint, references: References, schemas: dict[str, Any]
) -> list[dict[str, Any]]:
    if row.query is None:
        return []
    model = references[row.query, "validation"]["$ref"].rpartition("/")[2]
    fields, required = schemas[model]["properties"], schemas[model].get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }
        for name, schema in fields.items()
    ]


def _responses(row: Endpoint, references: References) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in row.answers.items():
        response: dict[str, Any] = {"description": answer.description}
        if isinstance(answer.content, str):
            response["content"] = {answer.content: {}}
        elif answer.content is not None:
            schema = references[answer.content, "serialization"]
            response["content"] = {"application/json": {"schema": schema}}
        responses[str(status)] = response
    problem = {MEDIA_TYPE: {"schema": references[Problem, "serialization"]}}
    for status, when in sorted(_problems(row).items()):
        responses[str(status)] = {"description": when, "content": problem}
    return responses


def _problems(row: Endpoint) -> dict[int, str]:
    """Return the problems that a row can answer with, whatever it does."""
    problems = dict(row.problems)
    if row.method != "GET":
        problems[403] = "A page of another origin asks, or one without `X-Micwire-CSRF`."
    if row.scope is not None:
        problems[401] = "Nobody has signed in."
        problems[403] = f"The person may not {row.scope}. {problems.get(403, '')}".strip()
    if _PARAMETER.search(row.path):
        problems.setdefault(404, "There is none, or not for this person.")
    if row.query is not None or row.body is not None:
        problems.setdefault(400, "The request can't be read.")
    if row.body is not None:
        problems |= {
            408: "The body comes too slowly.",
            413: "The body is too long.",
            415: "The body is no JSON.",
        }
    for status in problems:
        HTTPStatus(status)  # a mistake in a row ends here
    return problems
