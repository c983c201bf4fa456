"""Counts and offsets for the current request's log line and span."""

from __future__ import annotations

from opentelemetry import trace

from server.observability.logs import request_state

NOTED = "noted"


def note(**counts: int) -> None:
    """Adds counts, never text, to the current request's log line and span; outside a request it does nothing."""
    state = request_state.get()
    if state is not None and NOTED in state:
        state[NOTED].update(counts)
        trace.get_current_span().set_attributes({f"onceread.{name}": count for name, count in counts.items()})
