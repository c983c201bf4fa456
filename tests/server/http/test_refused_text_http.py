"""Text that is refused over HTTP: by name, whole, and with nothing kept of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testing.replies import created, offsets, post, problem
from testing.serving import Server


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        yield server


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", str(2**63)])
def test_an_invalid_offset_is_refused_by_field(http: httpx.Client, offset: str) -> None:
    problem(post(http, created(http), b"x", Upload_Offset=offset), 422, "invalid_field", "upload-offset")


@pytest.mark.parametrize("bad", [b"\xff", b"\x80", b"\xc3(", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_piece_with_invalid_utf8_is_refused_whole(http: httpx.Client, bad: bytes, streamed: bool) -> None:
    session = created(http)
    post(http, session, b"before ")
    body = "né ".encode() + bad + b" after"
    refused = problem(post(http, session, iter([body[:3], body[3:]]) if streamed else body), 400, "invalid_utf8")
    assert refused["expected_offset"] == 7
    assert f"byte {len('né '.encode())} of the body" in refused["detail"]
    assert offsets(http, session)[0] == 7


@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_in_another_encoding_is_refused_with_its_name_and_nothing_is_lost(
    http: httpx.Client, streamed: bool
) -> None:
    session = created(http)
    post(http, session, b"\xef\xbb\xbfbefore ")
    body = ("Kofi sold the zebra.\n" * 20).encode("utf-16-le")
    refused = problem(post(http, session, iter([body[:5], body[5:]]) if streamed else body), 400, "invalid_utf8")
    assert "iconv -f UTF-16LE -t UTF-8" in refused["detail"]
    assert refused["encoding"] == "UTF-16LE"
    assert refused["expected_offset"] == offsets(http, session)[0] == 10
    assert post(http, session, body.decode("utf-16-le").encode()).json()["accepted_bytes"] == 10 + len(body) // 2


def test_a_character_may_be_split_between_appends_if_it_is_completed(http: httpx.Client) -> None:
    session = created(http)
    for byte in "🙂".encode():
        assert post(http, session, bytes([byte])).status_code == 200
    problem(post(http, session, "é".encode()[1:]), 400, "invalid_utf8")
    post(http, session, "é".encode()[:1])
    problem(post(http, session, b"e"), 400, "invalid_utf8")
    assert post(http, session, "é".encode()[1:]).json()["accepted_bytes"] == 6
    # The same append once more, from inside the character.
    assert post(http, session, "é".encode()[1:], Upload_Offset="5").headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("kind", ["text/html", "application/xml", "x", "multipart/form-data; boundary=x"])
def test_an_unsupported_content_type_is_refused(http: httpx.Client, kind: str) -> None:
    session = created(http)
    problem(post(http, session, b"x", Content_Type=kind), 415, "unsupported_media_type")
    assert offsets(http, session) == (0, 0)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-ndjson", "application/json"])
def test_an_unsupported_charset_is_refused(http: httpx.Client, kind: str) -> None:
    session = created(http)
    body = b'{"text": "x"}'
    refused = problem(post(http, session, body, Content_Type=f"{kind}; charset=latin-1"), 415, "unsupported_media_type")
    assert "latin-1" in refused["detail"]
    assert offsets(http, session) == (0, 0)


def test_other_content_type_parameters_are_ignored(http: httpx.Client) -> None:
    for kind in ("text/plain; format=flowed", "text/plain; charset=utf-8; format=flowed", "text/plain;"):
        assert post(http, created(http), b"x", Content_Type=kind).status_code == 200, kind


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"text": "a"', b'{"text": "\\ud800"}', b'{"text": "\xff"}', b"null null"]
)
def test_invalid_json_is_refused(http: httpx.Client, body: bytes) -> None:
    session = created(http)
    problem(post(http, session, body, Content_Type="application/json"), 400, "invalid_request")
    if body:
        lines = b'{"text": "fine"}\n' + body + b'\n{"text": "fine"}\n'
        refused = problem(post(http, session, lines, Content_Type="application/x-ndjson"), 400, "invalid_request")
        assert "line 2" in refused["detail"]
    assert offsets(http, session) == (0, 0)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"text": 1}', "text"),
        (b'{"text": null}', "text"),
        (b"{}", "text"),
        (b'{"text": "a", "more": 1}', "more"),
        (b"[]", None),
        (b'"text"', None),
    ],
)
def test_json_of_another_shape_is_refused(http: httpx.Client, body: bytes, param: str | None) -> None:
    session = created(http)
    for kind in ("application/json", "application/x-ndjson"):
        problem(post(http, session, body, Content_Type=kind), 422, "invalid_field", param)
    assert offsets(http, session) == (0, 0)


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
@pytest.mark.parametrize("streamed", [False, True])
def test_json_bodies_and_ndjson_lines_are_limited_in_size_and_plain_text_is_not(
    http: httpx.Client, kind: str, streamed: bool
) -> None:
    session = created(http)
    body = json.dumps({"text": " " * (1 << 20)}).encode()
    parts = iter([body[: 1 << 19], body[1 << 19 :]])
    problem(post(http, session, parts if streamed else body, Content_Type=kind), 413, "body_too_large")
    assert offsets(http, session) == (0, 0)
