"""Resumable uploads (the IETF draft) and digests of bodies (RFC 9530)."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testing.models import prose
from testing.replies import appended, asked, created, offsets, problem
from testing.serving import Server

PART = "application/partial-upload"
TEXT = prose(91, 5_000).encode()


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://", digest_body_bytes="4096") as server:
        yield server


def patched(http: httpx.Client, session: str, offset: int, part: bytes, **headers: str) -> httpx.Response:
    given = {"Content-Type": PART, "Upload-Offset": str(offset), "Upload-Complete": "?0"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.patch(f"/v1/sessions/{session}/text", content=part, headers=given | named)


def digest(content: bytes, name: str = "sha256") -> str:
    return f"{name.replace('sha', 'sha-')}=:{b64encode(hashlib.new(name, content).digest()).decode()}:"


def test_a_text_can_be_uploaded_in_parts(http: httpx.Client) -> None:
    session, twin = created(http), created(http)
    for at in range(0, len(TEXT), 999):
        part = TEXT[at : at + 999]
        reply = patched(http, session, at, part, Content_Digest=digest(part))
        assert reply.status_code == 200, reply.text
        assert reply.headers["Upload-Offset"] == str(at + len(part))
        assert reply.json()["accepted_bytes"] == at + len(part)
    http.post(f"/v1/sessions/{session}/text?wait=read")
    appended(http, twin, TEXT)
    assert asked(http, session)["answer"] == asked(http, twin)["answer"]


def test_a_repeated_part_is_recognised(http: httpx.Client) -> None:
    session = created(http)
    assert "Idempotent-Replayed" not in patched(http, session, 0, TEXT).headers
    again = patched(http, session, 0, TEXT)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert offsets(http, session)[0] == len(TEXT)


def test_a_part_at_the_wrong_offset_gets_the_problem_type_of_the_draft(http: httpx.Client) -> None:
    session = created(http)
    patched(http, session, 0, b"abc")
    reply = patched(http, session, 7, b"x")
    body = reply.json()
    assert (reply.status_code, body["error"]["code"]) == (409, "offset_mismatch")
    assert body["type"] == "https://iana.org/assignments/http-problem-types#mismatching-upload-offset"
    assert (body["expected-offset"], body["provided-offset"], body["expected_offset"]) == (3, 7, 3)


def test_a_part_needs_an_offset_and_the_content_type_of_the_draft(http: httpx.Client) -> None:
    session = created(http)
    without = http.patch(f"/v1/sessions/{session}/text", content=b"x", headers={"Content-Type": PART})
    problem(without, 422, "invalid_field", "upload-offset")
    problem(patched(http, session, 0, b"x", Content_Type="text/plain"), 415, "unsupported_media_type")
    head = http.head(f"/v1/sessions/{session}/text").headers
    assert (head["Upload-Offset"], head["Upload-Complete"], head["Cache-Control"]) == ("0", "?0", "no-store")


@pytest.mark.parametrize("name", ["sha256", "sha512"])
def test_a_body_that_does_not_match_its_digest_is_not_appended(http: httpx.Client, name: str) -> None:
    session = created(http)
    problem(patched(http, session, 0, TEXT[:99], Content_Digest=digest(TEXT[:98], name)), 400, "digest_mismatch")
    wrong = http.post(f"/v1/sessions/{session}/text", content=b"abd", headers={"Content-Digest": digest(b"abc", name)})
    problem(wrong, 400, "digest_mismatch")
    assert offsets(http, session)[0] == 0
    both = f"{digest(TEXT[:99])}, {digest(TEXT[:98], 'sha512')}"
    problem(patched(http, session, 0, TEXT[:99], Content_Digest=both), 400, "digest_mismatch")
    assert patched(http, session, 0, TEXT[:99], Content_Digest=digest(TEXT[:99], name)).status_code == 200


@pytest.mark.parametrize("field", ["", "sha-256", "sha-256=:x", "md5=:YQ==:", "sha-256=7"])
def test_an_invalid_digest_is_refused(http: httpx.Client, field: str) -> None:
    session = created(http)
    problem(patched(http, session, 0, b"x", Content_Digest=field), 422, "invalid_field", "Content-Digest")
    assert offsets(http, session)[0] == 0


@pytest.mark.parametrize(("length", "status"), [(4095, 200), (4096, 200), (4097, 413)])
def test_a_body_with_a_digest_is_limited_in_size(http: httpx.Client, length: int, status: int) -> None:
    session = created(http)
    assert patched(http, session, 0, TEXT[:length], Content_Digest=digest(TEXT[:length])).status_code == status
    assert offsets(http, session)[0] == (length if status == 200 else 0)


def test_an_ndjson_line_can_begin_a_document(http: httpx.Client) -> None:
    session, twin = created(http), created(http)
    lines = '{"document": "Emma", "text": "Emma Woodhouse."}\n{"text": " Handsome."}\n{"document": "Persuasion"}\n'
    sent = http.post(
        f"/v1/sessions/{session}/text?wait=read",
        content=lines.encode(),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert sent.status_code == 200
    appended(http, twin, b"\n\nEmma\n\nEmma Woodhouse. Handsome.\n\nPersuasion\n\n")
    assert offsets(http, session) == offsets(http, twin)
    assert asked(http, session)["answer"] == asked(http, twin)["answer"]
