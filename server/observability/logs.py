"""The log: one line per event on standard error, plain or JSON, with the id of the request that it belongs to.

Text, questions, answers and keys are never logged.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

# The state of the current request, which has its id.
request_state: ContextVar[Mapping[str, Any] | None] = ContextVar("request_state", default=None)

Caught = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def begin(style: Literal["text", "json"], level: str) -> None:
    """Configures every logger of the process, those of libraries too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)


class _Formatter(logging.Formatter):
    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """The record's counts, and the request's id if there is a request."""
        state = request_state.get() or {}
        known = {"request_id": state["request_id"]} if "request_id" in state else {}
        return {**getattr(record, "fields", {}), **known}

    def formatException(self, ei: Caught) -> str:  # noqa: N802  # logging's name
        return "".join(_trace_lines(ei[1])) if ei[1] is not None else ""


class JsonFormatter(_Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(_Formatter):
    """Time, level, logger, message, counts; line breaks in a message are escaped, so no input can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(sep=" ", timespec="milliseconds")
        message = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        counts = "".join(f" {name}={value}" for name, value in self.fields(record).items())
        line = f"{time} {record.levelname} {record.name}: {message}{counts}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _trace_lines(error: BaseException) -> Iterator[str]:
    """An error's traceback, innermost cause first."""
    below = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for cause in (*(error.exceptions if isinstance(error, BaseExceptionGroup) else ()), below):
        if cause is not None:
            yield from _trace_lines(cause)
    yield from traceback.format_tb(error.__traceback__)
    kind = type(error)
    # Exceptions of libraries may quote their input, which may be a client's text.
    ours = kind.__module__.partition(".")[0] in ("server", "model") or isinstance(error, OSError | RuntimeError)
    yield f"{kind.__module__}.{kind.__qualname__}: {error if ours else '(not shown)'}\n"
