"""Memories in Redis: a sealed root, uploaded under a name of its own, and the parts that it names.

What is uploaded expires, unless a script makes it a session's. A root is a hash with a field for each 256 KiB of it.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from server.store import sharing
from server.store.base import (
    PIECE_BYTES_MAX,
    DamagedValue,
    Pool,
    SessionRecord,
    StoredCheckpoint,
)
from server.store.encryption import Sealer
from server.store.manifest import KeptCheckpoint, Manifest, SnapshotInfo, pool_of
from server.store.parts import Root, named, pools
from server.store.redis.client import Link
from server.store.redis.names import names
from server.store.redis.parts import UNKEPT_SECONDS, VALUES_AT_ONCE, Parts, stored_size

# The roots of some hundred memories of ten million tokens: 30 MB.
_PARTS_CACHED_MAX = 200_000


class Place(NamedTuple):
    """Where a root is: its key, and the record and the row that its seal covers."""

    key: str
    record: SessionRecord
    kept: KeptCheckpoint


def places(entry: Manifest) -> list[Place]:
    """Where the roots of a manifest's memories and loans are."""
    at, record = names(entry.record.key), entry.record
    lender = sharing.lender(record.key.tenant, entry.pool, ()).record
    return [
        *(Place(at.checkpoint(kept.attempt), record, kept) for kept in entry.checkpoints),
        *(Place(at.checkpoint(each.kept.attempt), made_by(record, each), each.kept) for each in entry.snapshots),
        *(Place(at.loan(entry.pool.lineage, loan.kept.attempt), lender, loan.kept) for loan in entry.lent),
    ]


def made_by(record: SessionRecord, snapshot: SnapshotInfo) -> SessionRecord:
    """The record with the weights and the lineage that it had when the snapshot was stored."""
    return replace(record, model=snapshot.model, fingerprint=snapshot.fingerprint, lineage=snapshot.lineage)


@dataclass(frozen=True)
class Uploaded:
    """A memory that is in Redis and no session's yet.

    A script gets `keys` and `lengths`: of the root and of the new parts. `shared` are the other memories, by their
    attempts, that have the rest of the parts.
    """

    stored: sharing.Stored
    keys: tuple[str, ...] = ()
    lengths: tuple[int, ...] = (0,)
    shared: frozenset[str] = frozenset()

    @property
    def root(self) -> dict[str, Root]:
        """The root by its attempt."""
        return {self.stored.kept.attempt: self.stored.root}

    def fits(self, entry: Manifest) -> bool:
        """Whether the parts that it shares are still the session's."""
        own = {kept.attempt for kept in entry.memories}
        return self.shared <= own and pools([self.stored.root]) <= {entry.pool, *entry.borrowed}


class Change(NamedTuple):
    """A manifest as it will be, the keys that the same script removes, and the pools whose loans are then returned."""

    entry: Manifest
    removed: list[str]
    returned: tuple[Pool, ...]


