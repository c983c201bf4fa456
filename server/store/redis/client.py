"""The client of Redis: pipelines over one connection, and scripts that change one session.

Commands that only read are retried. A script is sent once, because it may have run although its answer was lost.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from redis.exceptions import (
    AskError,
    AuthenticationError,
    MovedError,
    NoScriptError,
    RedisError,
    ResponseError,
)

from server.store.base import StoreUnavailable
from server.store.redis.errors import Unconfirmed, Unfit, Unreachable, explained, points_elsewhere, unreachable
from server.store.redis.requirements import Durability
from server.store.redis.topology import Topology

Result = TypeVar("Result")

Command = Sequence[str | bytes | int]

_PARTS = files("server.store.redis").joinpath("parts.lua").read_text()
SCRIPTS = {
    path.name.removesuffix(".lua"): _PARTS + path.read_text()
    for path in files("server.store.redis").joinpath("scripts").iterdir()
    if path.name.endswith(".lua")
}
_DIGESTS = {name: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for name, text in SCRIPTS.items()}
_HOPS_MAX = 5
# Pauses before a read is repeated whose answer was lost.
PAUSES_SECONDS = (0.05, 0.2, 0.5)


class Link:
    """A client with at most `connections_max` connections in use at a time."""

    def __init__(self, topology: Topology, connections_max: int, durability: Callable[[], Durability]) -> None:
        self._topology, self._durability = topology, durability
        self._free = asyncio.Semaphore(connections_max)

    @property
    def durability(self) -> Durability:
        return self._durability()

    async def ask(self, key: str, *commands: Command) -> list[Any]:
        """The answers to commands that are safe to repeat, in one pipeline to the key's master."""
        answers = await self.ask_all(key, commands)
        for answer in answers:
            if isinstance(answer, Exception):
                raise explained(answer) if isinstance(answer, ResponseError) else answer
        return answers

    async def ask_all(self, key: str, commands: Sequence[Command]) -> list[Any]:
        """The same, with an error of Redis as the answer to its command."""
        for pause_seconds in PAUSES_SECONDS:
            try:
                return await self._exchange(key, commands)
            except Unreachable:
                await asyncio.sleep(pause_seconds)
        return await self._exchange(key, commands)

    async def ask_each(self, commands: Sequence[tuple[str, Command]]) -> list[Any]:
        """The answers to commands that are safe to repeat, each given with its key, in one pipeline to each master."""
        by_node: dict[str, list[int]] = {}
        for number, (key, _) in enumerate(commands):
            by_node.setdefault(await self._known(self._topology.node(key)), []).append(number)
        answers: list[Any] = [None] * len(commands)

        async def ask(numbers: list[int]) -> None:
            found = await self.ask_all(commands[numbers[0]][0], [commands[number][1] for number in numbers])
            for number, answer in zip(numbers, found, strict=True):
                # A slot may have moved: this command alone is redirected.
                answers[number] = (await self.ask(*commands[number]))[0] if isinstance(answer, Exception) else answer

        await asyncio.gather(*map(ask, by_node.values()))
        return answers

    async def scan(self, prefix: str) -> list[str]:
        """All keys that begin with `prefix`, which includes a hash tag."""
        found, cursor = list[str](), b"0"
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", prefix) + "*"
        while True:
            [[cursor, some]] = await self.ask(prefix, ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
            found += [name.decode() for name in some]
            if cursor == b"0":
                return found

    async def change(
        self, script: str, keys: Sequence[str], *arguments: str | bytes | int, durable: bool = True
    ) -> Any:
        """A script's answer, once its writes are as durable as promised; `Unreachable`: it may have run."""
        return await self._confirmed(
            keys[0], ("EVALSHA", _DIGESTS[script], len(keys), *keys, *arguments), SCRIPTS[script], durable
        )

    async def write(self, key: str, command: Command, durable: bool = False) -> Any:
        """The answer to a command that is safe to repeat."""
        for pause_seconds in PAUSES_SECONDS:
            try:
                return await self._confirmed(key, command, None, durable)
            except Unreachable:
                await asyncio.sleep(pause_seconds)
        return await self._confirmed(key, command, None, durable)

    async def masters(self) -> list[str]:
        """One key of each master."""
        return await self._known(self._topology.masters())

    async def close(self) -> None:
        await self._topology.close()

    async def _known(self, found: Awaitable[Result]) -> Result:
        """The topology's answer, with its errors as `Unreachable`."""
        try:
            return await found
        except (RedisError, OSError) as error:
            raise unreachable(error) from error

    async def _confirmed(self, key: str, command: Command, script: str | None, durable: bool) -> Any:
        confirm = [self.durability.confirm] if durable and self.durability.confirm else []
        answer, *confirmed = await self._exchange(key, [command, *confirm])
        if isinstance(answer, NoScriptError) and script is not None:
            # Nothing has run: load the script on this node, and send it again.
            await self._exchange(key, [("SCRIPT", "LOAD", script)])
            answer, *confirmed = await self._exchange(key, [command, *confirm])
        if isinstance(answer, Exception):
            raise explained(answer) if isinstance(answer, ResponseError) else answer
        try:
            for counts in confirmed:
                self._check(counts)
        except Unconfirmed:
            # A master without its replicas may have been replaced.
            await self._topology.refresh()
            raise
        return answer

    def _check(self, counts: Any) -> None:
        if isinstance(counts, Exception):
            raise Unconfirmed(f"the write could not be confirmed ({counts}): send it again")
        found = counts if isinstance(counts, list) else [counts]
        if any(have < need for have, need in zip(found, self.durability.required, strict=True)):
            raise Unconfirmed(
                f"{self.durability.confirm[0]} answered {found}, but {self.durability.name} needs "
                f"{list(self.durability.required)}: check the replicas, then send it again"
            )

    async def _exchange(self, key: str, commands: Sequence[Command]) -> list[Any]:
        """All answers, an error of Redis as its answer; redirected only if the first command was refused."""
        answers: list[Any] = []
        for _ in range(_HOPS_MAX):
            answers = await self._once(key, commands)
            if not isinstance(answers[0], ResponseError) or not points_elsewhere(answers[0]):
                return answers
            await self._topology.refresh()
            if not isinstance(answers[0], MovedError | AskError):
                break
        return answers

    async def _once(self, key: str, commands: Sequence[Command]) -> list[Any]:
        try:
            async with self._free, self._topology.connection(key) as connection:
                return await exchange(connection, commands)
        except (ResponseError, AuthenticationError) as error:
            # Refused during the connection's handshake: a password, a replica, a Redis that loads its data.
            raise explained(error) from error
        except Unfit as error:
            await self._topology.refresh()
            raise StoreUnavailable(str(error)) from error
        except (RedisError, OSError) as error:
            await self._topology.refresh()
            raise unreachable(error) from error


async def exchange(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """All answers in order, an error of Redis as its answer: every one is read, so none is left for the next caller."""
    await connection.send_packed_command(connection.pack_commands(commands))
    return [await _answer(connection) for _ in commands]


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
