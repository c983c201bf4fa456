"""The server's own reader on a store with a damaged value: it reaches the right memory or refuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from model.checkpoint import Checkpoint, EncodedCheckpoint, decode
from model.weights import LoadedModel
from reliability.damage.asking import HANG_SECONDS, Wrong
from reliability.damage.life import FINGERPRINT, Life, model, read_whole, tokenizer
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Scheduler
from server.ingest.errors import MemoryDamaged
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.settings import Settings
from server.store.base import Store, StoreError

# Checkpoints are stored every few segments, and as soon as all text is read.
SETTINGS = Settings(idle_seconds=0.0, checkpoint_segments=4)


class Reader:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._loaded = LoadedModel("tiny", FINGERPRINT, model(), tokenizer())

    async def read(self, store: Store, life: Life, text: bytes) -> bool:
        """True if the session, with this text or a prefix of it, was read right, False if refused; else `Wrong`."""
        readers = SessionReaders(store, self._engine, self._loaded, SETTINGS, Metrics())
        try:
            async with asyncio.timeout(HANG_SECONDS):
                record = await store.get(life.key)
                state = (await readers.reach(record)).read.state
                if (session := readers.find(life.key)) is not None:
                    await session.ended()
                recovery = await store.recover(life.key)
        except (MemoryDamaged, StoreError):
            return False
        except Exception as error:
            raise Wrong(f"the reader fails with {type(error).__name__}: {error}") from error
        finally:
            if (session := readers.find(life.key)) is not None:
                await readers.forget(session)
        if record.accepted_bytes > len(text) or not same(state, serial(life, text[: record.accepted_bytes])):
            raise Wrong(f"the reader reached another memory at {record.accepted_bytes}")
        for stored in recovery.checkpoints:
            kept = decode(EncodedCheckpoint(stored.value), FINGERPRINT, model().initial_memory(1))
            if not same(kept, serial(life, text[: stored.offset])):
                raise Wrong(f"checkpoint {stored.version} holds another memory than reading its text gives")
        return True


def serial(life: Life, text: bytes) -> Checkpoint:
    return life.state_at(len(text)) if life.text.startswith(text) else read_whole(text)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    counted = [(each.tail, each.pending, each.offset, each.tokens, each.segments) for each in (one, other)]
    return one.memory.equals(other.memory) and counted[0] == counted[1]


@contextmanager
def reader() -> Iterator[Reader]:
    """A reader with a running engine. Damage is expected, so its log is discarded."""
    log, silence = logging.getLogger("server"), logging.NullHandler()
    # One segment a step, as in the reference: a small random model's last bits depend on a batch's shape.
    step_tokens = model().config.segment_tokens
    engine = Engine(ModelRunner(model()), Scheduler(step_tokens, 4, step_tokens), 4, observe=lambda step, seconds: None)
    log.addHandler(silence)
    engine.start()
    try:
        yield Reader(engine)
    finally:
        engine.stop()
        log.removeHandler(silence)
