"""How long admission and eviction occupy the event loop while many sessions are resident.

`python -m benchmarks.residents [SESSIONS]` prints it. No server runs: the backlog and the cache are filled with
sessions of 16 tenants that have a memory and unread text, and their operations are timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from types import SimpleNamespace
from typing import cast

from benchmarks.timing import seconds_of
from model.checkpoint import Checkpoint
from model.memory import MemoryState
from server.ingest.backlog import Backlog
from server.ingest.session_cache import SessionCache
from server.ingest.session_progress import Progress, ReadState
from server.store.base import SessionKey

SESSIONS = 4096
TENANTS = 16
MEMORY_BYTES, READ_BYTES, UNREAD_BYTES = 1 << 20, 1000, 1000
ROUNDS = 1000


def main(sessions: int) -> None:
    backlog, cache = Backlog(), SessionCache[SessionKey, Progress](sessions * MEMORY_BYTES, sessions)
    block = SimpleNamespace(nbytes=MEMORY_BYTES)
    memory = cast(MemoryState, SimpleNamespace(nbytes=MEMORY_BYTES, blocks=(block,)))
    read = ReadState(Checkpoint(memory, (), b"", READ_BYTES, READ_BYTES // 4, 2), "")
    progress = Progress("lineage", READ_BYTES + UNREAD_BYTES, read=read)
    for number in range(sessions):
        key = SessionKey(f"tenant-{number % TENANTS}", str(number))
        cache.put(key, progress)
        cache.hold(key, progress.blocks)
        cache.unpin(key)
        backlog.add(key.tenant, progress)

    def change() -> None:
        backlog.remove(key.tenant, progress)
        backlog.add(key.tenant, progress)
        cache.hold(key, progress.blocks)

    work: dict[str, Callable[[], object]] = {
        "admission": lambda: backlog.has_room(key.tenant, 1 << 40),
        "trimming, nothing to evict": cache.trim,
        "the backlog's gauge": lambda: backlog.waiting_tokens,
        "one change of a session": change,
    }
    for name, operation in work.items():
        milliseconds = 1e3 * median(seconds_of(operation) for _ in range(ROUNDS))
        print(f"{name}: {milliseconds:.4f} ms at {sessions} resident sessions")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS)
