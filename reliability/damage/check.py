"""Damaged values: one stored value at a time is changed behind the store's back, and then every call is made.

A call may be refused, but never answered wrongly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from reliability.check import Check, Counts, Tick
from reliability.damage.asking import ChainMismatch, Wrong, answered, expected, judge, reads, story
from reliability.damage.life import AT, History
from reliability.damage.reader import Reader, reader
from reliability.damage.redis import InRedis
from reliability.damage.sqlite import InSqlite
from reliability.damage.values import Hurt, Vessel
from reliability.sqlite.power import MEMORY
from server.store import StoreOptions
from server.store.base import SessionKey, StoreError
from server.store.encryption import Sealer
from server.store.redis import memories
from server.store.sqlite import blobs, journal, sessions
from testing.redis_binaries import require
from testing.redis_servers import RedisServer

CASES_A_HISTORY = 400
KINDS = ("Redis", "Redis", "Redis", "Redis", "SQLite")
# One in so many cases goes through the server's own reader, the others through calls to the store.
READ_EVERY = 50
# Small enough to split the small model's memory into several parts.
PART_BYTES = 2048
CONTROL_CASES = 400


@dataclass(frozen=True)
class Case:
    """One damaged value, and the calls made with it."""

    dice: random.Random
    vessel: Vessel
    history: History
    counts: Counts

    async def go(self, reader: Reader | None) -> None:
        hurt = await self.vessel.hurt(self.dice)
        self.counts.add(hurt.what)
        try:
            # A damaged lease may keep the reader out for as long as it says.
            if reader is not None and not hurt.leased:
                await self.read(hurt, reader)
            else:
                await self.ask(hurt)
        except Wrong as wrong:
            self.counts.wrong(f"{self.vessel.name}, {hurt.what}, session {'/'.join(hurt.key)}: {wrong}")
        await self.vessel.heal()

    async def ask(self, hurt: Hurt) -> None:
        store, life, twin = self.vessel.store, self.history.lives[hurt.key], self.history.twin(hurt.key, hurt.older)
        questions = reads(self.dice, life, hurt)
        answers = await asyncio.gather(*(answered(store, question) for question in questions))
        for question, answer in zip(questions, answers, strict=True):
            judge(question, answer, await expected(twin, question), hurt)
            self._count(answer)
        forked = hurt.older is not None and self.dice.random() < 0.5
        for number, question in enumerate(story(self.dice, life, await twin.get(hurt.key), forked)):
            answer = await answered(store, question)
            judge(question, answer, await expected(twin, question), hurt)
            self._count(answer)
            # The first call is the change; if it was refused, the reference must not have it either.
            if number == 0 and isinstance(answer, StoreError):
                twin = self.history.twin(hurt.key, hurt.older)

    async def read(self, hurt: Hurt, reader: Reader) -> None:
        store, life = self.vessel.store, self.history.lives[hurt.key]
        text = life.text
        if hurt.older is not None and self.dice.random() < 0.5:
            end = (await self.history.twin(hurt.key, hurt.older).get(hurt.key)).accepted_bytes
            other = life.other_text(end)
            text = text[:end] + other
            with suppress(StoreError):
                await store.append(hurt.key, end, other, AT)
        was_read = await reader.read(store, life, text)
        self.counts.add("read by the server's reader" if was_read else "refused by the server's reader")

    def _count(self, answer: object) -> None:
        self.counts.add("refusals" if isinstance(answer, StoreError) else "answers")
        self.counts.add("refusals by the chain alone", isinstance(answer, ChainMismatch))


async def damage(
    cases: int, seed: int, tick: Tick, kinds: Sequence[str] = KINDS, read_every: int = READ_EVERY
) -> Counts:
    counts = Counts()
    with (
        TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as root,
        mock.patch.object(memories, "PIECE_BYTES_MAX", PART_BYTES),
        RedisServer(require("valkey9"), Path(root) / "valkey", appendonly="no") as server,
        reader() as the_reader,
    ):
        for number in count():
            kind, drawn = kinds[number % len(kinds)], f"{seed} {number}"
            dice, history = random.Random(drawn), History(drawn)
            async with filled(kind, server, Path(root) / str(number), history) as vessel:
                while counts.cases < cases:
                    reads_now = counts.cases % read_every == read_every - 1
                    await Case(dice, vessel, history, counts).go(the_reader if reads_now else None)
                    counts.cases += 1
                    counts.add(f"cases in {kind}")
                    tick(1)
                    if not counts.cases % CASES_A_HISTORY:
                        break
            if counts.cases == cases:
                return counts
    return counts


@asynccontextmanager
async def filled(kind: str, server: RedisServer, folder: Path, history: History) -> AsyncIterator[Vessel]:
    if kind == "Redis":
        options = StoreOptions(durability="volatile", keys_file=folder / "seal.keys")
        vessel: Vessel = await InRedis.filled(server, options, history)
    else:
        vessel = await InSqlite.filled(folder, history)
    try:
        yield vessel
    finally:
        await vessel.close()


def run(cases: int, seed: int, tick: Tick) -> Counts:
    return asyncio.run(damage(cases, seed, tick))


def unverified(sealer: Sealer, kind: str, key: SessionKey, place: tuple[object, ...], sealed: object) -> bytes:
    """Decrypts a sealed value without verifying its tag."""
    found = bytes(sealed) if isinstance(sealed, bytes) else b""
    nonce, body = found[7:19].ljust(12, b"\0"), found[19:-16]
    # GCM uses its first counter for the tag, so the data begins at the second.
    mode = CTR(nonce + (2).to_bytes(4, "big"))
    return Cipher(AES(sealer._derived(sealer._ring.current, "seal", key)), mode).decryptor().update(body)


def control(seed: int) -> Counts:
    """Without the comparison of a seal with what it seals, both stores must give a wrong answer."""
    with mock.patch.object(Sealer, "open", unverified):
        redis = asyncio.run(damage(CONTROL_CASES, seed, lambda cases: None, ("Redis",), CONTROL_CASES + 1))
    with ExitStack() as stack:
        for module in (sessions, journal, blobs):
            stack.enter_context(mock.patch.object(module, "matches", return_value=True))
        sqlite = asyncio.run(damage(CONTROL_CASES, seed, lambda cases: None, ("SQLite",), CONTROL_CASES + 1))
    # A crash at a value that cannot be decoded does not count here, only a wrong answer.
    found = [[what for what in counts.violations if "instead of" in what] for counts in (redis, sqlite)]
    return Counts(redis.cases + sqlite.cases, found[0] + found[1] if all(found) else [])


CHECK = Check(
    name="damage",
    what="damaged values in Redis and in the embedded store",
    gate_cases=8_000,
    long_cases=1_000_000,
    run=run,
    control=control,
)
