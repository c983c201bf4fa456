"""Power cuts of Redis: its append-only file is cut to what was synced, plus some of what was not, and Redis restarts.

What was synced is derived from the server's system calls. Rewrites are off, so that no other file can be partial.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from reliability.check import Check, Counts, Tick
from reliability.stores.crowd import Crowd
from server.store.open import StoreOptions, open_store
from testing.redis_binaries import BINARIES, available
from testing.redis_servers import RedisServer

CUTS_IN_LIFE = 5
HEARD_MAX = 40
CONTROL_CUTS = 4
STRACE = "strace -f -y -s 0 -e signal=none -e trace=write,writev,fsync,fdatasync".split()
# strace prints a call that another thread interrupts on two lines: its begin and its end.
_CALL = re.compile(
    r"^(?P<thread>\d+) +(?:(?P<call>\w+)\(\d+<(?P<path>[^>]*)>|<\.\.\. (?P<resumed>\w+) resumed>)"
    r".*?(?:(?P<unfinished><unfinished \.\.\.>)|= (?P<answer>-?\d+).*)$"
)


class Watched:
    """How much of each file a running server has written and synced, by its system calls."""

    def __init__(self, server: RedisServer, log: Path) -> None:
        self._log = log
        self._files = {str(path): path.stat().st_size for path in (server.folder / "appendonlydir").glob("*.aof")}
        self._tracer = subprocess.Popen(
            [*STRACE, "-o", str(log), "-p", str(server.command("INFO", "server")["process_id"])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._tracer.stderr is not None
        assert b"attached" in self._tracer.stderr.readline(), "strace cannot attach"

    def synced_bytes(self) -> dict[Path, int]:
        """The synced length of each file; to be called once, after the server has ended."""
        self._tracer.communicate()
        written, safe = dict(self._files), dict(self._files)
        begun: dict[str, tuple[str, str, int]] = {}
        for match in filter(None, map(_CALL.match, self._log.read_text().splitlines())):
            thread, path = match["thread"], match["path"]
            if path is not None:
                begun[thread] = match["call"], path, written.get(path, 0)
            if match["unfinished"] or thread not in begun:
                continue
            # A sync keeps what was written when it began, not what came while it went on.
            call, path, before = begun.pop(thread)
            if path not in written or match["answer"].startswith("-"):
                continue
            if call in ("write", "writev"):
                written[path] += int(match["answer"])
            else:
                safe[path] = max(safe[path], before)
        return {Path(path): size for path, size in safe.items()}


def cut(synced_bytes: dict[Path, int], dice: random.Random) -> int:
    """Cuts each file to what was synced plus a random part of the rest; returns the number of lost bytes."""
    gone = 0
    for path, safe_bytes in synced_bytes.items():
        there = path.stat().st_size
        left = dice.choice((safe_bytes, dice.randint(safe_bytes, there)))
        with path.open("r+b") as file:
            file.truncate(left)
        gone += there - left
    return gone


async def life(kind: str, cuts: int, seed: str, fsync: str, counts: Counts, tick: Tick) -> None:
    """So many power cuts of a server on one folder."""
    dice = random.Random(seed)
    # On a real disk if there is one: if a sync takes no time, there is nothing to cut.
    with TemporaryDirectory() as root:
        folder, log = Path(root) / "server", Path(root) / "calls"
        durability = "fsync" if fsync == "always" else fsync
        with RedisServer(kind, folder, appendfsync=fsync, auto_aof_rewrite_percentage="0") as server:
            store = await open_store(server.url, StoreOptions(durability, Path(root) / "keys"))
            try:
                crowd = Crowd(store, seed)
                for number in range(cuts):
                    watched = Watched(server, log)
                    async with crowd.busy():
                        await crowd.hear(dice.randint(1, HEARD_MAX))
                        server.kill()
                        gone = cut(watched.synced_bytes(), dice)
                        await asyncio.to_thread(server.start)
                    for wrong in [*crowd.surprises, *await crowd.examine()]:
                        counts.wrong(f"{seed}, cut {number} of {kind}: {wrong}")
                    crowd.surprises.clear()
                    counts.cases += 1
                    counts.add(f"cuts of {kind}")
                    counts.add("bytes that were not synced and went", gone)
                    tick(1)
            finally:
                await store.close()
        for name, amount in crowd.acknowledged.items():
            counts.add(f"acknowledged {name}", amount)


async def lives(cases: int, seed: int, tick: Tick) -> Counts:
    counts = Counts()
    kinds = [kind for kind in BINARIES if available(kind)]
    for number, kind in enumerate(cycle(kinds)):
        if counts.cases == cases:
            break
        cuts = min(CUTS_IN_LIFE, cases - counts.cases)
        await life(kind, cuts, f"{seed} {number}", "always", counts, tick)
    return counts


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(lives(cases, seed, tick))


def control(seed: int) -> Counts:
    """A Redis that syncs once a second must be found to have lost acknowledged text."""
    counts = Counts()
    kind = next(filter(available, BINARIES))
    asyncio.run(life(kind, CONTROL_CUTS, f"{seed} control", "everysec", counts, lambda cases: None))
    return counts


CHECK = Check(
    name="power-redis",
    what="power cuts of Redis and Valkey",
    gate_cases=50,
    long_cases=3_000,
    run=run,
    control=control,
)
