"""A store in a process of its own, called over a pipe, so that it can be killed or run in another network namespace.

When the process ends, pending calls raise `StoreUnavailable`.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any

from server.store.base import StoreError, StoreUnavailable
from server.store.open import StoreOptions, open_store

HEAD_BYTES = 4


class StoreProcess:
    """A proxy of every method of the store in the process; after `kill`, `start` starts another process.

    `module` is the process's program, by default this one.
    """

    def __init__(
        self,
        url: str,
        options: StoreOptions | None = None,
        through: tuple[str, ...] = (),
        module: str = __name__,
    ) -> None:
        self._url, self._options, self._through, self._module = url, options, through, module
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._listener: asyncio.Task[None] | None = None
        self._there = False

    async def start(self) -> None:
        """Returns when the process has opened the store."""
        self._process = await asyncio.create_subprocess_exec(
            *(*self._through, sys.executable, "-m", self._module),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self._process.stdin is not None
        self._process.stdin.write(packed((self._url, self._options)))
        opened = self._waiting[0] = asyncio.get_running_loop().create_future()
        self._listener = asyncio.create_task(self._listen(self._process.stdout))
        await opened
        self._there = True

    async def kill(self) -> None:
        assert self._process is not None
        assert self._listener is not None
        self._there = False
        self._process.kill()
        await self._process.wait()
        await self._listener
        assert self._process.stdin is not None
        self._process.stdin.close()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._ask, name)

    async def _ask(self, name: str, *arguments: Any, **named: Any) -> Any:
        if not self._there:
            raise StoreUnavailable("the store's process is not running")
        assert self._process is not None
        assert self._process.stdin is not None
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._process.stdin.write(packed((number, name, arguments, named)))
        return await answer

    async def _listen(self, answers: asyncio.StreamReader | None) -> None:
        assert answers is not None
        while (message := await received(answers)) is not None:
            number, answer = message
            give(self._waiting.pop(number), answer)
        for future in self._waiting.values():
            give(future, StoreUnavailable("the store's process ended before it answered"))
        self._waiting.clear()


def give(future: asyncio.Future[Any], answer: object) -> None:
    """Resolves the future, unless the call was cancelled."""
    if future.done():
        return
    if isinstance(answer, StoreError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def packed(message: object) -> bytes:
    body = pickle.dumps(message)
    return len(body).to_bytes(HEAD_BYTES, "big") + body


async def received(stream: asyncio.StreamReader) -> Any:
    """The next message, or None at the end of the stream; a truncated message counts as the end."""
    try:
        return pickle.loads(await stream.readexactly(int.from_bytes(await stream.readexactly(HEAD_BYTES), "big")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def serve() -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin.buffer)
    store = await open_store(*await received(asked))

    def answer(number: int, what: object) -> None:
        sys.stdout.buffer.write(packed((number, what)))
        sys.stdout.buffer.flush()

    async def work(number: int, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        try:
            answer(number, await getattr(store, name)(*arguments, **named))
        except StoreError as refusal:
            answer(number, refusal)

    answer(0, None)
    tasks = set[asyncio.Task[None]]()
    while (message := await received(asked)) is not None:
        tasks.add(task := asyncio.create_task(work(*message)))
        task.add_done_callback(tasks.discard)
    await store.close()


if __name__ == "__main__":
    asyncio.run(serve())
