"""What the asynchronous client does in another way than by `await`, each beside its synchronous counterpart.

`tools/generate_sync.py` replaces a name with `async_` or `Async` in front by the name without.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeAlias, TypeVar

import anyio
from anyio import to_thread

T = TypeVar("T")

AsyncCallback: TypeAlias = Callable[[T], Awaitable[None] | None]
Callback: TypeAlias = Callable[[T], None]

async_sleep = anyio.sleep
sleep = time.sleep


async def async_notify(callback: AsyncCallback[T], value: T) -> None:
    """Calls `callback`, which may be a coroutine function."""
    if isawaitable(waiting := callback(value)):
        await waiting


def notify(callback: Callback[T], value: T) -> None:
    callback(value)


async def async_call(blocking: Callable[[], T]) -> T:
    """The result of a function that blocks, for instance on a file; it runs in a thread."""
    return await to_thread.run_sync(blocking)


def call(blocking: Callable[[], T]) -> T:
    return blocking()
