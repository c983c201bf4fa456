"""The backlog's running sums are those of the sessions, whatever happened to them."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.checkpoint import Checkpoint
from model.memory import MemoryState
from server.engine.fair_queue import has_room
from server.ingest.backlog import TOKEN_BYTES, Backlog
from server.ingest.session_progress import Progress, ReadState
from server.store.text_hash import EMPTY_CHAIN

COUNTS = st.integers(0, 1000)


def read_to(offset: int, tokens: int) -> ReadState:
    return ReadState(Checkpoint(cast(MemoryState, None), (), b"", offset, tokens, 0), EMPTY_CHAIN)


PROGRESS = st.builds(
    Progress,
    lineage=st.just("1"),
    accepted_bytes=COUNTS,
    read=st.none() | st.builds(read_to, COUNTS, COUNTS),
    stored_bytes=COUNTS,
    engine_bytes=COUNTS,
)
SESSIONS = st.tuples(st.sampled_from("abc"), st.integers(0, 3))


@given(st.lists(st.tuples(SESSIONS, st.none() | PROGRESS)), COUNTS)
def test_the_running_sums_equal_the_sums_over_all_sessions(
    changes: list[tuple[tuple[str, int], Progress | None]], limit: int
) -> None:
    backlog, sessions = Backlog(), dict[tuple[str, int], Progress]()
    for session, after in changes:
        if (before := sessions.pop(session, None)) is not None:
            backlog.remove(session[0], before)
        if after is not None:
            sessions[session] = after
            backlog.add(session[0], after)
    unread = Counter[str]()
    for (tenant, _), progress in sessions.items():
        unread[tenant] += progress.unread_bytes
    assert backlog.unread_bytes == sum(unread.values())
    assert {tenant: backlog.has_room(tenant, limit) for tenant in "abc"} == {
        tenant: has_room(limit, +unread, tenant) for tenant in "abc"
    }
    tokens = sum(progress.tokens for progress in sessions.values())
    token_bytes = sum(progress.offset for progress in sessions.values()) / tokens if tokens else TOKEN_BYTES
    if token_bytes:
        waiting_bytes = sum(progress.waiting_bytes for progress in sessions.values())
        assert backlog.waiting_tokens == pytest.approx(waiting_bytes / token_bytes)
