"""Every exception that has a name has a row: none is answered as an internal error by omission."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest
from starlette.exceptions import HTTPException

import server.engine
import server.ingest
import server.sessions
import server.store
from server.http.problems import BODY_TOO_LARGE, INTERNAL_ERROR, ROWS, error_response
from server.http.refusals import BodyTooLarge, HttpError
from server.ingest.errors import IngestError
from server.ingest.reader_state import IllegalTransition
from server.sessions.errors import Refusal
from server.store.redis.errors import Unfit
from server.store.sqlite.writer_thread import Undone

# Bases are never raised, the two of the stores are translated inside the store, and a defect is an internal error.
WITHOUT_A_ROW = {Refusal, HttpError, IngestError, Undone, Unfit, IllegalTransition}


def exceptions(*packages: ModuleType) -> Iterator[type[Exception]]:
    """Every exception class that a module of these packages defines."""
    for package in packages:
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Exception) and value.__module__ == module.__name__:
                    yield value


NAMED = set(exceptions(server.sessions, server.ingest, server.engine, server.store)) | set(HttpError.__subclasses__())


@pytest.mark.parametrize("kind", sorted(NAMED - WITHOUT_A_ROW, key=str))
def test_every_exception_has_a_row(kind: type[Exception]) -> None:
    assert kind in ROWS or any(base in ROWS for base in kind.__bases__)


def test_every_row_is_of_an_existing_exception() -> None:
    assert set(ROWS) <= NAMED


def test_an_exception_without_a_row_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    response = error_response(KeyError("secret"))
    assert response.problem is INTERNAL_ERROR
    assert "secret" not in str(response.body("req_1"))
    assert [record.getMessage() for record in caplog.records] == ["unexpected failure"]


def test_a_refusal_that_fastapi_wraps_is_unwrapped() -> None:
    wrapped = HTTPException(400, "There was an error parsing the body")
    wrapped.__cause__ = BodyTooLarge("a JSON body has at most 10 bytes", "body")
    response = error_response(wrapped)
    assert (response.problem, response.detail, response.param) == (
        BODY_TOO_LARGE,
        "a JSON body has at most 10 bytes",
        "body",
    )
