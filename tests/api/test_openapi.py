"""The description of the HTTP API is whole, and true of a server that runs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema
from starlette.routing import Mount, Route

from micwire.api.openapi import document
from micwire.app import MicwireApp
from micwire.config import Config
from tests.faults.harness import Microphone, Server, dial

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
]


LENIENT = [check for check in CHECKS if check is not negative_data_rejection]


def is_wrong(case: Case[Any]) -> bool:
    """Tell whether what is asked for is wrong; a bad token is none where nobody needs one."""
    parts = {} if case.meta is None else case.meta.components
    return any(
        parts[place].mode is GenerationMode.NEGATIVE
        for place in (ParameterLocation.QUERY, ParameterLocation.BODY)
        if place in parts
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a recording that is over and one that is not."""
    with Server(tmp_path_factory.mktemp("openapi") / "data") as started:
        yield started


@pytest.fixture(scope="module")
def recordings(server: Server) -> list[str]:
    """The ids of a recording that is over and of one that is not."""
    over, unfinished = Microphone(server.port, 4_800), Microphone(server.port, 4_800)

    async def run() -> None:
        await over.record()
        socket = await dial(server.port)
        await unfinished.open(socket)

        await socket.close()

    asyncio.run(run())
    return [over.recording, unfinished.recording]


def test_every_route_is_described_and_every_described_route_is_there(tmp_path: Path) -> None:
    app = MicwireApp(Config(data=tmp_path))
    described = {
        (path, method.upper())
        for path, methods in document(app.endpoints)["paths"].items()
        for method in methods
    }
    served: set[tuple[str, str]] = set()
    mounts: list[str] = []
    for route in app._routes.routes:
        if isinstance(route, Mount):
            mounts.append(route.path)
        else:
            assert isinstance(route, Route)
            served |= {(route.path, method) for method in (route.methods or set()) - {"HEAD"}}
    assert described == served
    assert mounts == [""]  # the pages


def test_operations_have_names_of_their_own_and_say_what_they_do(tmp_path: Path) -> None:
    described = document(MicwireApp(Config(data=tmp_path)).endpoints)
    operations = [
        operation for methods in described["paths"].values() for operation in methods.values()
    ]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(operation["summary"] for operation in operations)


@pytest.fixture(scope="module")
def schema(server: Server) -> OpenApiSchema:
    """What the server says of itself."""
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")


def test_the_server_answers_as_its_description_says(
    schema: OpenApiSchema, recordings: list[str]
) -> None:
    operations = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operations.append(found.ok())
    # What is deleted can't be asked any more.
    for operation in sorted(operations, key=lambda each: each.method.upper() == "DELETE"):
        cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode])

        # Who listens live to what is not over listens for ever.
        asked = recordings[:1] if operation.path.endswith("/live") else recordings

        @given(case=cases, recording=st.sampled_from([*asked, None]))
        @settings(
            max_examples=12,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Case[Any], recording: str | None) -> None:
            if recording is not None and "recording" in case.path_parameters:
                case.path_parameters["recording"] = recording
            # Which cursors there are only a page before can tell.
            case.query.pop("cursor", None)
            case.call_and_validate(checks=CHECKS if is_wrong(case) else LENIENT)

        ask()
