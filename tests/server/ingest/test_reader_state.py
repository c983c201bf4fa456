"""The table of transitions is what the readers do: every transition in it is taken, and no other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from unittest import mock

import pytest

from model.tokenizer import TextTokenizer
from reliability.simulated.check import CHECK
from server.ingest import session_reader
from server.ingest.reader_state import RUNNING, TRANSITIONS, IllegalTransition, State, transition
from server.store.base import SessionKey
from server.store.errors import DamagedValue
from server.store.in_memory import MemoryStore
from tests.server.ingest.running import running_readers, with_text

TABLE = {(before, after) for before, afters in TRANSITIONS.items() for after in afters}
SCHEDULES, SEEDS = 200, 20
# What needs more sessions than places, or a defect: the simulated replicas have neither.
SCRIPTED = {
    (State.QUEUED, State.DROPPED),
    (State.QUEUED, State.HANDING_OVER),
    *((state, State.FAILED) for state in RUNNING),
}
KEY, OTHER = SessionKey("a", "book"), SessionKey("a", "other")

Seen = set[tuple[State, State]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    """The transitions that readers took during a test."""
    taken: Seen = set()

    def recorded(before: State, after: State) -> State:
        taken.add((before, after))
        return transition(before, after)

    with mock.patch.object(session_reader, "transition", recorded):
        yield taken


def test_every_state_with_a_task_has_its_method() -> None:
    assert session_reader.WORK.keys() == RUNNING


def test_a_transition_that_the_table_does_not_have_is_refused() -> None:
    for before in State:
        for after in State:
            if (before, after) in TABLE:
                assert transition(before, after) is after
            else:
                with pytest.raises(IllegalTransition, match=f"from {before.name} to {after.name}"):
                    transition(before, after)


def test_simulated_replicas_take_every_transition_of_the_table_and_no_other(seen: Seen) -> None:
    for seed in range(SEEDS):
        # A transition that the table does not have is logged as an error, and so is a violation.
        assert CHECK.run(SCHEDULES, seed, lambda cases: None).violations == []
        if seen >= TABLE - SCRIPTED:
            break
    assert TABLE - SCRIPTED - seen == set()


class Obstructed(MemoryStore):
    """A store whose journal answers when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.open = asyncio.Event(), asyncio.Event()

    async def journal(self, key: SessionKey, offset: int, limit: int) -> bytes:
        self.reading.set()
        await self.open.wait()
        return await super().journal(key, offset, limit)


@pytest.mark.anyio
async def test_a_session_queued_for_reading_can_be_dropped_or_ended_by_shutdown(
    seen: Seen, tokenizer: TextTokenizer
) -> None:
    store = Obstructed()
    async with running_readers(store, tokenizer, reading_sessions_max=1) as readers, asyncio.timeout(30):
        readers.wake(await with_text(store, KEY))
        await store.reading.wait()
        queued = await with_text(store, OTHER)
        await readers.forget(readers.wake(queued))
        assert (State.QUEUED, State.DROPPED) in seen
        reader = readers.wake(queued)
        closed = asyncio.ensure_future(readers.close())
        asyncio.get_running_loop().call_soon(store.open.set)
        await closed
        assert not reader.running
    assert (State.QUEUED, State.HANDING_OVER) in seen


@pytest.mark.anyio
@pytest.mark.parametrize("state", list(session_reader.WORK))
async def test_a_defect_in_any_state_fails_the_session_and_wakes_those_who_wait(
    state: State, seen: Seen, tokenizer: TextTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    defect = ZeroDivisionError("a defect")
    async with running_readers(store, tokenizer) as readers, asyncio.timeout(30):
        record = await with_text(store, KEY)
        if state is State.WAITING_FOR_LEASE:
            await store.lease(KEY, "another", 60.0)
        with (
            mock.patch.dict(session_reader.WORK, {state: mock.AsyncMock(side_effect=defect)}),
            caplog.at_level(logging.ERROR),
        ):
            reader = readers.wake(record)
            await reader.ended()
        assert (reader.state, reader.failure) == (State.FAILED, defect)
        assert (state, State.FAILED) in seen
        assert "reading session 'book' failed" in caplog.text
        assert readers.find(KEY) is None, "the next wake-up begins anew"


@pytest.mark.anyio
async def test_a_failure_of_the_failure_handling_fails_the_session_too(
    tokenizer: TextTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    async with running_readers(store, tokenizer) as readers, asyncio.timeout(30):
        record = await with_text(store, KEY)
        with (
            mock.patch.object(store, "journal", side_effect=DamagedValue("the text")),
            mock.patch.object(store, "quarantine", side_effect=ZeroDivisionError("a defect")),
            pytest.raises(DamagedValue),
        ):
            await readers.reach(record)
        assert "a reader failed where it handled a failure" in caplog.text
        assert readers.resident == 0
