"""How much memory of the host a session takes: one that is at hand, and one whose memory has left for the store.

It is the growth of the server process as the system counts it (VmRSS), with what allocators keep for later.
It does not know what the bytes are used for.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.client import served
from benchmarks.many_sessions import await_stored, gauge, open_sessions
from benchmarks.plan import Plan
from benchmarks.report import Figure, Section

NAME = "host_memory"
CLAIM = "what the server's process grows by for a session at hand, and for one whose memory has left for the store"
# Sessions before the first look, so that what is made once is there by then.
WARM_UP = 32
PARTS = ("none", "half", "all")


def measure(plan: Plan) -> Section:
    """The same sessions on two servers: one keeps all of them at hand, the other only as many as warmed it up."""
    memory_bytes = plan.loaded.model.initial_memory(1).nbytes
    keeping, leaving = (WARM_UP + 2 * plan.sizes.open_sessions) * memory_bytes, WARM_UP * memory_bytes
    return Section(
        NAME,
        CLAIM,
        (
            Figure("sessions_count", plan.sizes.open_sessions),
            Figure("memory_of_a_session_bytes", memory_bytes),
            *_grown(plan, "at_hand", keeping),
            *_grown(plan, "stored", leaving),
        ),
    )


def _grown(plan: Plan, name: str, resident_bytes: int) -> list[Figure]:
    """The process with none of the sessions, with half of them and with all, and the slopes between."""
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
