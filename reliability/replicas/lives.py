"""Replicas are killed, or stopped for longer than their leases, while clients append, ask and poll."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from reliability.check import Check, Counts, Tick
from reliability.replicas.clients import Customer, Refused
from reliability.replicas.fleet import Fleet
from reliability.replicas.haproxy import BY_SESSION, ROUND_ROBIN, HAProxy
from reliability.replicas.history import History
from reliability.replicas.observer import Observer
from testing.models import prose

SESSIONS = 3
LEASE_SECONDS = 1.0
# More than is written in a life.
DOCUMENT_CHARACTERS = 1 << 18
EVENTS_MAX = 40
EVENTS_SECONDS = 10.0
STEP_SECONDS = 0.005
CONTROL_CASES, CONTROL_CASES_MAX = 8, 64

Fault = Callable[[Fleet, Random, Counts], None]


@dataclass
class Life:
    """Sessions from their creation until all text is read, behind one balancing rule."""

    fleet: Fleet
    number: int
    cases: int
    dice: Random
    history: History = field(default_factory=History)

    def live(self, fault: Fault, counts: Counts, tick: Tick) -> None:
        balance = (ROUND_ROBIN, BY_SESSION)[self.number % 2]
        ports = [replica.port for replica in self.fleet.replicas]
        observer = Observer(self.fleet)
        with HAProxy(self.fleet.folder, ports, balance) as door:
            customers = [self._customer(door.url, n) for n in range(SESSIONS)]
            for customer in customers:
                customer.create()
            with observer.watching(customers, self.history), at_work(customers):
                for _ in range(self.cases):
                    self._go_on(self.dice.randint(1, EVENTS_MAX))
                    fault(self.fleet, self.dice, counts)
                    counts.cases += 1
                    tick(1)
                quiet_since = self.fleet.all_running()
                self._go_on(EVENTS_MAX)
            self.history.left += [observer.left_of(customer, quiet_since) for customer in customers]
        self._count(counts, customers, observer)

    def _customer(self, url: str, number: int) -> Customer:
        document = prose(self.dice.randrange(1 << 30), DOCUMENT_CHARACTERS).encode()
        return Customer(url, f"life-{self.number}-{number}", document, self.history, Random(self.dice.random()))

    def _go_on(self, events: int) -> None:
        """Returns after this many events, so that faults fall at any step of the clients."""
        end, wanted = time.monotonic() + EVENTS_SECONDS, self.history.events + events
        while self.history.events < wanted and time.monotonic() < end:
            time.sleep(STEP_SECONDS)

    def _count(self, counts: Counts, customers: list[Customer], observer: Observer) -> None:
        counts.violations += [f"life {self.number}: {what}" for what in self.history.violations()]
        count(counts, self.history, customers)
        counts.add("hand-overs", observer.hand_overs)


def count(counts: Counts, history: History, customers: list[Customer]) -> None:
    """Adds the numbers of answers and of resends."""
    for fact in history.facts:
        if fact.kind in ("accepted", "covered"):
            counts.add({"an append": "appends acknowledged", "an answer": "answers"}.get(fact.how, "looks"))
    counts.add("resends", sum(customer.resends for customer in customers))
    counts.add("bytes acknowledged", sum(customer.acknowledged_bytes for customer in customers))


@contextmanager
def at_work(customers: list[Customer]) -> Iterator[None]:
    with ThreadPoolExecutor(3 * len(customers)) as threads:
        tasks: list[Future[None]] = []
        for customer in customers:
            tasks += [threads.submit(work) for work in (customer.write, customer.ask, customer.look)]
        try:
            yield
        finally:
            for customer in customers:
                customer.finish()
        for task in tasks:
            with suppress(Refused):
                task.result()


def kill(fleet: Fleet, dice: Random, counts: Counts) -> None:
    """Kills Valkey or a running replica; one replica is always left."""
    victim = dice.choice([*fleet.running(2), None])
    if victim is None:
        fleet.kill_valkey()
    else:
        fleet.kill(victim)
    counts.add("kills of Valkey" if victim is None else "kills of a replica")


def stop(fleet: Fleet, dice: Random, counts: Counts) -> None:
    """Stops one or two replicas for longer than their leases, then lets them continue."""
    victims = dice.sample(fleet.replicas, dice.randint(1, 2))
    for victim in victims:
        victim.pause()
    time.sleep(LEASE_SECONDS * dice.uniform(1.1, 2))
    for victim in victims:
        victim.resume()
    counts.add("stops of a replica", len(victims))


def lives(
    fault: Fault, life_cases: int, cases: int, seed: int, tick: Tick, module: tuple[str, ...] = ("server",)
) -> Counts:
    counts = Counts()
    with TemporaryDirectory() as folder, Fleet(Path(folder), LEASE_SECONDS, module) as fleet:
        for number, begin in enumerate(range(0, cases, life_cases)):
            life = Life(fleet, number, min(life_cases, cases - begin), Random(f"{seed} {number}"))
            life.live(fault, counts, tick)
    return counts


def control(fault: Fault, guard: str, seed: int) -> Counts:
    """Runs replicas without this guard until a violation is found, or the cases are used up."""
    counts = Counts()
    for begin in range(0, CONTROL_CASES_MAX, CONTROL_CASES):
        counts = lives(
            fault,
            CONTROL_CASES // 2,
            CONTROL_CASES,
            seed + begin,
            lambda cases: None,
            ("reliability.replicas.unguarded", guard),
        )
        if counts.violations:
            break
    return counts


KILLED = Check(
    name="replicas-killed",
    what="kills of three replicas and their Valkey in turn",
    gate_cases=50,
    long_cases=3_000,
    run=partial(lives, kill, 25),
    control=partial(control, kill, "durable"),
)
STOPPED = Check(
    name="replicas-stopped",
    what="replicas stopped for longer than their leases",
    gate_cases=20,
    long_cases=500,
    run=partial(lives, stop, 10),
    control=partial(control, stop, "fenced"),
)
