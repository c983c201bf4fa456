"""Retries: whether a failed request is sent again, and after which pause."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from onceread import errors
from onceread.wire import replies
from onceread.wire.steps import Flow, Pause, Reply, Request, send

# Statuses of proxies that cannot reach the server, and of servers whose time for a slow body ran out.
_TRANSIENT_STATUSES = frozenset({408, 500, 502, 503, 504})


@dataclass(frozen=True)
class Retries:
    """How often and how long a call retries.

    A request is tried `attempts` times, with exponential backoff from `first_seconds` to `longest_seconds` and full
    jitter. The pauses that an overloaded server asks for with `Retry-After` add up to `patience_seconds` at most; one
    above `longest_wait_seconds` is an error at once. Progress resets both counts.
    """

    attempts: int = 10
    first_seconds: float = 0.25
    longest_seconds: float = 8.0
    patience_seconds: float = 300.0
    longest_wait_seconds: float = 30.0
    jitter: Callable[[], float] = random.random


class Attempts:
    """The tries of one call so far; `maybe_executed` once a request failed that the server may have executed."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self.maybe_executed = False
        self.progressed()

    def progressed(self) -> None:
        """Resets the counts: the call made progress."""
        self._failed, self._refused, self._waited_seconds = 0, 0, 0.0

    def pause_after(self, error: errors.OncereadError, repeatable: bool) -> Flow[None]:
        """Pauses before the next try; raises the error where there is none."""
        seconds = self.seconds_after(error, repeatable)
        if seconds is None:
            raise error
        yield Pause(seconds)

    def count(self, error: errors.OncereadError) -> None:
        """Counts a failure that needs no pause; raises the error after too many."""
        self._failed += 1
        if self._failed >= self._retries.attempts:
            raise error

    def seconds_after(self, error: errors.OncereadError, repeatable: bool) -> float | None:
        """The pause before the next try; None where there is none."""
        retries = self._retries
        if (asked := _requested_wait(error)) is not None:
            self._refused += 1
            seconds = max(asked, self._backoff(self._refused)) + retries.first_seconds * retries.jitter()
            self._waited_seconds += seconds
            patient = self._waited_seconds <= retries.patience_seconds and asked <= retries.longest_wait_seconds
            return seconds if patient else None
        executed = maybe_executed(error)
        self.maybe_executed = self.maybe_executed or executed
        if not _transient(error) or (executed and not repeatable):
            return None
        self._failed += 1
        wanted = error.retry_after_seconds if isinstance(error, errors.ApiError) else None
        if self._failed >= retries.attempts or (wanted or 0) > retries.longest_wait_seconds:
            return None
        return max(wanted or 0, self._backoff(self._failed))

    def _backoff(self, number: int) -> float:
        retries = self._retries
        return min(retries.longest_seconds, retries.first_seconds * 2.0 ** min(number - 1, 60)) * retries.jitter()


def _requested_wait(error: errors.OncereadError) -> float | None:
    """The `Retry-After` of a server that refused the request without executing any of it."""
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


def _transient(error: errors.OncereadError) -> bool:
    """Whether the next try may succeed."""
    match error:
        case errors.SessionQuarantined():
            return False
        case errors.NotNow() | errors.InternalError() | errors.DigestMismatch() | errors.ConnectionFailed():
            return True
        case errors.ApiError(status=status) | errors.UnexpectedReply(status=status):
            return status in _TRANSIENT_STATUSES
        case _:
            return False


def maybe_executed(error: errors.OncereadError) -> bool:
    """Whether the server may have executed the request although it failed here."""
    match error:
        case errors.ConnectionFailed():
            return error.maybe_arrived
        case errors.StoreUnavailable() | errors.InternalError():
            return True
        case errors.UnexpectedReply(status=status):
            return status >= 500
        case _:
            return False


def exchange(request: Request, attempts: Attempts) -> Flow[Reply]:
    """The successful reply to a request, which is sent again where that is safe."""
    while True:
        try:
            reply = yield from send(request)
            if reply.ok:
                return reply
            raise replies.error_from(reply)
        except errors.OncereadError as error:
            yield from attempts.pause_after(error, request.repeatable)
