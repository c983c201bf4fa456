"""Questions: whole answers, several at once, and answers that come in pieces.

Pure: it knows requests and replies, and nothing of what an answer is shown on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onceread import errors
from onceread.results import Answer
from onceread.wire import replies, requests
from onceread.wire.handle import Handle
from onceread.wire.retrying import Attempts, Retries, exchanged
from onceread.wire.steps import Flow, Tell, next_event, opened


def asked(handle: Handle, question: str, options: Mapping[str, Any], retries: Retries) -> Flow[Answer]:
    request = requests.ask(handle.id, {"question": question, **options}, handle.receipt)
    reply = yield from exchanged(request, Attempts(retries))
    handle.note(reply)
    return replies.answer(replies.object_in(reply))


def all_asked(
    handle: Handle, questions: Sequence[str], options: Mapping[str, Any], retries: Retries
) -> Flow[list[Answer]]:
    """Several questions to one memory, answered side by side."""
    request = requests.ask(handle.id, {"questions": list(questions), **options}, handle.receipt)
    reply = yield from exchanged(request, Attempts(retries))
    handle.note(reply)
    return replies.answers(replies.object_in(reply))


def streamed(handle: Handle, question: str, options: Mapping[str, Any], retries: Retries) -> Flow[Answer]:
    """Tells the answer's text in pieces; once the first has been told, a break is an error and not a new beginning."""
    request = requests.ask(handle.id, {"question": question, "stream": True, **options}, handle.receipt)
    attempts = Attempts(retries)
    while True:
        told = False
        try:
            reply = yield from opened(request)
            if not reply.ok:
                raise replies.refusal(reply)
            handle.note(reply)
            while event := (yield from next_event()):
                body = replies.event_object(event)
                match event.name:
                    case "delta":
                        told = True
                        yield Tell(str(body.get("text", "")))
                    case "done":
                        return replies.answer(body)
                    case "error":
                        raise replies.event_problem(event)
            raise errors.ConnectionFailed("the answer broke off before its end; ask again")
        except errors.OncereadError as error:
            if told:
                raise
            yield from attempts.pause_after(error, request.repeatable)
