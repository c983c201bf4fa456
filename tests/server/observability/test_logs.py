"""Log lines: their fields, and that no input can forge or leak into one."""

from __future__ import annotations

import json
import logging
from typing import Any, TypeVar

import pytest

from server.observability.logs import JsonFormatter, TextFormatter, request_state
from server.sessions.errors import InvalidField
from server.store.base import StoreUnavailable

Failure = TypeVar("Failure", bound=BaseException)


def record(message: str, *values: Any, error: BaseException | None = None, **fields: int) -> logging.LogRecord:
    caught = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("server.ingest.reader", logging.WARNING, "reading.py", 1, message, values, caught)
    made.fields = fields
    return made


def failed(error: Failure, cause: BaseException | None = None) -> Failure:
    """The error as it is once it was raised."""
    try:
        raise error from cause
    except type(error):
        return error


def test_a_json_line_has_time_level_logger_message_and_counts() -> None:
    line = json.loads(JsonFormatter().format(record("stored %s", 7, offset=9)))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": "server.ingest.reader", "message": "stored 7", "offset": 9}


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_log_lines_carry_the_current_requests_id(formatter: logging.Formatter) -> None:
    state: dict[str, Any] = {}
    token = request_state.set(state)
    try:
        assert "request_id" not in formatter.format(record("early"))
        state["request_id"] = "req_7"
        assert "req_7" in formatter.format(record("late"))
    finally:
        request_state.reset(token)
    assert "req_7" not in formatter.format(record("later"))


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_message_is_one_line(formatter: logging.Formatter) -> None:
    assert len(formatter.format(record("one\r\ntwo\nthree %s", "\n2026 INFO server: forged")).splitlines()) == 1


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
@pytest.mark.parametrize("shape", ["alone", "cause", "group"])
def test_texts_of_foreign_exceptions_are_hidden_and_their_tracebacks_shown(
    formatter: logging.Formatter, shape: str
) -> None:
    foreign = failed(ValueError("invalid literal: 'Mr Casaubon'"))
    error = {
        "alone": foreign,
        "cause": failed(InvalidField("the text was refused"), foreign),
        "group": failed(ExceptionGroup("Casaubon's", [foreign])),
    }[shape]
    line = formatter.format(record("it failed", error=error))
    assert "Casaubon" not in line
    assert "builtins.ValueError" in line
    assert "test_logs.py" in line


def test_texts_of_our_own_and_system_exceptions_are_shown() -> None:
    error = failed(StoreUnavailable("the store at its address is gone"), failed(OSError(111, "Connection refused")))
    line = json.loads(JsonFormatter().format(record("it failed", error=error)))
    assert "the store at its address is gone" in line["exception"]
    assert "Connection refused" in line["exception"]
