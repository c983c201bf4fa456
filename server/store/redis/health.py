"""Checks of Redis: each new connection is checked before use, and the doctor checks every master on request."""

from typing import Any

from server.store.base import StoreUnavailable
from server.store.keyring import Keyring
from server.store.redis.client import Link, exchange
from server.store.redis.errors import Unfit
from server.store.redis.names import SEALED_WITH
from server.store.redis.requirements import QUESTIONS, Durability, Finding, diagnose, facts_from, kept_by


class ConnectionCheck:
    """Checks each new connection: after a failover it may lead to another Redis, or to one with other settings."""

    def __init__(self, durability: Durability, strict: bool = True) -> None:
        self.durability, self._strict = durability, strict

    async def check(self, connection: Any) -> None:
        await connection.on_connect()
        facts = facts_from(await exchange(connection, QUESTIONS))
        self.durability = kept_by(self.durability, facts.version)
        bad = [finding for finding in diagnose(facts, self.durability) if not finding.sound]
        if bad and self._strict:
            raise Unfit(_listed(bad))


class Doctor:
    """Checks every master, and that this server has the seal keys of the store."""

    def __init__(self, link: Link, ring: Keyring) -> None:
        self._link, self.ring = link, ring

    async def examine(self) -> None:
        """`StoreUnavailable` names the checks that failed, and what to change."""
        if bad := [finding for finding in await self.findings() if not finding.sound]:
            raise StoreUnavailable(_listed(bad))

    async def findings(self) -> list[Finding]:
        found: list[Finding] = []
        for master in await self._link.masters():
            answers = await self._link.ask_all(master, QUESTIONS)
            found += diagnose(facts_from(answers), self._link.durability)
        return [*found, await self._keys()]

    async def _keys(self) -> Finding:
        """Whether the store's first seal key is this server's oldest one; a new store records it."""
        mine = self.ring.oldest.hex()
        [first] = await self._link.ask(SEALED_WITH, ("GET", SEALED_WITH))
        if first is None:
            await self._link.write(SEALED_WITH, ("SET", SEALED_WITH, mine, "NX"))
            [first] = await self._link.ask(SEALED_WITH, ("GET", SEALED_WITH))
        name = bytes(first).decode(errors="replace")
        return Finding(
            name == mine,
            f"values sealed with key {name}",
            f"the oldest key of this server's keys file is {mine}: give every server of this store the same keys file",
        )


def _listed(bad: list[Finding]) -> str:
    return "; ".join(f"{finding.what}: {finding.advice}" for finding in bad)
