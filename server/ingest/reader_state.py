"""The states of a session's reader, and every transition between them, in one table.

Everything that decides which transitions there are is in this file, as in h11's `_state.py`. The way through it:

    STOPPED → QUEUED → ACQUIRING → RESTORING → READING → IDLE → HANDING_OVER → STOPPED
                ↑           ↓                     ↓        ↓          ↓
                └── WAITING_FOR_LEASE             └────────┴──────────┴──→ QUEUED again, for more text

Whatever needs the store may fail: an outage is WAITING_FOR_STORE, anything else is FAILED. Where a full store does not
take the memory, HANDING_OVER goes back to IDLE, which tries again. FAILED and DROPPED are
final: the reader has left the registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """What a reader does now."""

    STOPPED = "no task and no lease; the memory may stay in the cache"
    QUEUED = "waits for a place among the sessions that are read at the same time"
    ACQUIRING = "takes the lease"
    RESTORING = "loads the newest checkpoint"
    READING = "reads text for one time slice"
    IDLE = "has read all text, holds the lease and waits for more"
    HANDING_OVER = "stores the memory and releases the lease"
    WAITING_FOR_LEASE = "has asked the replica that holds the lease, and waits before it tries again"
    WAITING_FOR_STORE = "no task: the store could not be used; the next wake-up or a timer tries again"
    FAILED = "ended with an error"
    DROPPED = "ended from outside: deleted, replaced or evicted"


# A place among the sessions that are read at the same time is held in these, from QUEUED on.
WITH_PLACE = frozenset({State.ACQUIRING, State.RESTORING, State.READING})
# In these a task is at work. It may be cancelled in any of them, and a defect may end it in any of them.
RUNNING = WITH_PLACE | {State.QUEUED, State.IDLE, State.HANDING_OVER, State.WAITING_FOR_LEASE}

_STEPS: Mapping[State, frozenset[State]] = {
    State.STOPPED: frozenset({State.QUEUED, State.DROPPED}),
    State.QUEUED: frozenset({State.ACQUIRING, State.READING, State.HANDING_OVER}),
    State.ACQUIRING: frozenset(
        {State.RESTORING, State.READING, State.WAITING_FOR_LEASE, State.STOPPED, State.WAITING_FOR_STORE}
    ),
    State.RESTORING: frozenset({State.READING, State.WAITING_FOR_STORE}),
    State.READING: frozenset({State.QUEUED, State.IDLE, State.HANDING_OVER, State.WAITING_FOR_STORE}),
    State.IDLE: frozenset({State.QUEUED, State.HANDING_OVER}),
    State.HANDING_OVER: frozenset({State.QUEUED, State.IDLE, State.STOPPED, State.WAITING_FOR_STORE}),
    State.WAITING_FOR_LEASE: frozenset({State.QUEUED, State.STOPPED}),
    State.WAITING_FOR_STORE: frozenset({State.QUEUED, State.DROPPED}),
    State.FAILED: frozenset(),
    State.DROPPED: frozenset(),
}
TRANSITIONS: Mapping[State, frozenset[State]] = {
    state: after | {State.FAILED, State.DROPPED} if state in RUNNING else after for state, after in _STEPS.items()
}


class IllegalTransition(RuntimeError):
    """A defect: the table has no such transition."""


def transition(before: State, after: State) -> State:
    """`after`, where the table allows it; raises `IllegalTransition`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"a session's reader cannot go from {before.name} to {after.name}")
    return after
