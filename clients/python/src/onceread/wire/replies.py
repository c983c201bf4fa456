"""What replies mean: each as the value or the error that it stands for.

Pure: it knows statuses, headers and fields, and nothing of what is done about an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from onceread import errors, results
from onceread.wire.steps import Event, Reply

T = TypeVar("T")


def refusal(reply: Reply) -> errors.OncereadError:
    """The error that an unsuccessful reply stands for."""
    try:
        body = json.loads(reply.body)
        code = body["error"]["code"]
    except (ValueError, TypeError, KeyError):
        return _foreign(reply)
    return problem(body, code, reply.status, retry_after(reply.headers))


def problem(
    body: Mapping[str, Any], code: str, status: int, retry_after_seconds: float | None = None
) -> errors.ApiError:
    """The error of a problem's body; a code of a newer server is a plain `ApiError`."""
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


def _foreign(reply: Reply) -> errors.UnexpectedReply:
    begins = reply.body[:200].decode(errors="replace").strip()
    return errors.UnexpectedReply(
        f"status {reply.status} without the error that Onceread describes it by; is there another server or a proxy "
        f"at this address? The answer begins: {begins!r}",
        status=reply.status,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds after which the server wants to be asked again; a date is held against the reply's own."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())


def object_in(reply: Reply) -> dict[str, Any]:
    return _object(reply.body, reply.status)


def event_object(event: Event) -> dict[str, Any]:
    return _object(event.data.encode(), 200)


def event_problem(event: Event) -> errors.ApiError:
    """The error that ended a stream."""
    body = event_object(event)
    code = str(body.get("error", {}).get("code", "internal_error"))
    return problem(body, code, int(body.get("status", 500)))


def session(body: Mapping[str, Any]) -> results.SessionInfo:
    return _made(
        results.SessionInfo,
        body,
        text=_made(results.TextCounts, _inside(body, "text")),
        memory=_made(results.MemoryCounts, _inside(body, "memory")),
    )


def page(body: Mapping[str, Any]) -> results.SessionPage:
    sessions = [session(found) for found in _rows(body)]
    return results.SessionPage(sessions, body.get("last_id") if body.get("has_more") else None)


def snapshot(body: Mapping[str, Any]) -> results.Snapshot:
    return _made(results.Snapshot, body, memory=_made(results.MemoryCounts, _inside(body, "memory")))


def snapshots(body: Mapping[str, Any]) -> list[results.Snapshot]:
    return [snapshot(found) for found in _rows(body)]


def answer(body: Mapping[str, Any]) -> results.Answer:
    return _answer(body, _inside(body, "memory"))


def answers(body: Mapping[str, Any]) -> list[results.Answer]:
    """Several answers from one memory."""
    return [_answer(part, _inside(body, "memory")) for part in body.get("answers", [])]


def _answer(body: Mapping[str, Any], memory: Mapping[str, Any]) -> results.Answer:
    scores = body.get("logprobs")
    return _made(
        results.Answer,
        {**body, "text": body.get("answer")},
        usage=_made(results.Usage, _inside(body, "usage")),
        memory=_made(results.MemoryUsed, memory),
        logprobs=None if scores is None else [_made(results.TokenScore, score) for score in scores],
    )


def server(body: Mapping[str, Any]) -> results.ServerInfo:
    return _made(results.ServerInfo, body, fields=dict(body))


def _object(body: bytes, status: int) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise errors.UnexpectedReply(f"the answer is no JSON object: {body[:200]!r}", status=status)
    return value


def _rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = body.get("data")
    if not isinstance(rows, list):
        raise errors.UnexpectedReply("the answer has no list in its field data")
    return rows


def _inside(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inside = body.get(name)
    if not isinstance(inside, dict):
        raise errors.UnexpectedReply(f"the answer has no object in its field {name}")
    return inside


def _made(kind: type[T], body: Mapping[str, Any], **parts: Any) -> T:
    """A value from the fields that it knows; fields of a newer server are left alone."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{**{name: value for name, value in body.items() if name in known}, **parts})
    except TypeError as error:
        raise errors.UnexpectedReply(f"the answer lacks a field of {kind.__name__}: {error}") from None
