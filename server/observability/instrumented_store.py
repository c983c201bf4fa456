"""A store under watch: its failures and refusals are counted by operation, its heavier steps are spans of a trace.

It knows the contract's values by their counts, and changes nothing of what the store does.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, cast

from server.observability import tracing
from server.observability.metrics import Metrics
from server.observability.request_notes import note
from server.store.base import (
    Appended,
    DamagedValue,
    Recovery,
    Store,
    StoredCheckpoint,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

SPANS = {"append": "store.append", "recover": "store.load", "checkpoint": "store.checkpoint"}


def watched(store: Store, metrics: Metrics) -> Store:
    """The same store, watched."""
    return cast(Store, _Watched(store, metrics))


class _Watched:
    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        return partial(self._call, name, value) if iscoroutinefunction(value) else value

    async def _call(self, op: str, method: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
        if op not in SPANS:
            return await self._counted(op, method, *arguments, **named)
        with tracing.span(SPANS[op]) as span:
            result = await self._counted(op, method, *arguments, **named)
            for value in (*arguments, result):
                span.set_attributes({f"onceread.{name}": count for name, count in _counts(value).items()})
        if isinstance(result, Appended):
            note(accepted_bytes=result.accepted_bytes)
        return result

    async def _counted(self, op: str, method: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
        try:
            return await method(*arguments, **named)
        except Exception as error:
            # What the contract refuses is an answer; these are none.
            if isinstance(error, StoreUnavailable | StoreFull | DamagedValue) or not isinstance(error, StoreError):
                self._metrics.store_errors.labels(op=op).inc()
            if op == "checkpoint" and isinstance(error, StoreError) and not isinstance(error, StoreUnavailable):
                self._metrics.checkpoints_refused.labels(reason=_snake(type(error).__name__)).inc()
            raise


def _counts(value: Any) -> dict[str, int]:
    match value:
        case Appended():
            return {"accepted_bytes": value.accepted_bytes}
        case StoredCheckpoint():
            return {"offset": value.offset, "version": value.version, "checkpoint_bytes": len(value.value)}
        case Recovery():
            return {"offset": value.record.read_bytes, "accepted_bytes": value.record.accepted_bytes}
        case _:
            return {}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
