"""The engine: one thread owns the device and runs the batches that the scheduler plans.

The only file that mixes threads and asyncio.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

from model.memory import MemoryState
from server.engine.answer_stream import AnswerStream, Event
from server.engine.fair_queue import has_room
from server.engine.model_runner import AnswerRequest, ModelRunner, StepResult
from server.engine.scheduler import AnswerWork, Batch, Finish, ReadWork, Scheduler

log = logging.getLogger(__name__)

_STOPPED = "the engine has stopped; restart the server"


class EngineBusy(Exception):
    """The queue of waiting answers is full."""


class StepFailed(Exception):
    """The model failed at this work, also without other work beside it; the engine goes on with the rest."""


class EngineStopped(Exception):
    """The engine has failed or was stopped: it takes no more work."""


@dataclass(frozen=True)
class ReadResult:
    """The memory after the first `segments` of the given segments: after all, unless reading was halted."""

    memory: MemoryState
    segments: int


@dataclass
class _Reading:
    """A read in progress: the caller's future, and the result so far."""

    future: asyncio.Future[ReadResult]
    result: ReadResult


@dataclass(frozen=True)
class Load:
    """Queue lengths now; `queued_tokens` are those of waiting prompts and of unread segments."""

    answers_waiting: int = 0
    answers_running: int = 0
    reads: int = 0
    queued_tokens: int = 0


Result = TypeVar("Result")


class Engine:
    """Takes work from the event loop, runs it on its own thread, and returns results to the loop."""

    def __init__(
        self,
        runner: ModelRunner,
        scheduler: Scheduler,
        answers_waiting_max: int,
        observe: Callable[[Batch, float], None],
    ) -> None:
        self._runner, self._scheduler, self._observe = runner, scheduler, observe
        self._answers_waiting_max = answers_waiting_max
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        # To be made by the engine's thread before its next step, in this order.
        self._calls: deque[Callable[[], None]] = deque()
        self._copies: set[asyncio.Future[MemoryState]] = set()
        self._reads: dict[ReadWork, _Reading] = {}
        self._answers: dict[AnswerWork, asyncio.Queue[Event]] = {}
        self._halting = self._stopping = False
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Starts the thread; results go to the running event loop."""
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
        """Whether so many more answers of a tenant may wait: up to the limit, and beyond it up to its share of it."""
        with self._changed:
            return has_room(self._answers_waiting_max, self._scheduler.answers_waiting, tenant, questions)

    async def read(self, memory: MemoryState, segments: Sequence[Sequence[int]], tenant: str = "default") -> ReadResult:
        """Reads segments one after another into `memory`; when cancelled, reading ends with the running step."""
        if not segments:
            return ReadResult(memory, 0)
        work = ReadWork(len(segments), tenant)
        future: asyncio.Future[ReadResult] = asyncio.get_running_loop().create_future()
        with self._changed:
            self._must_work()
            if self._halting:
                return ReadResult(memory, 0)
            self._reads[work] = _Reading(future, ReadResult(memory, 0))
            self._scheduler.add_read(work)
            self._call(partial(self._runner.start_read, work, memory, segments))
        try:
            return await future
        finally:
            with self._changed:
                self._cancel(work)
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
                prompt_tokens = len(request.tail) + len(request.prompt)
                work = AnswerWork(prompt_tokens, request.tokens_max, self._runner.end, request.tenant)
                queue: asyncio.Queue[Event] = asyncio.Queue()
                self._answers[work] = queue
                self._scheduler.add_answer(work)
                self._call(partial(self._runner.start_answer, work, request))
                streams.append(AnswerStream(queue, partial(self._release, work)))
        return streams

    def _release(self, work: AnswerWork) -> None:
        with self._changed:
            self._cancel(work)
            self._answers.pop(work, None)

    async def to_host(self, memory: MemoryState) -> MemoryState:
        """The memory in host RAM; raises `EngineStopped` when it is on another device and the engine has stopped."""
        return await self._copy(memory, torch.device("cpu"))

    async def to_device(self, memory: MemoryState) -> MemoryState:
        """The memory on the model's device; raises `EngineStopped` like `to_host`."""
        return await self._copy(memory, self._runner.device)

    async def _copy(self, memory: MemoryState, device: torch.device) -> MemoryState:
        """Copied by the engine's thread between steps: no other thread uses the device."""
        if memory.device == device:
            return memory
        future: asyncio.Future[MemoryState] = asyncio.get_running_loop().create_future()

        def copy() -> None:
            try:
                copied = self._runner.copy(memory, device)
            except Exception as error:
                self._soon(_refuse, future, error)
            else:
                self._soon(_resolve, future, copied)

        with self._changed:
            self._must_work()
            self._copies.add(future)
            self._call(copy)
        try:
            return await future
        finally:
            with self._changed:
                self._copies.discard(future)

    def halt_reading(self) -> None:
        """Ends every read: its caller gets the memory after the segments read so far. Later reads return at once."""
        with self._changed:
            self._halting = True
            for work in list(self._reads):
                self._cancel(work)
                self._hand_back(work)

    def stop(self) -> None:
        """Ends the thread after the running step; unfinished work gets `EngineStopped`."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _cancel(self, work: AnswerWork | ReadWork) -> None:
        self._scheduler.cancel(work)
        self._call(partial(self._runner.drop, work))

    def _call(self, call: Callable[[], None]) -> None:
        """Has the engine's thread make the call before its next step."""
        self._calls.append(call)
        self._changed.notify()

    def _run(self) -> None:
        try:
            while (batch := self._next()) is not None:
                result = self._runner(batch)
                self._observe(result.done, result.seconds)
                with self._changed:
                    self._fail(result.failed)
                    finished = self._scheduler.record(result.done, result.tokens, result.segments)
                    self._deliver(result, finished)
                for work in finished:
                    self._runner.drop(work)
        except BaseException as error:
            log.exception("the engine failed and takes no more work")
            self._failure = error
        finally:
            self._abandon()

    def _next(self) -> Batch | None:
        """Makes the calls that are due and waits for the next batch; None when the engine is to stop."""
        while True:
            with self._changed:
                while not (self._stopping or self._calls):
                    if (batch := self._scheduler.plan()) is not None:
                        return batch
                    self._changed.wait()
                if self._stopping:
                    return None
                calls = list(self._calls)
                self._calls.clear()
            for call in calls:
                call()

    def _deliver(self, result: StepResult, finished: Mapping[AnswerWork | ReadWork, Finish]) -> None:
        """Hands a step's results to the callers that still wait for them."""
        batch = result.done
        for answer, written in zip((*batch.prefills, *batch.decodes), result.written, strict=True):
            if (queue := self._answers.get(answer)) is None:
                continue
            if finished.get(answer) is not Finish.END:
                self._soon(queue.put_nowait, written)
            if answer in finished:
                self._soon(queue.put_nowait, None)
        for read, progress in zip(batch.reads, result.reads, strict=True):
            if (reading := self._reads.get(read)) is None:
                continue
            reading.result = ReadResult(progress.memory, reading.result.segments + progress.segments)
            if read in finished:
                self._hand_back(read)

    def _fail(self, failed: Mapping[AnswerWork | ReadWork, Exception]) -> None:
        """Ends the work that failed in a step."""
        for work, error in failed.items():
            failure = StepFailed(f"the model failed at this work: {type(error).__name__}: {error}")
            self._cancel(work)
            if isinstance(work, ReadWork):
                if (reading := self._reads.pop(work, None)) is not None:
                    self._soon(_refuse, reading.future, failure)
            elif (queue := self._answers.get(work)) is not None:
                self._soon(queue.put_nowait, failure)

    def _hand_back(self, work: ReadWork) -> None:
        if (reading := self._reads.pop(work, None)) is not None:
            self._soon(_resolve, reading.future, reading.result)

    def _abandon(self) -> None:
        with self._changed:
            self._stopping = True
            stopped = EngineStopped(_STOPPED)
            for queue in self._answers.values():
                self._soon(queue.put_nowait, stopped)
            for reading in self._reads.values():
                self._soon(_refuse, reading.future, stopped)
            self._reads.clear()
            for copy in self._copies:
                self._soon(_refuse, copy, stopped)

    def _must_work(self) -> None:
        if self._stopping or self._failure is not None:
            raise EngineStopped(_STOPPED)

    def _soon(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _resolve(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(future: asyncio.Future[Result], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
