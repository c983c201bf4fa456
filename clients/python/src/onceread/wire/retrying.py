"""When a failed request is sent again, and after how long.

Pure: it decides; waiting is the caller's, and chance comes from `jitter`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from onceread import errors
from onceread.wire.replies import refusal
from onceread.wire.steps import Flow, Pause, Reply, Request, sent

# Answers of proxies that do not reach the server, and of servers that lost patience with a slow body.
_PASSING_STATUSES = frozenset({408, 500, 502, 503, 504})


@dataclass(frozen=True)
class Retries:
    """How patient a call is.

    A request that fails is tried `attempts` times, with pauses that double from `first_seconds` to `longest_seconds`,
    each shortened by chance so that many clients do not come back at once. A server that says when to come again is
    waited for, `patience_seconds` altogether; a `Retry-After` above `longest_wait_seconds` is an error at once.
    Whatever gets on begins anew.
    """

    attempts: int = 10
    first_seconds: float = 0.25
    longest_seconds: float = 8.0
    patience_seconds: float = 300.0
    longest_wait_seconds: float = 30.0
    jitter: Callable[[], float] = random.random


class Attempts:
    """The tries of one call so far; `unsure` once a request was lost that may have been carried out."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self.unsure = False
        self.got_on()

    def got_on(self) -> None:
        """Something was achieved: patience begins anew."""
        self._failed, self._refused, self._waited_seconds = 0, 0, 0.0

    def pause_after(self, error: errors.OncereadError, repeatable: bool) -> Flow[None]:
        """Waits before the next try; raises the error where there should be none."""
        seconds = self.seconds_after(error, repeatable)
        if seconds is None:
            raise error
        yield Pause(seconds)

    def count(self, error: errors.OncereadError) -> None:
        """Counts a failure that needs no pause; raises the error where it is one too many."""
        self._failed += 1
        if self._failed >= self._retries.attempts:
            raise error

    def seconds_after(self, error: errors.OncereadError, repeatable: bool) -> float | None:
        """The pause before the next try, None when there should be none."""
        retries = self._retries
        if (asked := _asked_to_wait(error)) is not None:
            self._refused += 1
            seconds = max(asked, self._backoff(self._refused)) + retries.first_seconds * retries.jitter()
            self._waited_seconds += seconds
            patient = self._waited_seconds <= retries.patience_seconds and asked <= retries.longest_wait_seconds
            return seconds if patient else None
        arrived = maybe_carried_out(error)
        self.unsure = self.unsure or arrived
        if not _passing(error) or (arrived and not repeatable):
            return None
        self._failed += 1
        wanted = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
        if self._failed >= retries.attempts or (wanted or 0) > retries.longest_wait_seconds:
            return None
        return max(wanted or 0, self._backoff(self._failed))

    def _backoff(self, number: int) -> float:
        retries = self._retries
        return min(retries.longest_seconds, retries.first_seconds * 2.0 ** min(number - 1, 60)) * retries.jitter()


def _asked_to_wait(error: errors.OncereadError) -> float | None:
    """The seconds to wait for a server that did nothing of the request and says when to come again."""
    match error:
        case (
            errors.Overloaded()
            | errors.QuotaExceeded()
            | errors.ReadingBehind()
            | errors.NotReady()
            | errors.Draining()
        ):
            return error.retry_after_seconds
        case _:
            return None


def _passing(error: errors.OncereadError) -> bool:
    """Whether the next try may go better."""
    match error:
        case errors.SessionQuarantined():
            return False
        case errors.NotNow() | errors.InternalError() | errors.DigestMismatch() | errors.ConnectionFailed():
            return True
        case errors.ApiError(status=status) | errors.UnexpectedReply(status=status):
            return status in _PASSING_STATUSES
        case _:
            return False


def maybe_carried_out(error: errors.OncereadError) -> bool:
    """Whether the request may have been carried out, although no answer says so."""
    match error:
        case errors.ConnectionFailed():
            return error.maybe_arrived
        case errors.StoreUnavailable() | errors.InternalError():
            return True
        case errors.UnexpectedReply(status=status):
            return status >= 500
        case _:
            return False


def exchanged(request: Request, attempts: Attempts) -> Flow[Reply]:
    """The successful reply to a request, sent again where that is safe."""
    while True:
        try:
            reply = yield from sent(request)
            if reply.ok:
                return reply
            raise refusal(reply)
        except errors.OncereadError as error:
            yield from attempts.pause_after(error, request.repeatable)
