"""How long a sweep of the embedded store occupies its writer thread while many sessions are idle.

`python -m benchmarks.sweep [SESSIONS]` prints it. Every replica sweeps each 5 s (`ONCEREAD_SWEEP_SECONDS`).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from tqdm import tqdm

from server.store.base import SessionKey, SessionRecord
from server.store.sqlite import SqliteStore

SESSIONS = 100_000
TOGETHER = 1000
ROUNDS = 9
SWEEP_SECONDS = 5.0
# Far from now: no session expires while it is measured.
END_OF_LIFE = 1e12


async def main(sessions: int) -> None:
    with TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder))
        for first in tqdm(range(0, sessions, TOGETHER), desc="sessions made", unit_scale=TOGETHER, leave=False):
            await asyncio.gather(*(store.create(_record(n)) for n in range(first, min(first + TOGETHER, sessions))))
        work: dict[str, Callable[[], Awaitable[object]]] = {
            "expire": lambda: store.expire(1e9),
            "unread": lambda: store.unread(64),
            "stored_bytes of a tenant with all of them": lambda: store.stored_bytes("acme"),
        }
        for name, operation in work.items():
            wall, processor = zip(*[await _seconds(operation) for _ in range(ROUNDS)], strict=True)
            print(
                f"{name}: {1e3 * median(wall):.2f} ms, {1e3 * median(processor):.2f} ms of the processor, "
                f"{100 * median(wall) / SWEEP_SECONDS:.2f} % of a sweep's {SWEEP_SECONDS:g} s, {sessions} idle sessions"
            )
        await store.close()
        began = perf_counter()
        await (await SqliteStore.open(Path(folder))).close()
        print(f"opened and closed: {perf_counter() - began:.2f} s")


def _record(number: int) -> SessionRecord:
    metadata = {"title": f"Book {number}"}
    return SessionRecord(
        SessionKey("acme", f"sess_{number:024}"),
        1.0,
        1.0,
        "default",
        "f" * 64,
        metadata,
        ttl_seconds=END_OF_LIFE,
        expires_at=END_OF_LIFE,
    )


async def _seconds(operation: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    wall, processor = perf_counter(), process_time()
    await operation()
    return perf_counter() - wall, process_time() - processor


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS))
