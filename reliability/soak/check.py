"""A fleet under load and faults for a time, while sessions are created, written and deleted.

The processes are measured from outside.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event, Lock

from reliability.check import Check, Counts, Tick
from reliability.replicas.clients import Customer
from reliability.replicas.fleet import SETTINGS, Fleet
from reliability.replicas.haproxy import ROUND_ROBIN, HAProxy
from reliability.replicas.history import History
from reliability.replicas.lives import LEASE_SECONDS, at_work, count
from reliability.replicas.observer import Observer
from reliability.soak.vitals import Vitals
from server.store.redis.names import EXPIRY, LENDING, SEALED_WITH, UNREAD, lenders_of, sessions_of
from server.store.redis.parts import UNKEPT_SECONDS
from testing.models import prose

SESSIONS = 3
CALM, CALM_SESSIONS = "calm", 5
DOCUMENT_CHARACTERS = 1 << 18
GENERATION_SECONDS = (4.0, 10.0)
FAULT_SECONDS = (1.0, 8.0)
STEP_SECONDS = 0.05
CONTROL_SECONDS, CONTROL_RUNS_MAX = 10, 3
LEAKS = ("memory grew", "descriptors more", "but the key")
# The session cache: small, so that it is soon full and grows no further.
RESIDENT_BYTES = 1 << 20
INDEXES = {UNREAD, EXPIRY, LENDING, SEALED_WITH, lenders_of("default")}
LISTED = sessions_of("default")
# A sweep removes them after a minute.
UNREAD_SECONDS = 90.0
# The time to live that Redis reports for a key that no longer exists.
GONE = -2


class Soak:
    """Generations of sessions, one after the other, while another thread injects faults."""

    def __init__(self, fleet: Fleet, door: HAProxy, seconds: int, dice: Random, counts: Counts, tick: Tick) -> None:
        self._fleet, self._door, self._dice, self._counts, self._tick = fleet, door, dice, counts, tick
        self._observer, self.vitals = Observer(fleet), Vitals(fleet.processes)
        self._seconds, self._loaded_seconds = seconds, 0.0
        self._generation = 0
        self._calm, self._over = Lock(), Event()

    def live(self) -> None:
        with ThreadPoolExecutor(1) as threads:
            faults = threads.submit(self._disturb, Random(self._dice.random()))
            try:
                while self._loaded_seconds < self._seconds and not faults.done():
                    self._generate()
            finally:
                self._over.set()
            faults.result()
        self._fleet.all_running()

    def _disturb(self, dice: Random) -> None:
        while not self._over.wait(dice.uniform(*FAULT_SECONDS)):
            with self._calm:
                disturb(self._fleet, dice, self._counts)

    def _generate(self) -> None:
        """One generation of sessions: created, written, checked and deleted."""
        history, self._generation = History(), self._generation + 1
        customers = [self._customer(number, history) for number in range(SESSIONS)]
        for customer in customers:
            customer.create()
        with self._observer.watching(customers, history), at_work(customers), self.vitals.watching():
            self._pass(min(self._seconds - self._loaded_seconds, self._dice.uniform(*GENERATION_SECONDS)))
        with self._calm:
            quiet_since = self._fleet.all_running()
            history.left += [self._observer.left_of(customer, quiet_since) for customer in customers]
        for customer in customers:
            customer.delete()
        self._counts.violations += [f"generation {self._generation}: {what}" for what in history.violations()]
        self._counts.add("sessions deleted", SESSIONS)
        count(self._counts, history, customers)

    def come_and_go(self) -> None:
        """Sessions without faults and without text; nothing may be left of them."""
        history = History()
        for number in range(CALM_SESSIONS):
            customer = Customer(self._door.url, f"{CALM}-{number}", b"", history, self._dice)
            customer.create()
            customer.delete()
        self._counts.violations += history.violations()
        self._counts.add("sessions deleted", CALM_SESSIONS)

    def _customer(self, number: int, history: History) -> Customer:
        document = prose(self._dice.randrange(1 << 30), DOCUMENT_CHARACTERS).encode()
        # The first one's id is used again, and must bring back nothing of the session that had it.
        session = f"session-{number and self._generation}-{number}"
        return Customer(self._door.url, session, document, history, Random(self._dice.random()))

    def _pass(self, seconds: float) -> None:
        """Waits while the clients work, and counts each second as a case."""
        before, began, passed = self._loaded_seconds, time.monotonic(), 0.0
        while passed < seconds:
            time.sleep(STEP_SECONDS)
            passed = min(seconds, time.monotonic() - began)
            self._loaded_seconds = round(before + passed, 3)
            new = int(self._loaded_seconds) - self._counts.cases
            self._counts.cases += new
            self._tick(new)


def disturb(fleet: Fleet, dice: Random, counts: Counts) -> None:
    """Kills Valkey or a replica, or stops a replica for a while; the first replica is never killed."""
    running = fleet.running(2)
    mortal = [replica for replica in running if replica is not fleet.replicas[0]]
    fault = dice.choice(("kills of Valkey", "kills of a replica", "stops of a replica"))
    counts.add(fault)
    if fault == "kills of Valkey":
        fleet.kill_valkey()
    elif fault == "kills of a replica":
        fleet.kill(dice.choice(mortal))
    else:
        victim = dice.choice(running)
        victim.pause()
        time.sleep(LEASE_SECONDS * dice.uniform(0.1, 1.5))
        victim.resume()


def left_in(fleet: Fleet, counts: Counts) -> None:
    """Finds keys that are left although no session exists."""
    kills = counts.amounts.get("kills of Valkey", 0) + counts.amounts.get("kills of a replica", 0)
    with fleet.valkey.client() as client:
        for key in client.scan_iter(count=1000):
            seconds, name = client.ttl(key), key.decode(errors="replace")
            if name == LISTED:
                # A hint, written before the session; if that was never written, it stays until it is next read.
                listed = [each.decode(errors="replace") for each in client.zrange(key, 0, -1)]
                if len(listed) > kills * SESSIONS or any(each.startswith(CALM) for each in listed):
                    counts.wrong(f"after {kills} kills no session exists, but these are listed: {', '.join(listed)}")
            elif 0 <= seconds <= UNKEPT_SECONDS:
                counts.add("keys that run out by themselves")
            elif name not in INDEXES and seconds != GONE:
                counts.wrong(f"no session exists, but the key {name}")
        unread = client.zcount(UNREAD, "-inf", time.time() - UNREAD_SECONDS)
        if unread:
            counts.wrong(f"{unread} sessions have been unread for {UNREAD_SECONDS} s, but none exists")


def run(cases: int, seed: int, tick: Tick, module: tuple[str, ...] = ("server",)) -> Counts:
    counts = Counts()
    settings = {**SETTINGS, "resident_bytes": str(RESIDENT_BYTES)}
    with TemporaryDirectory() as folder, Fleet(Path(folder), LEASE_SECONDS, module, settings) as fleet:
        with HAProxy(fleet.folder, [replica.port for replica in fleet.replicas], ROUND_ROBIN) as door:
            soak = Soak(fleet, door, cases, Random(seed), counts, tick)
            soak.live()
            soak.come_and_go()
        left_in(fleet, counts)
    counts.violations += soak.vitals.grown()
    counts.add("processes long enough alive", len(soak.vitals.judged()))
    if not soak.vitals.judged():
        counts.wrong("no process lived long enough to be judged: run it for longer")
    return counts


def control(seed: int) -> Counts:
    """With a server that leaks memory, sockets and keys, each leak must be found in one of a few runs."""
    for number in range(1, CONTROL_RUNS_MAX + 1):
        counts = run(number * CONTROL_SECONDS, seed + number, lambda cases: None, ("reliability.soak.leaking",))
        if all(any(leak in what for what in counts.violations) for leak in LEAKS):
            return counts
    return Counts()


CHECK = Check(
    name="soak",
    what="seconds of load and faults (150 minutes) without growth of memory, descriptors or keys",
    gate_cases=15,
    long_cases=9_000,
    run=run,
    control=control,
)
