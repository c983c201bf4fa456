"""`python -m reliability.parts.leaking`: the store's process, which frees no part while its session exists."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from unittest import mock

from reliability.stores.process import serve
from server.store import sharing
from server.store.parts import Pool, Root, StoredPart


def nothing(before: Iterable[Root], after: Iterable[Root], pool: Pool) -> list[StoredPart]:
    return []


if __name__ == "__main__":
    with mock.patch.object(sharing, "freed", nothing):
        asyncio.run(serve())
