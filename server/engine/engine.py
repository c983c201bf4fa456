"""The engine: one thread owns the device and steps through what the scheduler plans.

The only file that mixes threads and asyncio. It knows memories and tokens, and nothing of sessions or stores.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from model.memory import MemoryState
from model.sampling import Sampler, Sampling, Written
from server.engine.fair_queue import has_room
from server.engine.model_runner import ModelRunner, StepResult
from server.engine.scheduler import AnswerWork, Batch, ReadWork, Scheduler

log = logging.getLogger(__name__)

_STOPPED = "the engine has stopped; restart the server"


class EngineBusy(Exception):
    """As many answers wait as may."""


class StepFailed(Exception):
    """The step that this work was part of has failed; the engine goes on with other work."""


class EngineStopped(Exception):
    """The engine has failed or was stopped: it takes no more work."""


@dataclass(frozen=True)
class ReadResult:
    """The memory after `segments` of the segments that were asked for: all, unless reading was halted."""

    memory: MemoryState
    segments: int


@dataclass(frozen=True)
class AnswerRequest:
    """An answer of at most `tokens_max` tokens behind `prompt`, against `memory` and the `tail` behind it.

    Work is shared out between tenants; with `logprobs` each token comes with its log-probability.
    """

    memory: MemoryState
    tail: Sequence[int]
    prompt: Sequence[int]
    sampling: Sampling
    tokens_max: int
    tenant: str = "default"
    logprobs: bool = False


@dataclass(frozen=True)
class Load:
    """Queue lengths now; `queued_tokens` are those of waiting prompts and of unread segments."""

    answers_waiting: int = 0
    answers_running: int = 0
    reads: int = 0
    queued_tokens: int = 0


Event: TypeAlias = Written | Exception | None


class AnswerStream:
    """The tokens of one answer as they are decoded; it owns the answer's place in the engine until it is closed.

    It ends after the end mark, which is not given out, or after `tokens_max` tokens. Closing it early ends the
    answer within a step.
    """

    def __init__(self, events: asyncio.Queue[Event], release: Callable[[], None]) -> None:
        self._events, self._release = events, release
        self._ended = False

    def __aiter__(self) -> AnswerStream:
        return self

    async def __anext__(self) -> Written:
        if self._ended:
            raise StopAsyncIteration
        event = await self._events.get()
        if isinstance(event, Written):
            return event
        await self.aclose()
        raise StopAsyncIteration if event is None else event

    async def aclose(self) -> None:
        """Frees the answer's place; further calls do nothing."""
        if not self._ended:
            self._ended = True
            self._release()

    async def __aenter__(self) -> AnswerStream:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


