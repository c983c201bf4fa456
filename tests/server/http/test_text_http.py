"""Text over HTTP: however it comes in, it is accepted whole and in order, at its offset, or refused by name."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.store.base import PIECE_BYTES_MAX
from testing.models import prose
from testing.replies import (
    appended,
    asked,
    created,
    events,
    eventually,
    must_be_problem,
    offsets,
    post,
    problem,
    shown,
    shown_once,
)
from testing.serving import Server, client

TEXT = prose(31, 4000)


@pytest.fixture(scope="module")
def server(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # One segment a step: memories that are compared are then read alike, whatever else is read beside them.
    with Server(tiny_weights, f"sqlite:///{tmp_path_factory.mktemp('store')}", step_tokens="8") as server:
        yield server


@pytest.mark.parametrize("lines", [[b"the same\n"] * 24, [b"line %d\n" % number for number in range(24)]])
def test_concurrent_appends_without_an_offset_are_all_appended(
    server: Server, http: httpx.Client, lines: list[bytes]
) -> None:
    session = created(http)

    def append(line: bytes) -> httpx.Response:
        with client(server) as own:
            return own.post(f"/v1/sessions/{session}/text", content=line)

    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(append, lines))
    assert [reply.status_code for reply in replies] == [200] * 24
    assert not any(reply.json()["replayed"] for reply in replies)
    total = sum(map(len, lines))
    assert max(reply.json()["accepted_bytes"] for reply in replies) == total
    assert offsets(http, session)[0] == total


def test_an_invalid_byte_after_a_split_character_is_named_by_offset(http: httpx.Client) -> None:
    session = created(http)
    http.post(f"/v1/sessions/{session}/text", content="é".encode()[:1])
    reply = http.post(f"/v1/sessions/{session}/text", content="é".encode()[1:] + b"ab\xff")
    body = problem(reply, 400, "invalid_utf8")
    assert body["expected_offset"] == 1
    assert "byte 3 of the body" in body["detail"]


def test_wait_read_ends_with_404_when_the_session_is_deleted(server: Server, http: httpx.Client) -> None:
    session = created(http)
    text = prose(5, 60_000).encode()

    def waited() -> httpx.Response:
        with client(server) as own:
            return own.post(f"/v1/sessions/{session}/text", params={"wait": "read"}, content=text)

    with ThreadPoolExecutor(1) as threads:
        reply = threads.submit(waited)
        eventually(lambda: offsets(http, session)[1] > 0)
        assert http.delete(f"/v1/sessions/{session}").status_code == 204
        problem(reply.result(), 404, "session_not_found", "id")


def test_progress_ends_with_404_when_the_session_is_deleted(http: httpx.Client, server: Server) -> None:
    session = created(http)
    headers = {"Accept": "text/event-stream", "X-Request-ID": "followed"}
    url, text = f"/v1/sessions/{session}/text", prose(5, 60_000).encode()
    with client(server) as own, own.stream("POST", url, content=text, headers=headers) as reply:
        stream = events(reply.iter_lines())
        assert next(stream)[0] == "progress"
        http.delete(f"/v1/sessions/{session}")
        *_, (last, body) = stream
    assert last == "error"
    must_be_problem(body, 404, "session_not_found", "id")
    assert body["request_id"] == "followed"


def chunks(body: bytes) -> Iterator[bytes]:
    """The body in chunks of odd sizes; many of them end inside a character."""
    sizes, start = cycle((1, 7, 2, 113, 3, 997)), 0
    while start < len(body):
        size = next(sizes)
        yield body[start : start + size]
        start += size


def ndjson(text: str) -> bytes:
    """Lines of many kinds: escaped and plain, long and empty, with blank ones between and no end behind the last."""
    parts = [text[start : start + 333] for start in range(0, len(text), 333)]
    lines = [json.dumps({"text": part}, ensure_ascii=number % 2 == 0) for number, part in enumerate(parts)]
    return "\n\r\n".join([*lines[:3], '{"text": ""}', *lines[3:]]).encode()


def read_state(http: httpx.Client, session: str) -> tuple[Any, ...]:
    """What a session that has been read shows of its memory."""
    answers = [asked(http, session, question=question)["answer"] for question in ("Who came?", "Where, and when?")]
    body = shown(http, session)
    return body["text"], body["memory"]["segments"], answers


@pytest.fixture(scope="module")
def expected(server: Server) -> tuple[Any, ...]:
    """What a session shows that got the text as one plain body."""
    with client(server) as http:
        session = created(http)
        appended(http, session, TEXT.encode())
        return read_state(http, session)


def test_the_memory_does_not_depend_on_content_type_or_requests(http: httpx.Client, expected: tuple[Any, ...]) -> None:
    plain, line_by_line = TEXT.encode(), ndjson(TEXT)
    bodies: list[tuple[str, bytes | Iterator[bytes]]] = [
        ("text/plain; charset=utf-8", chunks(plain)),
        ('TEXT/PLAIN;charset="UTF-8"', plain),
        ("application/octet-stream", plain),
        ("application/x-ndjson", line_by_line),
        ("application/x-ndjson", line_by_line + b"\n"),
        ("application/x-ndjson", chunks(line_by_line)),
        ("application/json", json.dumps({"text": TEXT}).encode()),
        ("application/json; charset=utf-8", json.dumps({"text": TEXT}, ensure_ascii=False).encode()),
    ]
    for kind, body in bodies:
        session = created(http)
        reply = http.post(
            f"/v1/sessions/{session}/text", params={"wait": "read"}, content=body, headers={"Content-Type": kind}
        )
        size = len(plain)
        assert reply.json() == {
            "object": "text.appended",
            "session": session,
            "accepted_bytes": size,
            "read_bytes": size,
            "replayed": False,
        }
        assert read_state(http, session) == expected, kind


def test_the_memory_does_not_depend_on_cuts_inside_characters(http: httpx.Client, expected: tuple[Any, ...]) -> None:
    session = created(http)
    accepted = 0
    for piece in chunks(TEXT.encode()):
        accepted += len(piece)
        assert post(http, session, piece).json()["accepted_bytes"] == accepted
    http.post(f"/v1/sessions/{session}/text", params={"wait": "read"})
    assert read_state(http, session) == expected


def test_an_append_with_an_offset_is_applied_there_or_refused(http: httpx.Client) -> None:
    session = created(http)
    first, second, third = TEXT[:700].encode(), TEXT[700:1200].encode(), TEXT[1200:1300].encode()
    assert post(http, session, first, Upload_Offset="0").json()["accepted_bytes"] == len(first)
    both = len(first) + len(second)
    reply = post(http, session, second, Upload_Offset=str(len(first)))
    assert reply.json() | {"read_bytes": 0} == {
        "object": "text.appended",
        "session": session,
        "accepted_bytes": both,
        "read_bytes": 0,
        "replayed": False,
    }
    assert "Idempotent-Replayed" not in reply.headers

    for offset, body in ((both + 1, b"x"), (both + 1, b""), (2**63 - 1, b"x")):
        refused = post(http, session, body, Upload_Offset=str(offset))
        assert problem(refused, 409, "offset_mismatch")["expected_offset"] == both

    for body, offset in ((first, 0), (first + second, 0), (second, len(first)), (second[:-10], len(first))):
        repeated = post(http, session, body, Upload_Offset=str(offset))
        assert repeated.status_code == 200
        assert repeated.headers["Idempotent-Replayed"] == "true"
        assert (repeated.json()["accepted_bytes"], repeated.json()["replayed"]) == (both, True)

    for body, offset in ((b"x" + first[1:], 0), (second[:-1] + b"\0", len(first)), (b"\0" + third, both - 1)):
        conflict = post(http, session, body, Upload_Offset=str(offset))
        assert problem(conflict, 409, "content_conflict")["expected_offset"] == both
    assert offsets(http, session)[0] == both

    beyond = post(http, session, second + third, Upload_Offset=str(len(first)))
    assert beyond.json()["accepted_bytes"] == both + len(third)
    assert beyond.json()["replayed"] is False
    assert "Idempotent-Replayed" not in beyond.headers


def has_version(number: int, body: dict[str, Any]) -> bool:
    return bool(body["memory"]["version"] >= number)


def test_a_repeat_is_recognised_after_its_text_was_read(http: httpx.Client) -> None:
    session = created(http)
    pieces = [prose(seed, 1500).encode() for seed in range(4)]
    for number, piece in enumerate(pieces, 1):
        appended(http, session, piece)
        # The journal is trimmed up to the checkpoint before this one.
        shown_once(http, session, partial(has_version, number))
    total = sum(map(len, pieces))
    repeated = post(http, session, pieces[0], Upload_Offset="0")
    assert repeated.headers["Idempotent-Replayed"] == "true"
    assert repeated.json()["accepted_bytes"] == total
    other = bytearray(pieces[0])
    other[5] ^= 1
    assert problem(post(http, session, bytes(other), Upload_Offset="0"), 409, "content_conflict")
    assert offsets(http, session) == (total, total)


def test_an_interrupted_upload_keeps_its_whole_pieces_and_can_be_resumed(roomy_weights: Path) -> None:
    document = prose(32, 2 * PIECE_BYTES_MAX).encode()
    broken_at = 2 * PIECE_BYTES_MAX + 9000
    assert broken_at < len(document)
    server = Server(roomy_weights, "memory://", step_tokens="128")
    with server, client(server) as http:
        session = created(http)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"POST /v1/sessions/{session}/text HTTP/1.1\r\nHost: localhost\r\n"
            connection.sendall(f"{head}Content-Length: {len(document)}\r\n\r\n".encode() + document[:broken_at])
            accepted = 2 * PIECE_BYTES_MAX
            shown_once(http, session, lambda body: body["text"]["accepted_bytes"] == accepted)
        assert offsets(http, session)[0] == accepted
        reply = http.post(
            f"/v1/sessions/{session}/text",
            params={"wait": "read"},
            content=document[accepted:],
            headers={"Upload-Offset": str(accepted)},
        )
        assert reply.json()["read_bytes"] == reply.json()["accepted_bytes"] == len(document)
        whole = created(http)
        appended(http, whole, document)
        assert read_state(http, session) == read_state(http, whole)


def test_head_shows_the_accepted_and_read_offsets(http: httpx.Client) -> None:
    session = created(http)
    assert offsets(http, session) == (0, 0)
    appended(http, session, TEXT.encode())
    reply = http.head(f"/v1/sessions/{session}/text")
    assert (reply.headers["Upload-Offset"], reply.headers["Upload-Applied-Offset"]) == (str(len(TEXT.encode())),) * 2
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.content == b""
    assert http.head("/v1/sessions/never/text").status_code == 404


def test_wait_read_responds_once_all_text_has_been_read(http: httpx.Client) -> None:
    session, text = created(http), prose(33, 30_000).encode()
    assert post(http, session, text).json()["accepted_bytes"] == len(text)
    waited = appended(http, session, b" the end")
    assert waited["read_bytes"] == waited["accepted_bytes"] == len(text) + 8
    problem(http.post(f"/v1/sessions/{session}/text", params={"wait": "x"}, content=b"x"), 422, "invalid_field", "wait")


def test_progress_is_streamed_until_the_text_has_been_read(http: httpx.Client) -> None:
    session, text = created(http), prose(34, 20_000).encode()
    url, headers = f"/v1/sessions/{session}/text", {"Accept": "text/event-stream", "Upload-Offset": "0"}
    with http.stream("POST", url, content=text, headers=headers) as reply:
        assert reply.status_code == 200
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        *progress, (last, done) = events(reply.iter_lines())
    assert progress
    assert {name for name, _ in progress} == {"progress"}
    for _, data in progress:
        assert data.keys() == {"accepted_bytes", "read_bytes", "tokens", "tokens_per_second"}
        assert data["accepted_bytes"] == len(text)
        assert data["tokens_per_second"] >= 0
    for counted in ("read_bytes", "tokens"):
        values = [data[counted] for _, data in progress]
        assert values == sorted(values)
    assert last == "done"
    assert done == {
        "object": "text.appended",
        "session": session,
        "accepted_bytes": len(text),
        "read_bytes": len(text),
        "replayed": False,
    }
    with http.stream("POST", url, content=text, headers=headers) as reply:
        assert reply.headers["Idempotent-Replayed"] == "true"
        *_, (last, done) = events(reply.iter_lines())
    assert (last, done["replayed"]) == ("done", True)


@pytest.mark.parametrize("body", [b"", iter([])])
def test_an_empty_body_changes_nothing(http: httpx.Client, body: bytes | Iterator[bytes]) -> None:
    session = created(http)
    post(http, session, b"text")
    reply = post(http, session, body)
    assert (reply.status_code, reply.json()["accepted_bytes"], reply.json()["replayed"]) == (200, 4, False)


def test_an_append_to_an_unknown_session_is_not_found(http: httpx.Client) -> None:
    problem(post(http, "never", b"text"), 404, "session_not_found", "id")
    problem(post(http, "never", b"text", Upload_Offset="0"), 404, "session_not_found", "id")
