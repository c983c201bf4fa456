"""Questions: one answer, several answers, and an answer that is streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onceread import errors
from onceread.results import Answer
from onceread.wire import replies, requests
from onceread.wire.retries import Attempts, Retries, exchange
from onceread.wire.sessions import SessionHandle
from onceread.wire.steps import Emit, Flow, next_event, open_stream


def ask(handle: SessionHandle, question: str, options: Mapping[str, Any], retries: Retries) -> Flow[Answer]:
    request = requests.ask(handle.id, {"question": question, **options}, handle.receipt)
    reply = yield from exchange(request, Attempts(retries))
    handle.update(reply)
    return replies.answer(replies.json_object(reply))


def ask_all(
    handle: SessionHandle, questions: Sequence[str], options: Mapping[str, Any], retries: Retries
) -> Flow[list[Answer]]:
    """Several questions to one memory, answered in one batch."""
    request = requests.ask(handle.id, {"questions": list(questions), **options}, handle.receipt)
    reply = yield from exchange(request, Attempts(retries))
    handle.update(reply)
    return replies.answers(replies.json_object(reply))


def ask_streamed(handle: SessionHandle, question: str, options: Mapping[str, Any], retries: Retries) -> Flow[Answer]:
    """Emits the answer's text in pieces; it is asked again after a failure only before the first piece."""
    request = requests.ask(handle.id, {"question": question, "stream": True, **options}, handle.receipt)
    attempts = Attempts(retries)
    while True:
        emitted = False
        try:
            reply = yield from open_stream(request)
            if not reply.ok:
                raise replies.error_from(reply)
            handle.update(reply)
            while event := (yield from next_event()):
                body = replies.event_object(event)
                match event.name:
                    case "delta":
                        emitted = True
                        yield Emit(str(body.get("text", "")))
                    case "done":
                        return replies.answer(body)
                    case "error":
                        raise replies.event_error(event)
            raise errors.ConnectionFailed("the answer broke off before its end; ask again")
        except errors.OncereadError as error:
            if emitted:
                raise
            yield from attempts.pause_after(error, request.repeatable)