class Engine:
    """Takes work from the event loop, does it on its own thread, and hands results back to the loop."""

    def __init__(
        self,
        forward: ModelRunner,
        scheduler: Scheduler,
        answers_waiting_max: int,
        observe: Callable[[Batch, float], None],
    ) -> None:
        self._forward, self._scheduler, self._observe = forward, scheduler, observe
        self._answers_waiting_max = answers_waiting_max
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._reads: dict[ReadWork, asyncio.Future[ReadResult]] = {}
        self._answers: dict[AnswerWork, asyncio.Queue[Event]] = {}
        self._halting = self._stopping = False
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Begins to work for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and self._failure is None

    def load(self) -> Load:
        with self._changed:
            s = self._scheduler
            return Load(sum(s.answers_waiting.values()), s.answers_running, s.reads_waiting, s.queued_tokens)

    def has_room(self, tenant: str, questions: int = 1) -> bool:
        """Whether so many more questions of a tenant may wait: up to the limit, and beyond it up to its share of it."""
        with self._changed:
            return has_room(self._answers_waiting_max, self._scheduler.answers_waiting, tenant, questions)

    async def read(self, memory: MemoryState, segments: Sequence[Sequence[int]], tenant: str = "default") -> ReadResult:
        """Reads segments one after another into `memory`; when cancelled, reading ends with the step at hand."""
        if not segments:
            return ReadResult(memory, 0)
        work = ReadWork(memory, segments, tenant=tenant)
        future: asyncio.Future[ReadResult] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._must_work()
            if self._halting:
                return ReadResult(memory, 0)
            self._reads[work] = future
            self._scheduler.add_read(work)
            self._changed.notify()
        try:
            return await future
        finally:
            with self._changed:
                self._scheduler.cancel(work)
                self._reads.pop(work, None)

    def answer(self, requests: Sequence[AnswerRequest]) -> list[AnswerStream]:
        """Queues the answers, all or none; each returned stream must be closed, even if it is never iterated.

        Raises `EngineBusy` when too many are waiting.
        """
        with self._changed:
            self._must_work()
            waiting = self._scheduler.answers_waiting
            for tenant, questions in Counter(request.tenant for request in requests).items():
                if waiting and not has_room(self._answers_waiting_max, waiting, tenant, questions):
                    raise EngineBusy(f"{sum(waiting.values())} questions are waiting")
            streams = []
            for request in requests:
                work = AnswerWork(
                    request.memory,
                    request.tail,
                    request.prompt,
                    Sampler(request.sampling, request.logprobs),
                    request.tokens_max,
                    self._forward.end,
                    tenant=request.tenant,
                )
                queue: asyncio.Queue[Event] = asyncio.Queue()
                self._answers[work] = queue
                self._scheduler.add_answer(work)
                streams.append(AnswerStream(queue, partial(self._release, work)))
            self._changed.notify()
        return streams

    def _release(self, work: AnswerWork) -> None:
        with self._changed:
            self._scheduler.cancel(work)
            self._answers.pop(work, None)

    def halt_reading(self) -> None:
        """Ends all reading at the next segment; what was read so far is handed back."""
        with self._changed:
            self._halting = True
            for work in list(self._reads):
                self._scheduler.cancel(work)
                self._hand_back(work)

    def stop(self) -> None:
        """Ends the thread after the step at hand; waiting work gets `EngineStopped`."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while (step := self._next()) is not None:
                try:
                    result = self._forward(step)
                except Exception as error:
                    # Memories are values: a step that failed has changed nothing for anybody else.
                    log.exception("a step failed")
                    with self._changed:
                        self._fail(step, error)
                    continue
                self._observe(step, result.seconds)
                with self._changed:
                    self._scheduler.record(step, result.tokens, result.advances)
                    self._deliver(step, result)
        except BaseException as error:
            log.exception("the engine failed and takes no more work")
            self._failure = error
        finally:
            self._abandon()

    def _next(self) -> Batch | None:
        """The next step, waited for; None when told to stop."""
        with self._changed:
            while True:
                if self._stopping:
                    return None
                if (step := self._scheduler.plan()) is not None:
                    return step
                self._changed.wait()

    def _deliver(self, step: Batch, result: StepResult) -> None:
        """Hands a step's results to whoever still waits for them."""
        for answer, written in zip((*step.prompts, *step.answers), result.written, strict=True):
            if (queue := self._answers.get(answer)) is None:
                continue
            if answer.finish_reason != "stop":
                self._soon(queue.put_nowait, written)
            if answer.finish_reason is not None:
                self._soon(queue.put_nowait, None)
        for read in step.reads:
            if read.finished:
                self._hand_back(read)

    def _fail(self, step: Batch, error: Exception) -> None:
        """Ends all work of a step that could not be done."""
        failure = StepFailed(f"a step of the engine failed: {error}")
        for work in (*step.prompts, *step.answers):
            self._scheduler.cancel(work)
            if (queue := self._answers.get(work)) is not None:
                self._soon(queue.put_nowait, failure)
        for read in step.reads:
            self._scheduler.cancel(read)
            if (future := self._reads.pop(read, None)) is not None:
                self._soon(_refuse, future, failure)

    def _hand_back(self, work: ReadWork) -> None:
        if (future := self._reads.pop(work, None)) is not None:
            self._soon(_resolve, future, ReadResult(work.memory, work.done))

    def _abandon(self) -> None:
        with self._changed:
            self._stopping = True
            stopped = EngineStopped(_STOPPED)
            for queue in self._answers.values():
                self._soon(queue.put_nowait, stopped)
            for future in self._reads.values():
                self._soon(_refuse, future, stopped)
            self._reads.clear()

    def _must_work(self) -> None:
        if self._stopping or self._failure is not None:
            raise EngineStopped(_STOPPED)

    def _soon(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _resolve(future: asyncio.Future[ReadResult], result: ReadResult) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(future: asyncio.Future[ReadResult], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
