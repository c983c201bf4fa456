"""How accepted text becomes memory: bytes to tokens, whole segments to the engine, the rest into the tail."""

from __future__ import annotations

import asyncio

from model.weights import LoadedModel
from server.engine.engine import Engine, StepFailed
from server.ingest.errors import ReadingFailed
from server.ingest.session_progress import ReadState
from server.observability.metrics import Metrics
from server.store.text_hash import extended


class TextReader:
    """One for all sessions: it keeps nothing of them."""

    def __init__(self, engine: Engine, loaded: LoadedModel, metrics: Metrics) -> None:
        self._engine = engine
        self._loaded = loaded
        self._metrics = metrics

    async def read(self, before: ReadState, data: bytes, tenant: str) -> ReadState | None:
        """The state once it has read `data` too; None where the engine stops before it has.

        Raises `ReadingFailed` where the model fails at this text.
        """
        state, chain = before
        (ids, pending), chain = await asyncio.to_thread(self._advance, state.pending, data, chain)
        advance = state.advance(ids, pending, len(data), self._loaded.model.config.segment_tokens)
        try:
            result = await self._engine.read(state.memory, advance.segments, tenant)
        except StepFailed as error:
            raise ReadingFailed(f"the model failed at the text behind offset {state.offset}") from error
        if result.segments < len(advance.segments):
            return None
        self._metrics.read_tokens.inc(len(ids))
        return ReadState(advance.finish(result.memory), chain)

    def _advance(self, pending: bytes, data: bytes, chain: str) -> tuple[tuple[list[int], bytes], str]:
        return self._loaded.tokenizer.advance(pending, data), extended(chain, data)
