"""Network partitions under load: the master is isolated with some of the clients, and a replica is promoted.

During the partition there are two masters, each with clients that write; when it heals, the old master discards what
was never replicated.
"""

from __future__ import annotations

import asyncio
import random
import time
from functools import partial
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from reliability.check import Check, Counts, Tick
from reliability.sqlite.power import MEMORY
from reliability.stores.crowd import Crowd
from reliability.stores.failover import CONFIRMED, PACE_SECONDS, SETTLED_SECONDS, Losses, follows, go_through, settled
from reliability.stores.network import Network
from reliability.stores.process import StoreProcess
from server.store.base import Store
from server.store.open import StoreOptions
from testing.redis_binaries import BINARIES, available
from testing.redis_groups import Sentinels
from testing.redis_servers import Place, until

SERVERS = 3
CUT_SECONDS_MAX = 2.0
CUTS_IN_LIFE = 10
CONTROL_CUTS_MAX = 4


def cut_off(group: Sentinels, network: Network, near: Place, seconds: float) -> None:
    """Isolates the master, its sentinel and the client at `near`; returns when it is a replica of a new master."""
    old = group.master()
    network.part(old.place, near)
    new = group.successor(old, old.place)
    # Until then the other replica would still confirm writes of the old master once it is back.
    [other] = (server for server in group.servers if server not in (old, new))
    until(lambda: follows(other, new), f"{other} follows {new}")
    time.sleep(seconds)
    network.heal()
    until(lambda: settled(group), "the old master follows the new one", SETTLED_SECONDS)
    group.master()


async def life(kind: str, cuts: int, seed: str, durability: str, counts: Counts, tick: Tick) -> None:
    """So many partitions of one group, or until something is lost."""
    dice = random.Random(seed)
    settings: dict[str, Any] = CONFIRMED if durability == "fsync+replica" else {}
    with (
        TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        Network(SERVERS + 2) as network,
        Sentinels(
            kind, Path(folder), places=network.places[:SERVERS], down_after_milliseconds=500, **settings
        ) as group,
    ):
        *_, near, far = network.places
        options = StoreOptions(durability, Path(folder) / "keys")
        stores = [StoreProcess(group.url, options, place.through) for place in (near, far)]
        try:
            for store in stores:
                await store.start()
            crowd = Crowd(cast(Store, stores[0]), seed, PACE_SECONDS, elsewhere=cast(Store, stores[1]))
            losses = Losses(crowd)
            for number in range(cuts):
                if counts.violations:
                    break
                cut = partial(cut_off, group, network, near, dice.uniform(0, CUT_SECONDS_MAX))
                for wrong in await go_through(crowd, losses, cut, dice):
                    counts.wrong(f"{seed}, cut {number} of Sentinels on {kind}: {wrong}")
                counts.cases += 1
                counts.add(f"cuts of {kind}")
                tick(1)
        finally:
            for store in stores:
                await store.kill()
    for name, amount in crowd.acknowledged.items():
        counts.add(f"acknowledged {name}", amount)
    counts.add("losses found by receipts", len(losses.found))
    counts.add("writes refused or in doubt", crowd.in_doubt)
    counts.add("answers by a master that was", len(crowd.surprises))


async def lives(cases: int, seed: int, tick: Tick) -> Counts:
    counts = Counts()
    for number, kind in enumerate(cycle(filter(available, BINARIES))):
        if counts.cases == cases or counts.violations:
            break
        cuts = min(CUTS_IN_LIFE, cases - counts.cases)
        await life(kind, cuts, f"{seed} {number}", "fsync+replica", counts, tick)
    return counts


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(lives(cases, seed, tick))


def control(seed: int) -> Counts:
    """Without confirmation by a replica, text acknowledged by the isolated master must be found lost."""
    counts = Counts()
    kind = next(filter(available, BINARIES))
    asyncio.run(life(kind, CONTROL_CUTS_MAX, f"{seed} control", "fsync", counts, lambda cases: None))
    return counts


CHECK = Check(
    name="partition",
    what="partitions of Sentinel, with clients on both sides",
    gate_cases=1,
    long_cases=200,
    run=run,
    control=control,
)
