"""Host memory per session, for a resident session and for one that was evicted to the store.

It is the growth of the server process (VmRSS), including what allocators keep for later.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.client import served
from benchmarks.many_sessions import await_stored, gauge, open_sessions
from benchmarks.plan import Plan
from benchmarks.report import Figure, Section

NAME = "host_memory"
CLAIM = "growth of the server process per resident session, and per session that was evicted to the store"
# Sessions before the first sample, so that one-time allocations are not counted.
WARM_UP = 32
PARTS = ("none", "half", "all")


def measure(plan: Plan) -> Section:
    """The same sessions on two servers: one keeps all of them resident, the other only the warm-up's."""
    memory_bytes = plan.loaded.model.initial_memory(1).nbytes
    all_bytes, few_bytes = (WARM_UP + 2 * plan.sizes.open_sessions) * memory_bytes, WARM_UP * memory_bytes
    return Section(
        NAME,
        CLAIM,
        (
            Figure("sessions_count", plan.sizes.open_sessions),
            Figure("memory_of_a_session_bytes", memory_bytes),
            *_grown(plan, "resident", all_bytes),
            *_grown(plan, "stored", few_bytes),
        ),
    )


def _grown(plan: Plan, name: str, resident_bytes: int) -> list[Figure]:
    """The size of the process with none, half and all of the sessions, and the growth per session in between."""
    half = plan.sizes.open_sessions // 2
    with served(plan, resident_bytes=str(max(resident_bytes, 1 << 16))) as (server, client):
        held = []
        for part, count in (("warm-up", WARM_UP), ("first", half), ("second", half)):
            open_sessions(client, [f"{part}-{number}" for number in range(count)])
            await_stored(server)
            held.append(resident_set_bytes(server.pid))
        left = gauge(server, "onceread_sessions")
    return [
        Figure(f"{name}_sessions_in_memory_count", left),
        *(Figure(f"{name}_process_{part}_bytes", size) for part, size in zip(PARTS, held, strict=True)),
        Figure(f"{name}_first_half_per_session_bytes", (held[1] - held[0]) / half),
        Figure(f"{name}_second_half_per_session_bytes", (held[2] - held[1]) / half),
    ]


def resident_set_bytes(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    (found,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(found.split()[1]) * 1024
