"""Counts and offsets that belong into the log line and the trace of the request that is being served."""

from __future__ import annotations

from opentelemetry import trace

from server.observability.logs import request_state

NOTED = "noted"


def note(**counts: int) -> None:
    """Adds counts to the current request's log line and span; outside a request it does nothing. Never text."""
    state = request_state.get()
    if state is not None and NOTED in state:
        state[NOTED].update(counts)
        trace.get_current_span().set_attributes({f"onceread.{name}": count for name, count in counts.items()})
