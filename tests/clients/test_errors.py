"""The client's errors are the server's, code by code, and are drawn where they are defined."""

from __future__ import annotations

import json
import re

import pytest

import onceread.errors
from onceread.wire.replies import error_from, retry_after
from onceread.wire.steps import Reply
from server.http.problems import PROBLEM_TYPES, ErrorResponse

# The lowest status of a code is the one that is drawn.
SERVERS = {kind.code: kind for kind in sorted(PROBLEM_TYPES, key=lambda kind: -kind.status)}


def test_each_error_code_of_the_server_has_exactly_one_class() -> None:
    assert onceread.errors.BY_CODE.keys() == SERVERS.keys()


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawing = onceread.errors.__doc__ or ""
    drawn = {name: int(status) for name, status in re.findall(r"(\w+) (\d{3})\b", drawing)}
    assert drawn == {kind.__name__: SERVERS[code].status for code, kind in onceread.errors.BY_CODE.items()}
    groups = re.findall(r"^      [├└]── (\w+)", drawing, re.MULTILINE)
    assert groups == [kind.__name__ for kind in onceread.errors.ApiError.__subclasses__()]
    for section in re.split(r"^      [├└]── ", drawing, flags=re.MULTILINE)[1:]:
        group, *rest = re.findall(r"\b([A-Z][a-z]\w+?)(?= +\d{3}\b| {5})", section)
        below = {kind.__name__ for kind in getattr(onceread.errors, group).__subclasses__()}
        assert set(rest) == below, group


@pytest.mark.parametrize("code", sorted(SERVERS))
def test_an_error_reply_is_raised_as_its_class_with_all_its_fields(code: str) -> None:
    given = SERVERS[code]
    members = {"expected_offset": 4096}
    response = ErrorResponse(given, "what happened, and what to do", "field", members, given.headers)
    headers, body = response.rendered("req_1")
    error = error_from(Reply(given.status, {name.decode(): value.decode() for name, value in headers}, body))
    assert type(error) is onceread.errors.BY_CODE[code]
    assert (error.status, error.param, error.request_id) == (given.status, "field", "req_1")
    assert error.expected_offset == 4096
    assert error.retry_after_seconds == given.retry_after_seconds
    assert str(error) == f"what happened, and what to do ({code}, request req_1)"


def test_an_unknown_code_is_a_plain_api_error() -> None:
    body = {"detail": "so it is", "request_id": "r", "error": {"code": "never_heard_of", "param": None}}
    error = error_from(Reply(418, {}, json.dumps(body).encode()))
    assert type(error) is onceread.errors.ApiError
    assert (error.status, error.reason) == (418, "never_heard_of")


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[]", b'"x"', b'{"error": "no"}', b"\xff"])
def test_a_foreign_error_body_is_an_unexpected_reply(body: bytes) -> None:
    error = error_from(Reply(502, {}, body))
    assert isinstance(error, onceread.errors.UnexpectedReply)
    assert error.status == 502


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 30.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": "Sun, 06 Nov 1994 08:50:07 GMT"}, 0.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT", "date": "Sun, 06 Nov 1994 08:49:07 -0000"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds
