"""Receipts and the ends of sessions over HTTP: what was durable can be shown, and a store that lost it is found out."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from testing.replies import appended, asked, created, eventually, metric, offsets, problem
from testing.serving import Server, client

RECEIPT = "Onceread-Receipt"


def append(http: httpx.Client, session: str, text: bytes, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(f"/v1/sessions/{session}/text", content=text, headers=named)


def test_a_receipt_detects_a_store_that_was_rolled_back(tiny_weights: Path, tmp_path: Path) -> None:
    with Server(tiny_weights, f"sqlite:///{tmp_path}/data") as server:
        with client(server) as http:
            created(http, id="book")
            early = append(http, "book", b"once ").headers[RECEIPT]
        server.terminate()
        shutil.copytree(tmp_path / "data", tmp_path / "backup")
        server.start()
        with client(server) as http:
            late = append(http, "book", b"read, ").headers[RECEIPT]
            for receipt in (early, late):
                assert append(http, "book", b"x" * 0, Onceread_Receipt=receipt).status_code == 200
        server.terminate()
        shutil.rmtree(tmp_path / "data")
        shutil.move(tmp_path / "backup", tmp_path / "data")
        server.start()
        with client(server) as http:
            body = problem(
                append(http, "book", b"ask", Onceread_Receipt=late, Upload_Offset="11"), 409, "text_rolled_back"
            )
            assert body["expected_offset"] == 5
            question = {"json": {"question": "?"}, "headers": {RECEIPT: late}}
            problem(http.post("/v1/sessions/book/queries", **question), 409, "text_rolled_back")  # type: ignore[arg-type]
            assert http.head("/v1/sessions/book/text", headers={RECEIPT: late}).status_code == 409
            assert metric(http, "onceread_text_rolled_back_total") == 3
            # As a client recovers: the rest again, from where the text survived.
            assert append(http, "book", b"read, ask", Onceread_Receipt=early, Upload_Offset="5").status_code == 200
            assert append(http, "book", b"!", Onceread_Receipt=late).status_code == 200
            assert offsets(http, "book")[0] == 15


def test_a_receipt_detects_other_text_of_the_same_length(tiny_weights: Path, tmp_path: Path) -> None:
    with Server(tiny_weights, f"sqlite:///{tmp_path}/data") as server:
        with client(server) as http:
            created(http, id="book")
        server.terminate()
        shutil.copytree(tmp_path / "data", tmp_path / "backup")
        server.start()
        with client(server) as http:
            receipt = append(http, "book", b"mine").headers[RECEIPT]
        server.terminate()
        shutil.rmtree(tmp_path / "data")
        shutil.move(tmp_path / "backup", tmp_path / "data")
        server.start()
        with client(server) as http:
            append(http, "book", b"else")
            problem(append(http, "book", b"x", Onceread_Receipt=receipt), 409, "content_conflict")


def test_a_receipt_of_a_deleted_session_is_answered_with_offset_zero(http: httpx.Client) -> None:
    created(http, id="twice")
    receipt = append(http, "twice", b"text").headers[RECEIPT]
    http.delete("/v1/sessions/twice")
    created(http, id="twice")
    append(http, "twice", b"text")
    body = problem(append(http, "twice", b"x", Onceread_Receipt=receipt), 409, "text_rolled_back")
    assert body["expected_offset"] == 0


@pytest.fixture(scope="module")
def server(tiny_weights: Path):  # type: ignore[no-untyped-def]
    with Server(tiny_weights, "memory://", sweep_seconds="0.05") as server:
        yield server


@pytest.mark.parametrize("forged", ["", "é", "AAAA", "bm90aGluZyBhdCBhbGwgb2YgdGhlIGtpbmQ="])
def test_a_forged_receipt_is_refused(http: httpx.Client, forged: str) -> None:
    session = created(http)
    reply = http.post(f"/v1/sessions/{session}/text", content=b"x", headers={RECEIPT.encode(): forged.encode()})
    problem(reply, 422, "invalid_field", RECEIPT)
    assert offsets(http, session)[0] == 0


def test_a_receipt_of_another_session_is_refused(http: httpx.Client) -> None:
    one, two = created(http), created(http)
    receipt = append(http, one, b"x").headers[RECEIPT]
    problem(append(http, two, b"x", Onceread_Receipt=receipt), 422, "invalid_field", RECEIPT)


def test_an_unused_session_expires_and_answers_410(http: httpx.Client) -> None:
    session = created(http, ttl_seconds=0.3)
    appended(http, session, b"some text")
    assert http.get(f"/v1/sessions/{session}").json()["expires_at"] is not None
    url = f"/v1/sessions/{session}"
    eventually(lambda: http.get(url).status_code != 200)
    problem(http.get(url), 410, "session_expired", "id")
    problem(append(http, session, b"x"), 410, "session_expired", "id")
    listed = "/v1/sessions?limit=100"
    eventually(lambda: all(found["id"] != session for found in http.get(listed).json()["data"]))
    problem(http.post(f"/v1/sessions/{session}/queries", json={"question": "?"}), 410, "session_expired", "id")
    created(http, id=session)
    assert offsets(http, session) == (0, 0)


def test_a_question_extends_the_sessions_expiry(http: httpx.Client) -> None:
    session = created(http, ttl_seconds=1000)
    appended(http, session, b"some text")
    first = http.get(f"/v1/sessions/{session}").json()
    assert first["expires_at"] == pytest.approx(first["updated_at"] + 1000)
    assert asked(http, session)["memory"]["offset"] == 9
