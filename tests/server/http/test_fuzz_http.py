"""Fuzzing by the OpenAPI description: no request, valid or not, causes a server error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from server.app import build_app
from testing.models import prose
from testing.replies import appended, created
from testing.serving import Server, client

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/partial-upload")
def as_it_is(context: Any, value: Any) -> bytes:
    """A part of an upload is bytes."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        yield server


DESCRIPTION = schemathesis.openapi.from_dict(build_app().openapi())
OPERATIONS: list[Any] = [found.ok() for found in DESCRIPTION.get_all_operations()]  # type: ignore[union-attr]
AT_A_SESSION = [operation for operation in OPERATIONS if "{id}/" in operation.path]


def label(operation: Any) -> str:
    return str(operation.label)


def for_many(operation: Any, check: Callable[[Any], None]) -> None:
    """Runs the check on requests that the operation's description allows, and on some that it does not."""
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes]))
    def tried(case: Any) -> None:
        check(case)

    tried()


def test_the_fuzzed_description_is_the_servers_own(server: Server) -> None:
    with client(server) as http:
        described = http.get("/openapi.json").json()
    assert described == build_app().openapi()
    assert len(OPERATIONS) == sum(map(len, described["paths"].values()))


@pytest.mark.parametrize("operation", OPERATIONS, ids=label)
def test_every_response_matches_the_openapi_description(server: Server, operation: Any) -> None:
    def check(case: Any) -> None:
        case.call_and_validate(base_url=server.url, checks=CHECKS)

    for_many(operation, check)


@pytest.mark.parametrize("operation", AT_A_SESSION, ids=label)
def test_every_response_about_an_existing_session_matches_the_description(server: Server, operation: Any) -> None:
    def check(case: Any) -> None:
        case.path_parameters = {"id": "book", "name": "first"}
        case.call_and_validate(base_url=server.url, checks=CHECKS)

    with client(server) as http:
        http.delete("/v1/sessions/book")
        created(http, id="book")
        appended(http, "book", prose(61, 300).encode())
        http.post("/v1/sessions/book/snapshots", json={"name": "first"})
        for_many(operation, check)
        assert http.get("/livez").status_code == 200
