"""How accepted text becomes memory: bytes to tokens, whole segments to the engine, the rest into the tail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

from model.checkpoint import Advance, Checkpoint
from model.weights import LoadedModel
from server.engine.engine import Engine, StepFailed
from server.ingest.errors import ReadingFailed
from server.ingest.session_progress import ReadState
from server.observability.metrics import Metrics
from server.store.base import Mark
from server.store.text_hash import extended

JOURNAL_BYTES = 256 * 1024
# What the engine is given at once for one session, some 64 segments of English: long enough that the time between
# two steps does not count, short enough that little is read again after a shutdown.
READ_STEP_BYTES = 16 * 1024


class TextReader:
    """One for all sessions: it keeps nothing of them."""

    def __init__(self, engine: Engine, loaded: LoadedModel, metrics: Metrics) -> None:
        self._engine = engine
        self._loaded = loaded
        self._metrics = metrics

    async def read(self, before: ReadState, data: bytes, tenant: str, document: str | None = None) -> ReadState | None:
        """The state once it has read `data` too; None where the engine stops before it has.

        With `document`, the document of this name begins with the data, or goes on. Raises `ReadingFailed` where the
        model fails at this text.
        """
        state, chain = before
        advance, chain = await asyncio.to_thread(self._advance, state, data, chain, document)
        try:
            result = await self._engine.read(state.memory, advance.segments, tenant)
        except StepFailed as error:
            raise ReadingFailed(f"the model failed at the text behind offset {state.offset}") from error
        if result.segments < len(advance.segments):
            return None
        self._metrics.read_tokens.inc(advance.after.tokens - state.tokens)
        return ReadState(advance.finish(result.memory), chain)

    def _advance(self, state: Checkpoint, data: bytes, chain: str, document: str | None) -> tuple[Advance, str]:
        tokenizer, segment_tokens = self._loaded.tokenizer, self._loaded.model.config.segment_tokens
        before = Advance([], state)
        if document is not None:
            fill = self._loaded.model.document_fill
            ids = [] if fill is None else tokenizer.finish(state.pending)
            before = state.begin(document, ids, segment_tokens, fill)
        ids, pending = tokenizer.advance(before.after.pending, data)
        advance = before.after.advance(ids, pending, len(data), segment_tokens)
        return Advance([*before.segments, *advance.segments], advance.after), extended(chain, data)


def steps(data: bytes, offset: int, marks: Sequence[Mark]) -> Iterator[tuple[bytes, str | None]]:
    """The text `data`, which begins at `offset`, in parts of at most READ_STEP_BYTES, cut where documents begin.

    With each part comes the name of the document that begins with it, or None.
    """
    names = {mark.offset - offset: mark.name for mark in marks}
    cuts = sorted({*range(0, len(data), READ_STEP_BYTES), *(at for at in names if 0 < at < len(data)), len(data)})
    for begin, end in pairwise(cuts):
        yield data[begin:end], names.get(begin)
