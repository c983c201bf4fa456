"""Sessions in a real Valkey whose stored values are damaged and restored by raw commands behind the store's back."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import permutations
from typing import Any, NamedTuple

from reliability.damage.life import KEYS, History
from reliability.damage.values import ODD, SEALED, Hurt, mutilated
from server.store import StoreOptions, open_store
from server.store.base import SessionKey
from server.store.redis import RedisStore
from server.store.redis.names import EXPIRY, UNREAD, names, sessions_of
from testing.redis_servers import RedisServer

# Restores the whole store in one round trip.
_HEAL = "redis.call('FLUSHDB') for i, key in ipairs(KEYS) do redis.call('RESTORE', key, 0, ARGV[i]) end"
_TYPES: dict[bytes, tuple[object, ...]] = {
    b"string": ("SET", b"text"),
    b"hash": ("HSET", b"0", b"text"),
    b"zset": ("ZADD", b"0", b"text"),
    b"list": ("RPUSH", b"text"),
    b"set": ("SADD", b"text"),
}


class Place(NamedTuple):
    """Where a sealed value is kept: in a string, or in a field of a hash."""

    kind: str
    session: SessionKey
    key: bytes
    field: bytes | None
    value: bytes


class InRedis:
    """The sessions of a history; a dump of all of them is restored after every case."""

    name = "Redis"

    def __init__(self, server: RedisServer, store: RedisStore) -> None:
        self.store = store
        self._raw = server.client()
        self._heal = self._raw.register_script(_HEAL)
        self._kinds: dict[bytes, tuple[str, SessionKey]] = {}
        self._older: list[tuple[SessionKey, bytes, bytes]] = []

    @classmethod
    async def filled(cls, server: RedisServer, options: StoreOptions, history: History) -> InRedis:
        server.command("FLUSHALL")
        store = await open_store(server.url, options)
        assert isinstance(store, RedisStore)
        vessel = cls(server, store)
        async for key, twin in history.live(store):
            vessel._older.append((key, vessel._ask("GET", names(key).record), twin))
        await vessel._leave_an_attempt(KEYS[0])
        vessel._look()
        return vessel

    async def _leave_an_attempt(self, key: SessionKey) -> None:
        """Leaves an unfinished upload, as of a replica that was killed: the same parts, not named by the record."""
        manifest = (await self.store._records.load(key)).entry
        newest, *_ = (await self.store.recover(key)).checkpoints
        await self.store._memories.upload(
            manifest.record, manifest.checkpoints[-1]._replace(attempt="f" * 16), newest.value
        )

    def _look(self) -> None:
        """Records all keys, with their sealed values, sorted-set members and fields."""
        for key in KEYS:
            at = names(key)
            whole = {"record": at.record, "piece": at.journal, "line": at.pieces, "lease": at.lease}
            self._kinds |= {name.encode(): (kind, key) for kind, name in whole.items()}
            parts = self._ask("KEYS", at.checkpoint("*"))
            self._kinds |= dict.fromkeys(parts, ("memory", key))
            self._kinds[sessions_of(key.tenant).encode()] = ("index", key)
        self._kinds |= {EXPIRY.encode(): ("index", KEYS[0]), UNREAD.encode(): ("index", KEYS[0])}
        self._kinds = {key: kind for key, kind in sorted(self._kinds.items()) if self._ask("EXISTS", key)}
        self._dumps = [self._ask("DUMP", key) for key in self._kinds]
        self._zsets = {key: self._lines(key) for key, (kind, _) in self._kinds.items() if kind in ("line", "index")}
        hashes = {key: self._fields(key) for key, (kind, _) in self._kinds.items() if kind in ("piece", "memory")}
        self._leases = {key: self._fields(key) for key, (kind, _) in self._kinds.items() if kind == "lease"}
        self._places = [
            *(Place(*self._kinds[key], key, field, value) for key, kept in hashes.items() for field, value in kept),
            *(Place("record", key, at, None, self._ask("GET", at))
              for at, (kind, key) in self._kinds.items() if kind == "record"),
        ]  # fmt: skip
        self._swaps: dict[str, list[tuple[Place, Place]]] = {}
        for one, other in permutations(self._places, 2):
            self._swaps.setdefault(_relation(one, other), []).append((one, other))

    async def hurt(self, dice: random.Random) -> Hurt:
        ways: tuple[Callable[[random.Random], Hurt], ...] = (
            *(self._mutilate, self._mutilate, self._mutilate, self._swap, self._swap, self._hurt_lines),
            *(self._hurt_lines, self._hurt_lease, self._lose, self._retype, self._exchange, self._put_back),
        )
        return dice.choice(ways)(dice)

    async def heal(self) -> None:
        self._heal(keys=list(self._kinds), args=self._dumps)

    async def close(self) -> None:
        self._raw.close()
        await self.store.close()

    def _mutilate(self, dice: random.Random) -> Hurt:
        place = dice.choice(self._places)
        way, value = mutilated(dice, place.value, SEALED)
        self._put(place, value)
        return Hurt(f"{place.kind}: {way}", place.session)

    def _swap(self, dice: random.Random) -> Hurt:
        relation = dice.choice(list(self._swaps))
        one, other = dice.choice(self._swaps[relation])
        self._put(one, other.value)
        if dice.random() < 0.5:
            return Hurt(f"{one.kind}: {relation}", one.session)
        self._put(other, one.value)
        return Hurt(f"{one.kind}: {relation}, exchanged", one.session, other.session)

    def _hurt_lines(self, dice: random.Random) -> Hurt:
        key = dice.choice(list(self._zsets))
        (kind, session), lines = self._kinds[key], self._zsets[key]
        (name, score), (other, its_score) = dice.choice(lines), dice.choice(lines)
        way = dice.choice(("changed", "changed", "moved", "swapped", "lost", "added"))
        match way:
            case "changed":
                self._ask("ZREM", key, name)
                self._ask("ZADD", key, score, mutilated(dice, name)[1])
            case "moved":
                self._ask("ZADD", key, dice.choice((its_score, score - 1, score + 1, 0, "-inf", "inf")), name)
            case "swapped":
                self._ask("ZADD", key, score, other, its_score, name)
            case "lost":
                self._ask("ZREM", key, name)
            case "added":
                stranger = dice.choice(
                    (*ODD, name + b":1", dice.choice(self._zsets[dice.choice(list(self._zsets))])[0])
                )
                self._ask("ZADD", key, dice.choice((score, its_score, score + 1)), stranger)
        return Hurt(f"{kind}: {way}", session, hides=kind == "index")

    def _hurt_lease(self, dice: random.Random) -> Hurt:
        key = dice.choice(list(self._leases))
        field, value = dice.choice(self._leases[key])
        if dice.random() < 0.2:
            self._ask("HDEL", key, field)
        else:
            self._ask("HSET", key, field, dice.choice((*ODD, mutilated(dice, value)[1])))
        return Hurt(f"lease: {field.decode()}", self._kinds[key][1], leased=True)

    def _lose(self, dice: random.Random) -> Hurt:
        place = dice.choice(self._places)
        if place.field is not None and dice.random() < 0.5:
            self._ask("HDEL", place.key, place.field)
            return Hurt(f"{place.kind}: lost", place.session)
        key = dice.choice(list(self._kinds))
        self._ask("DEL", key)
        return self._whole(key, "all lost")

    def _retype(self, dice: random.Random) -> Hurt:
        key = dice.choice(list(self._kinds))
        command, *words = dice.choice([words for kind, words in _TYPES.items() if kind != self._ask("TYPE", key)])
        self._ask("DEL", key)
        self._ask(command, key, *words)
        return self._whole(key, "of another type")

    def _exchange(self, dice: random.Random) -> Hurt:
        """Replaces one key's whole value by that of another key of its kind."""
        key = dice.choice(list(self._kinds))
        same = [other for other, (kind, _) in self._kinds.items() if kind == self._kinds[key][0] and other != key]
        self._ask("COPY", dice.choice(same), key, "REPLACE")
        return self._whole(key, "all of another")

    def _put_back(self, dice: random.Random) -> Hurt:
        session, sealed, twin = dice.choice(self._older)
        self._ask("SET", names(session).record, sealed)
        return Hurt("record: an older one", session, older=twin)

    def _whole(self, key: bytes, way: str) -> Hurt:
        kind, session = self._kinds[key]
        return Hurt(f"{kind}: {way}", session, hides=kind == "index", leased=kind == "lease")

    def _put(self, place: Place, value: bytes) -> None:
        self._ask(*("SET", place.key) if place.field is None else ("HSET", place.key, place.field), value)

    def _ask(self, *words: Any) -> Any:
        return self._raw.execute_command(*words)  # type: ignore[no-untyped-call]

    def _fields(self, key: bytes) -> list[tuple[bytes, bytes]]:
        found: Any = self._raw.hgetall(key)
        return sorted(found.items())

    def _lines(self, key: bytes) -> list[tuple[bytes, float]]:
        found: Any = self._raw.zrange(key, 0, -1, withscores=True)
        return [(name, score) for name, score in found]


def _relation(one: Place, other: Place) -> str:
    if one.kind != other.kind:
        return "of another kind"
    if one.session.tenant != other.session.tenant:
        return "of another tenant"
    if one.session != other.session:
        return "of another session"
    if one.kind == "piece":
        return "of another offset"
    return "another part" if one.key == other.key else "of another version or attempt"
