"""Questions over HTTP: answers have all fields, are the same however they are delivered, and change nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from testing.models import prose
from testing.replies import appended, asked, created, events, eventually, offsets, problem, shown
from testing.serving import Server, client

TEXT = prose(11, 3000).encode()


@pytest.fixture(scope="module")
def server(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tiny_weights, f"sqlite:///{tmp_path_factory.mktemp('store')}") as server:
        yield server


@pytest.fixture(scope="module")
def session(server: Server) -> str:
    """A session that has read a text."""
    with client(server) as http:
        session = created(http)
        appended(http, session, TEXT)
    return session


def post(http: httpx.Client, session: str, body: dict[str, Any]) -> httpx.Response:
    return http.post(f"/v1/sessions/{session}/queries", json=body)


def streamed(http: httpx.Client, session: str, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    body = {"question": "Who came?", "max_tokens": 12, "stream": True} | body
    with http.stream("POST", f"/v1/sessions/{session}/queries", json=body) as reply:
        assert reply.status_code == 200
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        return list(events(reply.iter_lines()))


def test_an_answer_has_every_field(http: httpx.Client, session: str) -> None:
    before = shown(http, session)
    answer = asked(http, session)
    assert [*answer] == ["object", "session", "answer", "finish_reason", "found", "sources", "usage", "memory"]
    # This memory is a few matrices: it cannot say where something stands, nor whether it is there.
    assert (answer["found"], answer["sources"]) == (None, [])
    assert (answer["object"], answer["session"]) == ("answer", session)
    assert isinstance(answer["answer"], str)
    assert answer["finish_reason"] in ("stop", "length")
    assert answer["usage"].keys() == {"prompt_tokens", "completion_tokens", "memory_tokens"}
    # A question mark, the question, an answer mark; in front at most the tail and a few undecided characters.
    assert answer["usage"]["prompt_tokens"] > 2
    assert 0 <= answer["usage"]["completion_tokens"] <= 12
    assert before["text"]["tokens"] <= answer["usage"]["memory_tokens"] <= before["text"]["tokens"] + 40
    assert answer["memory"].keys() == {"version", "offset", "restored_from", "restore_seconds"}
    assert answer["memory"]["offset"] == len(TEXT)
    assert answer["memory"]["restored_from"] == "device"
    assert answer["memory"]["restore_seconds"] == 0


def test_several_questions_get_the_answers_that_each_gets_alone(http: httpx.Client, session: str) -> None:
    questions = ["Who came?", "Where was it, and when?", "Who came?"]
    reply = post(http, session, {"questions": questions, "max_tokens": 1})
    assert reply.status_code == 200
    several = reply.json()
    assert several.keys() == {"object", "session", "answers", "usage", "memory"}
    alone = [asked(http, session, question=question, max_tokens=1) for question in questions]
    assert [part["answer"] for part in several["answers"]] == [answer["answer"] for answer in alone]
    for part in several["answers"]:
        assert [*part] == ["answer", "finish_reason", "found", "sources", "usage"]
    for count in ("prompt_tokens", "completion_tokens"):
        assert several["usage"][count] == sum(answer["usage"][count] for answer in alone)
    assert several["usage"]["memory_tokens"] == alone[0]["usage"]["memory_tokens"]
    assert several["memory"] == alone[0]["memory"]


def test_a_streamed_answer_is_the_unstreamed_one(http: httpx.Client, session: str) -> None:
    *deltas, (last, done) = streamed(http, session)
    assert {name for name, _ in deltas} == {"delta"}
    assert all(data.keys() == {"text"} for _, data in deltas)
    assert last == "done"
    assert done == asked(http, session)
    assert "".join(data["text"] for _, data in deltas) == done["answer"]


def test_the_deltas_join_to_the_answer_even_if_it_ends_in_white_space(http: httpx.Client, session: str) -> None:
    # So hot that any token may come last, white space among them.
    for seed in range(200):
        *deltas, (_, done) = streamed(http, session, max_tokens=1 + seed % 3, temperature=1.0 + seed % 10, seed=seed)
        assert "".join(data["text"] for _, data in deltas) == done["answer"]


def test_a_greedy_answer_is_deterministic(http: httpx.Client, session: str) -> None:
    assert asked(http, session) == asked(http, session)


def test_a_sampled_answer_is_reproduced_by_its_seed(http: httpx.Client, session: str) -> None:
    free = {"temperature": 1.0, "top_p": 0.9, "top_k": 50, "max_tokens": 30}
    assert asked(http, session, seed=7, **free) == asked(http, session, seed=7, **free)
    answers = {asked(http, session, seed=seed, **free)["answer"] for seed in range(5)}
    assert len(answers) > 1


def test_one_token_ends_with_finish_reason_length(http: httpx.Client, session: str) -> None:
    answer = asked(http, session, max_tokens=1)
    assert answer["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "body"),
        ({"question": "Who?", "questions": ["Who?"]}, "body"),
        ({"questions": ["Who?"], "stream": True}, "body"),
        ({"questions": []}, "questions"),
        ({"question": ""}, "question"),
        ({"question": " \n\t "}, "question"),
        ({"questions": ["Who?", ""]}, "questions.1"),
        ({"questions": ["Who?", " "]}, "questions.1"),
        ({"question": "x" * 8193}, "question"),
        ({"questions": ["Who?", "x" * 8193]}, "questions.1"),
        ({"questions": ["Who?"] * 65}, "questions"),
        ({"question": "who " * 300}, "question"),
        ({"questions": ["Who?", "who " * 300]}, "questions.1"),
        ({"question": "Who?", "max_tokens": 0}, "max_tokens"),
        ({"question": "Who?", "max_tokens": 4097}, "max_tokens"),
        ({"question": "Who?", "max_tokens": 1.5}, "max_tokens"),
        ({"question": "Who?", "temperature": -0.1}, "temperature"),
        ({"question": "Who?", "temperature": 10.1}, "temperature"),
        ({"question": "Who?", "top_p": 0}, "top_p"),
        ({"question": "Who?", "top_p": 1.1}, "top_p"),
        ({"question": "Who?", "top_k": -1}, "top_k"),
        ({"question": "Who?", "seed": -1}, "seed"),
        ({"question": "Who?", "seed": 2**63}, "seed"),
        ({"question": "Who?", "sources": -1}, "sources"),
        ({"question": "Who?", "sources": 17}, "sources"),
        ({"question": "Who?", "colour": "red"}, "colour"),
    ],
)
def test_an_invalid_question_names_its_field(
    http: httpx.Client, session: str, body: dict[str, Any], param: str
) -> None:
    problem(post(http, session, body), 422, "invalid_field", param)


def test_values_at_the_limits_are_accepted(http: httpx.Client, session: str) -> None:
    most = {"max_tokens": 4096, "temperature": 10, "top_p": 1e-9, "top_k": 2**40, "seed": 2**63 - 1}
    assert asked(http, session, question="?", **most)["finish_reason"] in ("stop", "length")
    assert len(post(http, session, {"questions": ["?"] * 64, "max_tokens": 1}).json()["answers"]) == 64


@pytest.mark.parametrize("temperature", [1e-5, 1e-39, 5e-324])
def test_tiny_temperatures_are_greedy_and_do_not_affect_other_answers(
    http: httpx.Client, session: str, temperature: float
) -> None:
    cold = asked(http, session, temperature=temperature, seed=1)
    assert cold["answer"] == asked(http, session)["answer"]
    assert http.get("/livez").status_code == 200


def test_a_question_to_an_unknown_session_is_not_found(http: httpx.Client) -> None:
    problem(post(http, "never", {"question": "Who?"}), 404, "session_not_found", "id")


def test_a_question_sees_all_text_acknowledged_before_it(http: httpx.Client) -> None:
    session = created(http)
    accepted = 0
    for seed in range(4):
        text = prose(seed, 700).encode()
        reply = http.post(f"/v1/sessions/{session}/text", content=text)
        accepted += len(text)
        assert reply.json()["accepted_bytes"] == accepted
        answer = asked(http, session, max_tokens=1)
        assert answer["memory"]["offset"] == accepted


def test_a_session_without_text_answers(http: httpx.Client) -> None:
    answer = asked(http, created(http))
    assert answer["usage"]["memory_tokens"] == 0
    assert (answer["found"], answer["sources"]) == (False, [])
    assert answer["memory"] | {"restored_from": "", "restore_seconds": 0} == {
        "version": 0,
        "offset": 0,
        "restored_from": "",
        "restore_seconds": 0,
    }


def test_a_question_does_not_change_the_session(http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, TEXT[:500])
    # The idle reader writes a checkpoint, which is a change of its own: let it come first.
    eventually(lambda: shown(http, session)["memory"]["version"] > 0)
    before, first = shown(http, session), asked(http, session)
    streamed(http, session, temperature=1.0)
    assert asked(http, session, question="Something else?")["answer"] is not None
    assert asked(http, session) == first
    assert shown(http, session) == before
    assert offsets(http, session) == (500, 500)


def test_the_first_question_after_a_restart_restores_from_the_store(tiny_weights: Path, tmp_path: Path) -> None:
    server = Server(tiny_weights, f"sqlite:///{tmp_path}")
    with server, client(server) as http:
        session = created(http)
        appended(http, session, TEXT)
        before = asked(http, session)
        assert server.terminate() == 0
    with server, client(server) as http:
        first, second = asked(http, session), asked(http, session)
    assert first["answer"] == second["answer"] == before["answer"]
    assert first["usage"] == second["usage"] == before["usage"]
    assert first["memory"]["version"] > 0
    assert first["memory"]["offset"] == second["memory"]["offset"] == len(TEXT)
    assert first["memory"]["restored_from"] == "store"
    assert first["memory"]["restore_seconds"] > 0
    assert (second["memory"]["restored_from"], second["memory"]["restore_seconds"]) == ("device", 0)


def test_a_stop_string_ends_the_answer(http: httpx.Client, session: str) -> None:
    whole = asked(http, session)["answer"]
    middle = whole[len(whole) // 2]
    answer = asked(http, session, stop=["never there", middle])
    assert (answer["answer"], answer["finish_reason"]) == (whole.partition(middle)[0], "stop")
    pieces = streamed(http, session, stop=[middle])
    assert "".join(data["text"] for name, data in pieces if name == "delta") == answer["answer"]
    assert pieces[-1][1]["answer"] == answer["answer"]


def test_logprobs_are_returned_when_requested(http: httpx.Client, session: str) -> None:
    answer = asked(http, session, logprobs=True)
    assert len(answer["logprobs"]) == answer["usage"]["completion_tokens"]
    assert all(token["logprob"] <= 0 for token in answer["logprobs"])
    # Before temperature and cuts: those of the greedy answer do not depend on how freely it was chosen.
    assert asked(http, session, logprobs=True, temperature=0.0, top_k=1)["logprobs"] == answer["logprobs"]
    assert streamed(http, session, logprobs=True)[-1][1]["logprobs"] == answer["logprobs"]


def test_remember_appends_question_and_answer_to_the_text(http: httpx.Client) -> None:
    session, twin = created(http), created(http)
    appended(http, session, TEXT)
    answer = asked(http, session, remember=True)["answer"]
    appended(http, twin, TEXT + f"\nWho came?\n{answer}\n".encode())
    assert offsets(http, session)[0] == offsets(http, twin)[0]
    assert asked(http, session)["answer"] == asked(http, twin)["answer"]
    again = streamed(http, session, remember=True)[-1][1]["answer"]
    appended(http, twin, f"\nWho came?\n{again}\n".encode())
    assert asked(http, session)["answer"] == asked(http, twin)["answer"]


def test_min_offset_waits_for_text_that_has_not_arrived(http: httpx.Client, server: Server) -> None:
    session = created(http)
    with ThreadPoolExecutor(1) as pool, client(server) as other:
        waiting = pool.submit(asked, other, session, min_offset=len(TEXT))
        http.post(f"/v1/sessions/{session}/text", content=TEXT)
        assert waiting.result()["memory"]["offset"] == len(TEXT)


def test_min_offset_beyond_the_text_is_a_conflict_after_the_time_limit(tiny_weights: Path) -> None:
    with Server(tiny_weights, "memory://", answer_wait_seconds="0.2") as server, client(server) as http:
        session = created(http)
        reply = post(http, session, {"question": "?", "min_offset": 7})
        assert problem(reply, 409, "offset_mismatch")["expected_offset"] == 0


def test_an_answer_is_cut_off_at_its_time_limit(roomy_weights: Path) -> None:
    with Server(roomy_weights, "memory://", answer_seconds="0.5") as server, client(server) as http:
        answer = asked(http, created(http), max_tokens=4096)
        assert answer["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] < 4096
