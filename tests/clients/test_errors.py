"""The client's errors are the server's, code by code, and are drawn where they are defined."""

from __future__ import annotations

import json
import re

import pytest

import onceread.errors
from onceread.wire.replies import refusal, retry_after
from onceread.wire.steps import Reply
from server.http.problems import PROBLEM_TYPES, ErrorResponse

# The lowest status of a code is the one that is drawn.
SERVERS = {kind.code: kind for kind in sorted(PROBLEM_TYPES, key=lambda kind: -kind.status)}


def test_there_is_a_class_for_each_of_the_servers_codes_and_for_no_other() -> None:
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
def test_a_refusal_of_the_server_is_raised_as_its_class_with_all_that_it_says(code: str) -> None:
    given = SERVERS[code]
    members = {"expected_offset": 4096}
    response = ErrorResponse(given, "what happened, and what to do", "field", members, given.headers)
    headers, body = response.rendered("req_1")
    error = refusal(Reply(given.status, {name.decode(): value.decode() for name, value in headers}, body))
    assert type(error) is onceread.errors.BY_CODE[code]
    assert (error.status, error.param, error.request_id) == (given.status, "field", "req_1")
    assert error.expected_offset == 4096
    assert error.retry_after_seconds == given.retry_after_seconds
    assert str(error) == f"what happened, and what to do ({code}, request req_1)"


def test_a_code_of_a_newer_server_is_an_error_like_any_other() -> None:
    body = {"detail": "so it is", "request_id": "r", "error": {"code": "never_heard_of", "param": None}}
    error = refusal(Reply(418, {}, json.dumps(body).encode()))
    assert type(error) is onceread.errors.ApiError
    assert (error.status, error.reason) == (418, "never_heard_of")


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[]", b'"x"', b'{"error": "no"}', b"\xff"])
def test_what_is_no_error_of_the_server_says_that_somebody_else_answered(body: bytes) -> None:
    error = refusal(Reply(502, {}, body))
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
def test_retry_after_is_taken_in_both_of_its_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds
