"""QueryService: questions to a session's memory, from what can be refused at once to the last piece of an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from server.ingest.readers import SessionReaders
from server.ingest.session_progress import MemorySource
from server.sessions import errors
from server.sessions.answers import Answer, Answering, AnswerService, Piece, QueryContext, Question
from server.sessions.pieces import Passage
from server.sessions.registry import SessionRegistry
from server.sessions.snapshots import SnapshotService
from server.sessions.uploads import UploadService
from server.settings import Settings
from server.store.base import SessionKey, SessionRecord

# How often a question that waits for text still to come looks for it.
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Query:
    """Questions to one memory: the newest of the session `key`, its `snapshot`, or without a session an empty one.

    `earlier` is read behind the session's text for these questions alone; `remember` appends each question and its
    answer to the text.
    """

    tenant: str
    questions: tuple[Question, ...]
    key: SessionKey | None = None
    receipt: str | None = None
    min_offset: int = 0
    snapshot: str | None = None
    earlier: str = ""
    remember: bool = False


@dataclass(frozen=True)
class AdmittedQuery:
    """A query that nothing known at once speaks against.

    `start` is the memory that it is put to, or the record of the session whose text must be read first.
    """

    query: Query
    asked_at: float
    prompts: tuple[list[int], ...]
    start: QueryContext | SessionRecord


class QueryService:
    def __init__(
        self,
        readers: SessionReaders,
        registry: SessionRegistry,
        uploads: UploadService,
        snapshots: SnapshotService,
        answers: AnswerService,
        settings: Settings,
    ) -> None:
        self._readers = readers
        self._registry = registry
        self._uploads = uploads
        self._snapshots = snapshots
        self._answers = answers
        self._settings = settings

    async def admit(self, query: Query) -> AdmittedQuery:
        """Raises what can be known before any text is waited for: bad fields, a missing session, too many questions."""
        asked_at = time.perf_counter()
        for question in query.questions:
            _must_be_bounded(question, self._settings)
        prompts = tuple(self._answers.prompt(question) for question in query.questions)
        start = await self._start(query, asked_at)
        self._answers.must_have_room(query.tenant)
        return AdmittedQuery(query, asked_at, prompts, start)

    async def answer(self, admitted: AdmittedQuery) -> list[Answer]:
        """All answers, decoded side by side; when one fails, the others end."""
        async with AsyncExitStack() as closing:
            streams = await self._begin(admitted)
            # Closed here too: a task that is cancelled before its first step closes nothing.
            for stream in streams:
                await closing.enter_async_context(aclosing(stream))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_finished(stream)) for stream in streams]
        answers = [task.result() for task in tasks]
        for question, answer in zip(admitted.query.questions, answers, strict=True):
            await self._remember(admitted.query, question, answer)
        return answers

    async def stream(self, admitted: AdmittedQuery) -> AsyncGenerator[Piece | Answer, None]:
        """The pieces of the answer to a single question, then the answer as a whole."""
        [question], [answering] = admitted.query.questions, await self._begin(admitted)
        async with aclosing(answering) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    await self._remember(admitted.query, question, part)
                yield part

    async def memory_for_query(self, admitted: AdmittedQuery) -> QueryContext:
        """The memory of everything acknowledged before the query came, and of at least its `min_offset`.

        After `answer_wait_seconds`: `ReadingBehind`, or `OffsetMismatch` where the text has not even come.
        """
        query, record = admitted.query, admitted.start
        if isinstance(record, QueryContext):
            return record
        try:
            async with asyncio.timeout(self._settings.answer_wait_seconds):
                while record.accepted_bytes < query.min_offset and not self._readers.stopping:
                    await asyncio.sleep(LOOK_SECONDS)
                    record = await self._registry.readable(record.key, query.receipt)
                if record.accepted_bytes < query.min_offset:
                    raise TimeoutError
                reached = await self._readers.reach(record)
        except TimeoutError:
            raise self._not_read(record, query.min_offset) from None
        await self._registry.use(record)
        version = max(reached.version, record.version)
        return self._answers.query_context(admitted.asked_at, reached.read.state, version, reached.source)

    async def _start(self, query: Query, asked_at: float) -> QueryContext | SessionRecord:
        if query.key is None:
            return self._answers.empty_context(asked_at)
        record = await self._registry.readable(query.key, query.receipt)
        if query.snapshot is None:
            return record
        found, state = await self._snapshots.snapshot(query.key, query.snapshot)
        origin = MemorySource("store", time.perf_counter() - asked_at)
        return self._answers.query_context(asked_at, state, found.info.version, origin)

    async def _begin(self, admitted: AdmittedQuery) -> list[Answering]:
        query, context = admitted.query, await self.memory_for_query(admitted)
        if query.earlier:
            context = await self._answers.extend_context(context, query.earlier, query.tenant)
        return await self._answers.answer(context, admitted.prompts, query.questions, query.tenant)

    async def _remember(self, query: Query, question: Question, answer: Answer) -> None:
        if query.remember and query.key is not None:
            text = f"\n{question.text}\n{answer.text}\n"
            await self._uploads.append(query.key, None, _once(text))

    def _not_read(self, record: SessionRecord, min_offset: int) -> errors.Refusal:
        if record.accepted_bytes < min_offset:
            return errors.OffsetMismatch(
                f"the question waited for text up to offset {min_offset}; the text ends at "
                f"{record.accepted_bytes}: send the rest first",
                expected_offset=record.accepted_bytes,
            )
        read_bytes = self._registry.view(record).read_bytes
        return errors.ReadingBehind(
            f"{read_bytes} of {record.accepted_bytes} bytes were read within "
            f"{self._settings.answer_wait_seconds:g} seconds; ask again after the seconds in Retry-After, or append "
            "with ?wait=read, which answers once the text has been read",
            read_bytes=read_bytes,
            accepted_bytes=record.accepted_bytes,
        )


def _must_be_bounded(question: Question, settings: Settings) -> None:
    if not question.text.strip():
        raise errors.InvalidField("the question is empty; write it out", param=question.param)
    if len(question.text) > settings.question_characters:
        raise errors.InvalidField(
            f"the question has {len(question.text)} characters, more than {settings.question_characters}; shorten it",
            param=question.param,
        )
    if question.tokens_max > settings.answer_tokens_max:
        raise errors.InvalidField(f"max_tokens is over {settings.answer_tokens_max}; lower it", param="max_tokens")


async def _finished(parts: Answering) -> Answer:
    async for part in parts:
        if isinstance(part, Answer):
            return part
    raise RuntimeError("an answer ended without its last part")


async def _once(text: str) -> AsyncIterator[Passage]:
    yield Passage(text.encode())
