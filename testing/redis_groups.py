"""Real groups of servers on the loopback: a master with replicas and Sentinel, and a Cluster."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from testing.redis_servers import HOST, LOOPBACK, Place, RedisServer, free_port, until

Group = TypeVar("Group", bound="_Group")

SLOTS = 16_384
# How often a sentinel does what it does again and again: with its own seconds a test would mostly wait. By the period
# of its pings it also judges whether what it knows of a replica is too old for a master: that one stays. Four times the
# period of what it publishes is how long one that was cut off waits for news before it makes the new master a replica
# again, so that this must be well above the second that it takes to connect anew: else what was acknowledged is lost.
PERIODS_MILLISECONDS = {"INFO-PERIOD": 500, "ASK-PERIOD": 100, "PUBLISH-PERIOD": 1_000}


class _Group(ABC):
    """Servers that start and end together."""

    members: list[RedisServer]

    @abstractmethod
    def start(self) -> None:
        """Returns when all members know each other and every replica has its data."""

    def awake(self) -> list[RedisServer]:
        return [member for member in self.members if member.awake]

    def kill(self) -> None:
        for member in self.members:
            if member.running:
                member.kill()

    def at(self, port: int) -> RedisServer:
        return next(member for member in self.members if member.port == port)

    def __enter__(self: Group) -> Group:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Sentinels(_Group):
    """A master and two replicas with these settings, and three sentinels; one server and one sentinel in each place."""

    NAME = "mymaster"

    def __init__(
        self,
        binary: str,
        folder: Path,
        *,
        down_after_milliseconds: int = 1_000,
        places: Sequence[Place] = (LOOPBACK,) * 3,
        **settings: Any,
    ) -> None:
        self.servers = [
            RedisServer(binary, folder / f"server-{number}", place=place, **settings)
            for number, place in enumerate(places)
        ]
        watch = (
            f"monitor {self.NAME} {places[0].address} {self.servers[0].port} 2",
            f"down-after-milliseconds {self.NAME} {down_after_milliseconds}",
            f"failover-timeout {self.NAME} {5 * down_after_milliseconds}",
            f"parallel-syncs {self.NAME} 2",
        )
        self.sentinels = [
            RedisServer(binary, folder / f"sentinel-{number}", place=place, sentinel=watch, appendonly="no")
            for number, place in enumerate(places)
        ]
        self.members = [*self.servers, *self.sentinels]
        self.url = (
            f"redis+sentinel://{','.join(f'{each.place.address}:{each.port}' for each in self.sentinels)}/{self.NAME}"
        )

    def start(self) -> None:
        for member in self.members:
            member.start()
            if member in self.servers[1:]:
                member.replica_of(self.servers[0])
        for sentinel in self.sentinels:
            sentinel.command("SENTINEL", "DEBUG", *chain.from_iterable(PERIODS_MILLISECONDS.items()))
        until(self._acquainted, "every sentinel knows all replicas and sentinels")

    def master(self) -> RedisServer:
        """The master, once all running sentinels name the same server and it agrees."""
        return until(lambda: self._agreed(self.sentinels), "the sentinels agree on a master that is one")

    def successor(self, old: RedisServer, place: Place) -> RedisServer:
        """The new master, once all sentinels but the one in `place` name another server than `old`."""
        others = [sentinel for sentinel in self.sentinels if sentinel.place != place]

        def found() -> RedisServer | None:
            new = self._agreed(others)
            return None if new is old else new

        return until(found, f"the sentinels agree on another master than {old}")

    def kill_master(self) -> RedisServer:
        """Kills the master and returns it; `master` waits for the next one."""
        master = self.master()
        master.kill()
        return master

    def _asked(self, question: str, sentinels: Sequence[RedisServer]) -> list[Any]:
        return [each.command("SENTINEL", question, self.NAME) for each in sentinels if each.awake]

    def _acquainted(self) -> bool:
        known = chain(self._asked("REPLICAS", self.sentinels), self._asked("SENTINELS", self.sentinels))
        return all(len(others) == 2 for others in known)

    def _agreed(self, sentinels: Sequence[RedisServer]) -> RedisServer | None:
        ports = {int(address[1]) for address in self._asked("GET-MASTER-ADDR-BY-NAME", sentinels)}
        if len(ports) != 1 or not (named := self.at(ports.pop())).awake:
            return None
        return named if named.command("INFO", "replication")["role"] == "master" else None


class Cluster(_Group):
    """Three masters with a third of the slots each, and by default with one replica each."""

    def __init__(
        self,
        binary: str,
        folder: Path,
        *,
        replicas: bool = True,
        node_timeout_milliseconds: int = 2_000,
        **settings: Any,
    ) -> None:
        self._bus_ports = [free_port() for _ in range(6 if replicas else 3)]
        self.members = [
            RedisServer(
                binary,
                folder / f"node-{number}",
                cluster_enabled="yes",
                cluster_announce_ip=HOST,
                cluster_port=str(bus_port),
                cluster_node_timeout=str(node_timeout_milliseconds),
                **settings,
            )
            for number, bus_port in enumerate(self._bus_ports)
        ]
        self.url = f"redis+cluster://{HOST}:{self.members[0].port}"

    def start(self) -> None:
        masters, replicas = self.members[:3], self.members[3:]
        for member, bus_port in zip(self.members, self._bus_ports, strict=True):
            member.start()
            masters[0].command("CLUSTER", "MEET", HOST, member.port, bus_port)
        for third, master in enumerate(masters):
            master.command("CLUSTER", "ADDSLOTSRANGE", third * SLOTS // 3, (third + 1) * SLOTS // 3 - 1)
        for master, replica in zip(masters, replicas, strict=False):
            replicate = partial(replica.command, "CLUSTER", "REPLICATE", master.command("CLUSTER", "MYID"))
            until(replicate, f"{replica} knows {master}")
        until(self._settled, "every node answers for all slots")
        for replica in replicas:
            until(replica.follows, f"{replica} follows its master")
        until(self._acquainted, "every node knows all replicas")

    def master_of(self, key: str | bytes) -> RedisServer:
        """The master of the key, once all running nodes name the same running one and serve all slots."""
        return until(lambda: self._agreed(key), f"the nodes agree on the master of {key!r}")

    def kill_master_of(self, key: str | bytes) -> RedisServer:
        """Kills the master of the key and returns it; `master_of` waits for the next one."""
        master = self.master_of(key)
        master.kill()
        return master

    def _settled(self) -> bool:
        return all(b"cluster_state:ok" in node.command("CLUSTER", "INFO") for node in self.awake())

    def _acquainted(self) -> bool:
        # CLUSTER SLOTS omits a replica until the first ping of its master, ten seconds later.
        replicas = len(self.members) - 3
        return all(node.command("CLUSTER", "NODES").count(b"slave ") == replicas for node in self.awake())

    def _agreed(self, key: str | bytes) -> RedisServer | None:
        slot = self.awake()[0].command("CLUSTER", "KEYSLOT", key)
        ranges = chain.from_iterable(node.command("CLUSTER", "SLOTS") for node in self.awake())
        ports = {master[1] for first, last, master, *_ in ranges if first <= slot <= last}
        if len(ports) != 1 or not self._settled():
            return None
        named = self.at(ports.pop())
        return named if named.awake else None
