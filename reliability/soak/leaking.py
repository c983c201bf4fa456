"""`python -m reliability.soak.leaking`: the server with leaks, for the control."""

from __future__ import annotations

import hashlib
import socket
import sys
from typing import Any

from server.__main__ import main
from server.store.base import SessionKey, SessionRecord
from server.store.redis import RedisStore, client

# About the size of a memory.
LEAKED_BYTES = 4 << 20
_ALL_FORGOTTEN = "remove_from(4)"


def leak_memory() -> None:
    """Leaks some memory at each append."""
    append = RedisStore.append
    leaked: list[bytes] = []

    async def leaking(self: RedisStore, *arguments: Any, **options: Any) -> Any:
        leaked.append(b"?" * LEAKED_BYTES)
        return await append(self, *arguments, **options)

    RedisStore.append = leaking  # type: ignore[method-assign]


def leak_sockets() -> None:
    """Leaks a socket at each get."""
    get = RedisStore.get
    leaked: list[socket.socket] = []

    async def leaking(self: RedisStore, key: SessionKey) -> SessionRecord:
        leaked.append(socket.socket())
        return await get(self, key)

    RedisStore.get = leaking  # type: ignore[method-assign]


def leak_keys() -> None:
    """Leaves all keys of a deleted session but its record."""
    text = client.SCRIPTS["forget"]
    assert _ALL_FORGOTTEN in text, "the script has changed: adapt this leak"
    text = text.replace(_ALL_FORGOTTEN, "")
    client.SCRIPTS["forget"] = text
    client._DIGESTS["forget"] = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    leak_memory()
    leak_sockets()
    leak_keys()
    sys.exit(main())