class Memories:
    def __init__(self, link: Link, sealer: Sealer, parts: Parts) -> None:
        self._link, self._sealer, self._parts = link, sealer, parts
        # By key, the last used one last.
        self._roots: dict[str, Root] = {}
        self._parts_cached = 0

    async def upload(self, record: SessionRecord, kept: KeptCheckpoint, value: bytes) -> list[int]:
        """Uploads a memory's root in values, and returns their lengths; no reader sees it until a manifest has it."""
        return await self.upload_at(Place(names(record.key).checkpoint(kept.attempt), record, kept), value)

    async def upload_at(self, place: Place, value: bytes) -> list[int]:
        lengths = []
        for number, part in enumerate(_pieces(value)):
            sealed = self._sealer.seal("memory", place.record.key, _bound(place, number), part)
            await self._link.ask(place.key, ("HSET", place.key, number, sealed), ("EXPIRE", place.key, UNKEPT_SECONDS))
            lengths.append(len(sealed))
        return lengths

    async def load(self, record: SessionRecord, kept: KeptCheckpoint) -> StoredCheckpoint:
        """A memory with references to its parts; `DamagedValue`."""
        place, value = Place(names(record.key).checkpoint(kept.attempt), record, kept), bytearray()
        numbers = _numbers(kept)
        for start in numbers[::VALUES_AT_ONCE]:
            some = numbers[start : start + VALUES_AT_ONCE]
            [sealed] = await self._link.ask(place.key, ("HMGET", place.key, *some))
            value += self._opened(place, some, sealed)
        checkpoint = kept.checkpoint(_whole(place, value))
        if kept.parts:
            self._remember(place.key, kept.root(bytes(value)))
        return checkpoint

    async def roots(self, entry: Manifest) -> dict[str, Root]:
        """The parts of all memories and loans by their attempts, without damaged ones and memories without parts.

        Those that are not cached are loaded in one exchange. A root never changes.
        """
        wanted = [place for place in places(entry) if place.kept.parts]
        missing = [place for place in wanted if place.key not in self._roots]
        found = {
            place.kept.attempt: self._remember(place.key, self._roots[place.key])
            for place in wanted
            if place.key in self._roots
        }
        if missing:
            commands = [("HMGET", place.key, *_numbers(place.kept)) for place in missing]
            for place, sealed in zip(missing, await self._link.ask(missing[0].key, *commands), strict=True):
                try:
                    value = _whole(place, self._opened(place, _numbers(place.kept), sealed))
                except DamagedValue:
                    continue
                found[place.kept.attempt] = self._remember(place.key, place.kept.root(value))
        return found

    async def prepare(
        self,
        record: SessionRecord,
        checkpoint: StoredCheckpoint,
        known: Mapping[str, Root] | None = None,
        borrowed: Sequence[Root] = (),
        before: Uploaded | None = None,
    ) -> Uploaded:
        """The memory, uploaded with the parts that no root names; the same as before where that is still right.

        The roots are the `known` ones of the session's memories, by their attempts, and what it has `borrowed`.
        """
        pool, at, known = pool_of(record), names(record.key), known or {}
        stored = sharing.stored(checkpoint, pool, [*known.values(), *borrowed], secrets.token_hex(8))
        shared = frozenset(known)
        if before is not None and _content(before.stored) == _content(stored):
            return replace(before, shared=shared)
        await self._parts.upload(record.key.tenant, pool, stored.new)
        lengths = await self.upload(record, stored.kept, stored.value)
        if stored.kept.parts:
            self._remember(at.checkpoint(stored.kept.attempt), stored.root)
        new = (self._parts.key(record.key.tenant, pool, part.digest) for part in stored.new)
        return Uploaded(
            stored,
            (at.checkpoint(stored.kept.attempt), *new),
            (len(lengths), *lengths, *map(stored_size, stored.new)),
            shared,
        )

    async def settle(self, old: Manifest, new: Manifest, more: Mapping[str, Root] | None = None) -> Change:
        """What follows from a change of memories or loans; `more` has the root of a new one, by its attempt."""
        tenant, left = old.record.key.tenant, {place.key for place in places(new)}
        gone = [place for place in places(old) if place.key not in left]
        roots = {**await self.roots(old), **(more or {})}
        memories, lent = _among(roots, new.memories), [roots.get(loan.kept.attempt) for loan in new.lent]
        before = [*_among(roots, old.memories), *_among(roots, (loan.kept for loan in old.lent))]
        settled = sharing.settled(new, before, memories, lent)
        freed = [self._parts.key(tenant, old.pool, part.digest) for part in settled.freed]
        if None not in lent and any(place.kept.parts and place.kept.attempt not in roots for place in gone):
            # Nobody knows which parts a damaged root named: only those stay that others name.
            named_still = named([*memories, *filter(None, lent)], old.pool)
            kept = {self._parts.key(tenant, old.pool, digest) for digest in named_still}
            freed = [key for key in await self._parts.all_keys(tenant, old.pool) if key not in kept]
        return Change(settled.manifest, [*(place.key for place in gone), *freed], settled.returned)

    def _opened(self, place: Place, numbers: Iterable[int], sealed: Iterable[object]) -> bytes:
        return b"".join(
            self._sealer.open("memory", place.record.key, _bound(place, number), value)
            for number, value in zip(numbers, sealed, strict=True)
        )

    def _remember(self, key: str, root: Root) -> Root:
        """The root without its head, which is now in the cache."""
        bare = Root(b"", root.parts)
        if self._roots.pop(key, None) is None:
            self._parts_cached += len(bare.parts)
        self._roots[key] = bare
        while self._parts_cached > _PARTS_CACHED_MAX and len(self._roots) > 1:
            oldest = self._roots.pop(next(iter(self._roots)))
            self._parts_cached -= len(oldest.parts)
        return bare


def _among(roots: Mapping[str, Root], memories: Iterable[KeptCheckpoint]) -> list[Root]:
    return [roots[kept.attempt] for kept in memories if kept.attempt in roots]


def _content(stored: sharing.Stored) -> tuple[Root, list[bytes]]:
    return stored.root, [part.digest for part in stored.new]


def _pieces(value: bytes) -> list[bytes]:
    return [value[start : start + PIECE_BYTES_MAX] for start in range(0, max(1, len(value)), PIECE_BYTES_MAX)]


def _numbers(kept: KeptCheckpoint) -> range:
    return range(max(1, -(-kept.value_bytes // PIECE_BYTES_MAX)))


def _whole(place: Place, value: bytes | bytearray) -> bytes:
    if len(value) != place.kept.value_bytes:
        raise DamagedValue(f"checkpoint {place.kept.info.version} of session {place.record.key.id!r}")
    return bytes(value)


def _bound(place: Place, number: int) -> tuple[object, ...]:
    """What the seal of a root's value covers besides its session."""
    record = place.record
    return (record.lineage, record.model, record.fingerprint, *place.kept.place, number)
