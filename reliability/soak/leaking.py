"""`python -m reliability.soak.leaking`: the server, keeping what it should let go of, for the control.

It knows the one place of each leak, and nothing of who looks for them.
"""

from __future__ import annotations

import hashlib
import socket
import sys
from typing import Any

from server.__main__ import main
from server.store.base import SessionKey, SessionRecord
from server.store.redis import RedisStore, client

# The memory of a model of some size.
KEPT_BYTES = 4 << 20
_ALL_FORGOTTEN = "for i = 3, #KEYS do"


def keep_of_every_append() -> None:
    """As much as a memory."""
    append = RedisStore.append
    kept: list[bytes] = []

    async def keeping(self: RedisStore, *arguments: Any, **options: Any) -> Any:
        kept.append(b"?" * KEPT_BYTES)
        return await append(self, *arguments, **options)

    RedisStore.append = keeping  # type: ignore[method-assign]


def keep_of_every_look() -> None:
    """A socket."""
    get = RedisStore.get
    kept: list[socket.socket] = []

    async def keeping(self: RedisStore, key: SessionKey) -> SessionRecord:
        kept.append(socket.socket())
        return await get(self, key)

    RedisStore.get = keeping  # type: ignore[method-assign]


def keep_of_every_session() -> None:
    """All of its keys but the record, when it is deleted."""
    text = client.SCRIPTS["forget"]
    assert _ALL_FORGOTTEN in text, "the script forgets in other words now"
    text = text.replace(_ALL_FORGOTTEN, "for i = 1, 0 do")
    client.SCRIPTS["forget"] = text
    client._DIGESTS["forget"] = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    keep_of_every_append()
    keep_of_every_look()
    keep_of_every_session()
    sys.exit(main())
