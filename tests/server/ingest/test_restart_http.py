"""Shutdown, kill and restart: nothing is lost, damage is detected, and a failed start says why."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import apsw
import httpx
import pytest
import torch

from model import weights
from model.tokenizer import TextTokenizer
from server.store.sqlite.schema import FILE_NAME
from testing.models import prose, random_model, tiny_config
from testing.replies import appended, asked, created, events, eventually, offsets, problem, shown, shown_once
from testing.serving import ROOT, Server, client

TEXT = prose(21, 6000).encode()
LONG_TEXT = prose(22, 60_000).encode()
QUESTIONS = ("Who came?", "Where was it, and when?")


def answers(http: httpx.Client, session: str) -> list[tuple[str, int]]:
    """What does not depend on the time of the question: the answers, and how many tokens the memory has read."""
    found = [asked(http, session, question=question) for question in QUESTIONS]
    return [(answer["answer"], answer["usage"]["memory_tokens"]) for answer in found]


def counters(http: httpx.Client, session: str) -> tuple[dict[str, int], int]:
    body = shown(http, session)
    return body["text"], body["memory"]["segments"]


def change(folder: Path, statement: str) -> None:
    """Changes the file of the stopped server."""
    direct = apsw.Connection(str(folder / FILE_NAME))
    direct.execute(statement)
    assert direct.changes() > 0
    direct.close()


def damage_checkpoints(folder: Path, where: str) -> None:
    change(folder, f"UPDATE checkpoint SET value = substr(value, 1, length(value) - 1) || x'5a' WHERE {where}")


def other_than_200(reply: httpx.Response) -> httpx.Response | None:
    return None if reply.status_code == 200 else reply


def refused_start(weights_folder: Path, store: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run(
        [sys.executable, "-m", "server"],
        cwd=ROOT,
        env={
            "ONCEREAD_PORT": "0",
            "ONCEREAD_WEIGHTS": str(weights_folder),
            "ONCEREAD_STORE": store,
            "ONCEREAD_THREADS": "1",
        }
        | settings,
        capture_output=True,
        text=True,
        timeout=60,
    )


def must_fail(ended: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert ended.returncode == status
    assert " ERROR " not in ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line.startswith("onceread: ")
    for word in words:
        assert word in line


def test_shutdown_finishes_answers_refuses_work_and_stores_every_memory(roomy_weights: Path, tmp_path: Path) -> None:
    server = Server(roomy_weights, f"sqlite:///{tmp_path}", idle_seconds="3600", checkpoint_seconds="3600")
    with server:
        with client(server) as http, client(server) as other:
            sessions = [created(http) for _ in range(3)]
            for number, session in enumerate(sessions):
                appended(http, session, TEXT[: 3000 + 100 * number])
            before = [answers(http, session) for session in sessions]
            assert {shown(http, session)["memory"]["version"] for session in sessions} == {0}
            body = {"question": "Where?", "max_tokens": 4096, "temperature": 0.0, "stream": True}
            with http.stream("POST", f"/v1/sessions/{sessions[0]}/queries", json=body) as reply:
                stream = events(reply.iter_lines())
                assert next(stream)[0] == "delta"
                server.send(signal.SIGTERM)
                # The signal is handled between two requests; until then the server is ready.
                ready = eventually(lambda: other_than_200(other.get("/readyz")))
                problem(ready, 503, "draining")
                assert ready.headers["Retry-After"].isdigit()
                assert other.get("/livez").status_code == 200
                question = other.post(f"/v1/sessions/{sessions[1]}/queries", json={"question": "Who?"})
                problem(question, 503, "draining")
                assert question.headers["Retry-After"].isdigit()
                problem(other.post(f"/v1/sessions/{sessions[1]}/text", content=b"more"), 503, "draining")
                problem(other.post("/v1/sessions"), 503, "draining")
                *_, (last, done) = stream
        assert last == "done"
        assert done["usage"]["completion_tokens"] > 1000, "the answer was cut short"
        assert server.wait() == 0
    assert not any(" ERROR " in line for line in server.log)
    with server, client(server) as http:
        for session, expected in zip(sessions, before, strict=True):
            first = asked(http, session)
            assert first["memory"]["restored_from"] == "store"
            assert first["memory"]["version"] > 0
            assert answers(http, session) == expected


def test_a_second_server_on_a_store_folder_names_the_process_that_uses_it(tiny_weights: Path, tmp_path: Path) -> None:
    with Server(tiny_weights, f"sqlite:///{tmp_path}") as server:
        must_fail(refused_start(tiny_weights, f"sqlite:///{tmp_path}"), 1, str(tmp_path), "in use by process")
        with client(server) as http:
            assert http.get("/readyz").status_code == 200


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    must_fail(refused_start(tmp_path, "memory://"), 1, str(tmp_path), "weights.safetensors")


def test_weights_that_are_not_there_are_refused_with_what_to_run(tmp_path: Path) -> None:
    must_fail(refused_start(tmp_path / "none", "memory://"), 1, f"no folder {tmp_path / 'none'}", "make weights")


def test_an_unknown_setting_is_named(tiny_weights: Path) -> None:
    must_fail(refused_start(tiny_weights, "memory://", ONCEREAD_PROT="1"), 2, "ONCEREAD_PROT")


def test_a_port_that_is_taken_is_named(tiny_weights: Path) -> None:
    with Server(tiny_weights, "memory://") as server:
        ended = refused_start(tiny_weights, "memory://", ONCEREAD_PORT=str(server.port))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "address already in use" in ended.stderr
    assert "ONCEREAD_PORT" in ended.stderr


def test_reading_resumes_after_a_kill_without_a_request(roomy_weights: Path, tmp_path: Path) -> None:
    undisturbed = Server(roomy_weights, "memory://")
    with undisturbed, client(undisturbed) as http:
        session = created(http)
        appended(http, session, LONG_TEXT)
        expected = answers(http, session), counters(http, session)
    server = Server(roomy_weights, f"sqlite:///{tmp_path}", checkpoint_segments="16")
    with server:
        with client(server) as http:
            session = created(http)
            http.post(f"/v1/sessions/{session}/text", content=LONG_TEXT)
            stored = shown_once(http, session, lambda body: body["memory"]["version"] > 0)
            assert stored["status"] == "reading"
            server.kill()
        server.start()
        with client(server) as http:
            assert offsets(http, session)[1] > 0
            # Only GET: no request waits for the text to be read.
            shown_once(http, session, lambda body: body["status"] == "idle")
            assert (answers(http, session), counters(http, session)) == expected


def read_and_stopped(weights_folder: Path, folder: Path) -> tuple[Server, str, list[tuple[str, int]]]:
    """A stopped server whose one session has several checkpoints and a trimmed journal, and the answers it gave."""
    server = Server(weights_folder, f"sqlite:///{folder}", checkpoint_segments="2")
    with server:
        with client(server) as http:
            session = created(http)
            for start in range(0, len(TEXT), 1500):
                appended(http, session, TEXT[start : start + 1500])
            expected = answers(http, session)
        assert server.terminate() == 0
    return server, session, expected


def test_a_damaged_newest_checkpoint_is_not_used(tiny_weights: Path, tmp_path: Path) -> None:
    server, session, expected = read_and_stopped(tiny_weights, tmp_path)
    damage_checkpoints(tmp_path, "version = (SELECT max(version) FROM checkpoint)")
    with server, client(server) as http:
        assert answers(http, session) == expected
        assert appended(http, session, b" and more")["read_bytes"] == len(TEXT) + 9
        assert shown(http, session)["status"] == "idle"
    assert any("damaged values were found and not used" in line for line in server.log)


def test_without_a_sound_checkpoint_and_with_a_trimmed_journal_the_session_is_quarantined(
    tiny_weights: Path, tmp_path: Path
) -> None:
    server, session, _ = read_and_stopped(tiny_weights, tmp_path)
    damage_checkpoints(tmp_path, "true")
    with server, client(server) as http:
        # The first question detects the damage; the second finds the session quarantined.
        for _ in range(2):
            reply = http.post(f"/v1/sessions/{session}/queries", json={"question": "Who?"})
            problem(reply, 503, "session_quarantined")
            assert reply.headers["Retry-After"].isdigit()
        problem(http.post(f"/v1/sessions/{session}/text", content=b"more"), 503, "session_quarantined")
        assert shown(http, session)["status"] == "quarantined"
        assert offsets(http, session)[0] == len(TEXT)
        other = created(http)
        assert appended(http, other, TEXT)["read_bytes"] == len(TEXT)
        assert http.delete(f"/v1/sessions/{session}").status_code == 204
        problem(http.get(f"/v1/sessions/{session}"), 404, "session_not_found", "id")


@pytest.fixture
def other_weights(tmp_path: Path, tokenizer: TextTokenizer) -> Path:
    folder = tmp_path / "other weights"
    weights.save(folder, random_model(tiny_config(), seed=1), tokenizer, torch.float32)
    return folder


def test_a_memory_of_other_weights_is_refused_and_not_changed(
    tiny_weights: Path, other_weights: Path, tmp_path: Path
) -> None:
    server, session, expected = read_and_stopped(tiny_weights, tmp_path / "data")
    others = Server(other_weights, f"sqlite:///{tmp_path / 'data'}")
    with others:
        with client(others) as http:
            text = http.post(f"/v1/sessions/{session}/text", content=b"more")
            question = http.post(f"/v1/sessions/{session}/queries", json={"question": "Who?"})
            for reply in (text, question):
                body = problem(reply, 409, "fingerprint_mismatch")
                assert body["session_fingerprint"] == shown(http, session)["fingerprint"]
                assert body["server_fingerprint"] == http.get("/version").json()["fingerprint"]
            assert offsets(http, session) == (len(TEXT), len(TEXT))
            assert shown(http, created(http))["fingerprint"] == body["server_fingerprint"]
        assert others.terminate() == 0
    with server, client(server) as http:
        assert answers(http, session) == expected
