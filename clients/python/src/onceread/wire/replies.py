"""Replies as values or errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from onceread import errors, results
from onceread.wire.steps import Event, Reply

T = TypeVar("T")


def error_from(reply: Reply) -> errors.OncereadError:
    """The error in an unsuccessful reply."""
    try:
        body = json.loads(reply.body)
        code = body["error"]["code"]
    except (ValueError, TypeError, KeyError):
        return _unexpected(reply)
    return problem(body, code, reply.status, retry_after(reply.headers))


def problem(
    body: Mapping[str, Any], code: str, status: int, retry_after_seconds: float | None = None
) -> errors.ApiError:
    """The error in a problem's body; a code that this client does not have is a plain `ApiError`."""
    known = {"type", "title", "status", "detail", "request_id", "error"}
    return errors.BY_CODE.get(code, errors.ApiError)(
        str(body.get("detail", "")),
        status=status,
        code=code,
        param=body.get("error", {}).get("param"),
        request_id=str(body.get("request_id", "")),
        retry_after_seconds=retry_after_seconds,
        members={name: value for name, value in body.items() if name not in known},
    )


def _unexpected(reply: Reply) -> errors.UnexpectedReply:
    begins = reply.body[:200].decode(errors="replace").strip()
    return errors.UnexpectedReply(
        f"status {reply.status}, and no error in the format of Onceread; is another server or a proxy at this address? "
        f"The reply begins: {begins!r}",
        status=reply.status,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds in `Retry-After`; a date there is compared with the reply's own date."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())


def json_object(reply: Reply) -> dict[str, Any]:
    return _object(reply.body, reply.status)


def event_object(event: Event) -> dict[str, Any]:
    return _object(event.data.encode(), 200)


def event_error(event: Event) -> errors.ApiError:
    """The error that ended a stream."""
    body = event_object(event)
    code = str(body.get("error", {}).get("code", "internal_error"))
    return problem(body, code, int(body.get("status", 500)))


def session(body: Mapping[str, Any]) -> results.SessionInfo:
    return _parsed(
        results.SessionInfo,
        body,
        text=_parsed(results.TextCounts, _field(body, "text")),
        memory=_parsed(results.MemoryCounts, _field(body, "memory")),
    )


def page(body: Mapping[str, Any]) -> results.SessionPage:
    sessions = [session(found) for found in _rows(body)]
    return results.SessionPage(sessions, body.get("last_id") if body.get("has_more") else None)


def snapshot(body: Mapping[str, Any]) -> results.Snapshot:
    return _parsed(results.Snapshot, body, memory=_parsed(results.MemoryCounts, _field(body, "memory")))


def snapshots(body: Mapping[str, Any]) -> list[results.Snapshot]:
    return [snapshot(found) for found in _rows(body)]


def documents(body: Mapping[str, Any]) -> list[results.Document]:
    return [_parsed(results.Document, found) for found in _rows(body)]


def text(body: Mapping[str, Any]) -> results.TextRange:
    return _parsed(results.TextRange, body)


def answer(body: Mapping[str, Any]) -> results.Answer:
    return _answer(body, _field(body, "memory"))


def answers(body: Mapping[str, Any]) -> list[results.Answer]:
    """Several answers from one memory."""
    return [_answer(part, _field(body, "memory")) for part in body.get("answers", [])]


def _answer(body: Mapping[str, Any], memory: Mapping[str, Any]) -> results.Answer:
    scores = body.get("logprobs")
    return _parsed(
        results.Answer,
        {**body, "text": body.get("answer")},
        usage=_parsed(results.Usage, _field(body, "usage")),
        memory=_parsed(results.MemoryUsed, memory),
        logprobs=None if scores is None else [_parsed(results.TokenScore, score) for score in scores],
        sources=[_parsed(results.Source, source) for source in body.get("sources") or []],
    )


def server_info(body: Mapping[str, Any]) -> results.ServerInfo:
    return _parsed(results.ServerInfo, body, fields=dict(body))


def _object(body: bytes, status: int) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise errors.UnexpectedReply(f"the reply is not a JSON object: {body[:200]!r}", status=status)
    return value


def _rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = body.get("data")
    if not isinstance(rows, list):
        raise errors.UnexpectedReply("the reply has no list in its field data")
    return rows


def _field(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inside = body.get(name)
    if not isinstance(inside, dict):
        raise errors.UnexpectedReply(f"the reply has no object in its field {name}")
    return inside


def _parsed(kind: type[T], body: Mapping[str, Any], **parts: Any) -> T:
    """A value from the fields that `kind` has; other fields, of a newer server, are ignored."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{**{name: value for name, value in body.items() if name in known}, **parts})
    except TypeError as error:
        raise errors.UnexpectedReply(f"the reply lacks a field of {kind.__name__}: {error}") from None
