"""Calls whose requests or replies are lost: which are repeated, and what the second reply means."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onceread import errors
from onceread.wire import queries, sessions
from onceread.wire.retries import Attempts, Retries
from onceread.wire.sessions import SessionHandle
from onceread.wire.steps import Emit, Event, Flow, NextEvent, OpenStream, Pause, Reply, Request, Send

RETRIES = Retries(attempts=4)
LOST = errors.ConnectionFailed("lost")
NEVER_SENT = errors.ConnectionFailed("refused", maybe_arrived=False)
SESSION = {
    **{"id": "s", "object": "session", "created_at": 1.0, "updated_at": 1.0, "expires_at": None, "metadata": {}},
    **{"model": "m", "fingerprint": "f", "status": "idle"},
    "text": {"accepted_bytes": 0, "read_bytes": 0, "tokens": 0},
    "memory": {"version": 0, "segments": 0, "bytes": 0},
}
SNAPSHOT = {
    **{"object": "snapshot", "session": "s", "name": "n", "created_at": 1.0, "fingerprint": "f"},
    **{"offset": 3, "tokens": 1, "memory": SESSION["memory"]},
}
ANSWER = {
    **{"object": "answer", "session": "s", "answer": "here", "finish_reason": "stop"},
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "memory_tokens": 1},
    "memory": {"version": 1, "offset": 1, "restored_from": "host", "restore_seconds": 0.0},
}


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode())


def refused(status: int, code: str, **headers: str) -> Reply:
    return reply({"detail": "no", "request_id": "r", "error": {"code": code, "param": None}}, status, **headers)


class Script:
    """A server that says what is written, and keeps what it was asked."""

    def __init__(self, *said: Reply | errors.OncereadError | Event | None) -> None:
        self._said = iter(said)
        self.asked: list[Request] = []
        self.paused: list[float] = []
        self.emitted: list[str] = []

    def play(self, flow: Flow[Any]) -> Any:
        came: Any = None
        try:
            step = next(flow)
            while True:
                came = None
                match step:
                    case Send(request) | OpenStream(request):
                        self.asked.append(request)
                        came = next(self._said)
                    case NextEvent():
                        came = next(self._said)
                    case Pause(seconds):
                        self.paused.append(seconds)
                    case Emit(value):
                        self.emitted.append(value)
                step = flow.throw(came) if isinstance(came, errors.OncereadError) else flow.send(came)
        except StopIteration as end:
            assert next(self._said, None) is None, "not all that was said was listened to"
            return end.value


def test_a_creation_whose_reply_was_lost_returns_the_session_that_it_made() -> None:
    script = Script(LOST, refused(409, "session_exists"), reply(SESSION))
    assert script.play(sessions.create("s", True, {}, RETRIES)).id == "s"
    assert [request.method for request in script.asked] == ["POST", "POST", "GET"]


@pytest.mark.parametrize(
    "lost", [LOST, refused(503, "store_unavailable"), refused(500, "internal_error"), Reply(502, {})]
)
def test_a_creation_with_a_chosen_id_is_not_repeated_when_it_may_have_arrived(lost: Any) -> None:
    with pytest.raises(errors.OncereadError):
        Script(lost).play(sessions.create("mine", False, {}, RETRIES))


def test_a_request_that_never_arrived_is_always_sent_again() -> None:
    for never in (NEVER_SENT, refused(429, "overloaded"), refused(503, "draining", retry_after="1")):
        script = Script(never, reply(SESSION, 201))
        script.play(sessions.create("mine", False, {}, RETRIES))
        assert len(script.asked) == 2


def test_an_existing_id_is_an_error_also_after_a_refused_connection() -> None:
    with pytest.raises(errors.SessionExists):
        Script(NEVER_SENT, refused(409, "session_exists")).play(sessions.create("mine", False, {}, RETRIES))
    with pytest.raises(errors.SnapshotExists):
        Script(NEVER_SENT, refused(409, "snapshot_exists")).play(sessions.take_snapshot("s", "n", RETRIES))
    with pytest.raises(errors.SessionNotFound):
        Script(NEVER_SENT, refused(404, "session_not_found")).play(sessions.delete("s", RETRIES))
    deletion = sessions.delete_document(SessionHandle("s"), "n", False, RETRIES)
    with pytest.raises(errors.DocumentNotFound):
        Script(NEVER_SENT, refused(404, "document_not_found")).play(deletion)


def test_a_snapshot_and_a_deletion_whose_replies_were_lost_succeed() -> None:
    script = Script(LOST, refused(409, "snapshot_exists"), reply(SNAPSHOT))
    assert script.play(sessions.take_snapshot("s", "n", RETRIES)).offset == 3
    Script(LOST, refused(404, "session_not_found")).play(sessions.delete("s", RETRIES))
    Script(LOST, refused(404, "snapshot_not_found")).play(sessions.delete_snapshot("s", "n", RETRIES))
    Script(LOST, refused(404, "document_not_found")).play(
        sessions.delete_document(SessionHandle("s"), "n", True, RETRIES)
    )


def test_restore_drops_the_receipt_of_deleted_text() -> None:
    handle = SessionHandle("s", receipt="of later text")
    Script(reply(SESSION)).play(sessions.restore(handle, "n", RETRIES))
    assert handle.receipt is None


def test_a_question_is_repeated_unless_it_is_remembered() -> None:
    assert Script(LOST, reply(ANSWER)).play(queries.ask(SessionHandle("s"), "?", {}, RETRIES)).text == "here"
    with pytest.raises(errors.ConnectionFailed):
        Script(LOST).play(queries.ask(SessionHandle("s"), "?", {"remember": True}, RETRIES))
    again = Script(NEVER_SENT, reply(ANSWER))
    assert again.play(queries.ask(SessionHandle("s"), "?", {"remember": True}, RETRIES)).text == "here"


def test_every_request_sends_the_latest_receipt() -> None:
    handle = SessionHandle("s", receipt="first")
    scripts = Script(reply(ANSWER, onceread_receipt="second")), Script(reply(ANSWER))
    for script in scripts:
        script.play(queries.ask(handle, "?", {}, RETRIES))
    assert [script.asked[0].headers["Onceread-Receipt"] for script in scripts] == ["first", "second"]


def event(name: str, **body: Any) -> Event:
    return Event(name, json.dumps(body))


DONE = event("done", **ANSWER)
PROBLEM = event("error", detail="no", status=503, request_id="r", error={"code": "draining", "param": None})


def test_a_stream_is_retried_only_before_its_first_piece() -> None:
    opened = Reply(200, {})
    for broken in ((LOST,), (opened, LOST), (opened, None), (opened, PROBLEM), (refused(429, "overloaded"),)):
        script = Script(*broken, opened, event("delta", text="he"), event("delta", text="re"), DONE)
        assert script.play(queries.ask_streamed(SessionHandle("s"), "?", {}, RETRIES)).text == "here"
        assert script.emitted == ["he", "re"]
    for ends, kind in ((LOST, errors.ConnectionFailed), (None, errors.ConnectionFailed), (PROBLEM, errors.Draining)):
        script = Script(opened, event("delta", text="he"), ends)
        with pytest.raises(kind):
            script.play(queries.ask_streamed(SessionHandle("s"), "?", {}, RETRIES))
        assert script.emitted == ["he"]


def test_a_stream_of_a_remembered_answer_is_not_retried() -> None:
    with pytest.raises(errors.ConnectionFailed):
        Script(Reply(200, {}), LOST).play(queries.ask_streamed(SessionHandle("s"), "?", {"remember": True}, RETRIES))


failures = st.sampled_from(
    [
        LOST,
        NEVER_SENT,
        errors.UnexpectedReply("proxy", status=502),
        errors.InternalError("", status=500),
        errors.StoreUnavailable("", status=503, retry_after_seconds=2.0),
    ]
)


@given(st.lists(failures, max_size=12), st.integers(1, 12), st.floats(0, 1))
def test_pauses_grow_are_bounded_and_end(failed: Iterable[errors.OncereadError], attempts: int, chance: float) -> None:
    retries = Retries(attempts=attempts, jitter=lambda: chance)
    tries = Attempts(retries)
    for number, error in enumerate(failed, 1):
        seconds = tries.seconds_after(error, repeatable=True)
        if number >= attempts:
            assert seconds is None
            continue
        wanted = 2.0 if isinstance(error, errors.StoreUnavailable) else 0.0
        longest = min(retries.longest_seconds, retries.first_seconds * 2 ** (number - 1))
        assert seconds == max(wanted, longest * chance)


@given(st.lists(st.sampled_from([None, 0.0, 1.0, 30.0, 31.0]), max_size=40), st.floats(0, 1))
def test_retry_after_is_never_undercut(waits: list[float | None], chance: float) -> None:
    tries = Attempts(Retries(attempts=3, patience_seconds=60, jitter=lambda: chance))
    spent = 0.0
    for wait in waits:
        error = errors.Overloaded("", status=429, retry_after_seconds=wait)
        seconds = tries.seconds_after(error, repeatable=False)
        if seconds is None:
            return
        assert wait is None or seconds >= wait
        spent += seconds if wait is not None else 0.0
        assert spent <= 60
        assert wait != 31.0


@pytest.mark.parametrize(
    "error",
    [
        errors.SessionQuarantined("", status=503, retry_after_seconds=1.0),
        errors.StoreFull("", status=507, retry_after_seconds=1.0),
        errors.QuotaExceeded("", status=429, retry_after_seconds=60.0),
        errors.InvalidField("", status=422),
        errors.TextRolledBack("", status=409),
        errors.InvalidApiKey("", status=401),
        errors.UnexpectedReply("", status=200),
        errors.SourceNotRereadable(""),
    ],
)
def test_a_permanent_error_is_not_retried(error: errors.OncereadError) -> None:
    assert Attempts(RETRIES).seconds_after(error, repeatable=True) is None


def test_progress_resets_the_count_of_failures() -> None:
    tries = Attempts(Retries(attempts=3))
    for _ in range(5):
        assert tries.seconds_after(LOST, repeatable=True) is not None
        tries.progressed()
    assert tries.maybe_executed
