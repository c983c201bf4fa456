"""`python -m reliability.replicas.unguarded GUARD`: the server without a guard, which the controls must detect."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from typing import Any

from server.__main__ import main
from server.store import rules
from server.store.redis import client
from server.store.redis.leases import Leases

LATER_SECONDS = 0.05
_LEASE_COMPARED = "if lease[1] ~= ARGV[3] or lease[2] ~= ARGV[4] then"


def hasty() -> None:
    """Acknowledges an append before it is sent to Redis."""
    change = client.Link.change
    running: set[asyncio.Task[None]] = set()

    async def later(*arguments: Any, **options: Any) -> None:
        await asyncio.sleep(LATER_SECONDS)
        await change(*arguments, **options)

    async def at_once(self: client.Link, script: str, *arguments: Any, **options: Any) -> Any:
        if script != "append":
            return await change(self, script, *arguments, **options)
        running.add(task := asyncio.create_task(later(self, script, *arguments, **options)))
        task.add_done_callback(running.discard)
        return 1

    client.Link.change = at_once  # type: ignore[method-assign]


def unfenced() -> None:
    """Keeps any checkpoint: neither its lease nor its version is checked."""
    text = client.SCRIPTS["checkpoint"]
    assert _LEASE_COMPARED in text, "the script compares the lease in another way"
    text = text.replace(_LEASE_COMPARED, "if false then")
    client.SCRIPTS["checkpoint"] = text
    client._DIGESTS["checkpoint"] = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def is_held(*_: object) -> bool:
        return True

    async def renew(*_: object) -> None:
        pass

    Leases.is_held, Leases.renew = is_held, renew  # type: ignore[method-assign, assignment]
    rules.check_follows = lambda record, checkpoint: None


if __name__ == "__main__":
    {"durable": hasty, "fenced": unfenced}[sys.argv.pop()]()
    sys.exit(main())
