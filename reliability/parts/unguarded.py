"""`python -m reliability.parts.unguarded`: the store's process, whose parts are freed although forks have them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from reliability.stores.process import serve
from server.store import sharing
from server.store.manifest import Manifest
from server.store.parts import Root

settled = sharing.settled


def forgetful(
    manifest: Manifest, before: Iterable[Root], memories: Sequence[Root], lent: Sequence[Root | None]
) -> sharing.Settled:
    """Does not look at loans."""
    return settled(manifest, before, memories, ())


if __name__ == "__main__":
    sharing.settled = forgetful
    asyncio.run(serve())
