"""Hosts in network namespaces, each with one link to a switch, and partitions between them."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from reliability.namespaces import NETWORK, Namespace
from testing.redis_servers import Place

HERE, ASIDE = "here", "aside"


class Network:
    """So many hosts on a private network; TCP connections survive a partition until they time out."""

    def __init__(self, hosts: int) -> None:
        self._count = hosts
        self._switches = Namespace(NETWORK)
        self._stack = ExitStack()
        self.places: list[Place] = []

    def __enter__(self) -> Network:
        with ExitStack() as stack:
            stack.enter_context(self._switches)
            self._set(*(f"link add name {switch} type bridge\nlink set dev {switch} up" for switch in (HERE, ASIDE)))
            for number in range(self._count):
                self.places.append(
                    self._connect(number, stack.enter_context(Namespace(NETWORK, inside=self._switches)))
                )
            self._stack = stack.pop_all()
        return self

    def _connect(self, number: int, host: Namespace) -> Place:
        address = f"10.0.0.{number + 1}"
        self._set(
            f"link add name port{number} type veth peer name eth0 netns {host.pid}",
            f"link set dev port{number} master {HERE} up",
        )
        host.run(
            "ip", "-batch", "-", words=f"addr add {address}/24 dev eth0\nlink set dev eth0 up\nlink set dev lo up\n"
        )
        return Place(address, host.through)

    def part(self, *places: Place) -> None:
        """From now on these hosts reach only each other."""
        self._set(*(f"link set dev port{self.places.index(place)} master {ASIDE}" for place in places))

    def heal(self) -> None:
        self._set(*(f"link set dev port{number} master {HERE}" for number in range(self._count)))

    def _set(self, *lines: str) -> None:
        self._switches.run("ip", "-batch", "-", words="\n".join(lines) + "\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
