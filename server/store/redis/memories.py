"""Memories in Redis: sealed parts of bounded size under a name of their attempt's own, which runs out unless kept.

It knows neither what a memory is nor which ones are still wanted; that the session's entry tells.
"""

from server.store.base import PIECE_BYTES_MAX, DamagedValue, SessionRecord, StoredCheckpoint
from server.store.encryption import Sealer
from server.store.manifest import KeptCheckpoint
from server.store.redis.client import Link
from server.store.redis.names import names

UNKEPT_SECONDS = 600
# So many parts come in one answer: 4 MB, which is a few milliseconds of a connection.
FETCHED_PARTS = 16


class Memories:
    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link, self._sealer = link, sealer

    async def upload(self, record: SessionRecord, kept: KeptCheckpoint, value: bytes) -> list[int]:
        """Sends the parts, and returns how long each of them is; nobody sees them before the entry names them."""
        at = names(record.key)
        name, lengths = at.checkpoint(kept.attempt), []
        for number, part in enumerate(_parts(value)):
            sealed = self._sealer.seal("memory", record.key, _place(record, kept, number), part)
            await self._link.ask(at.record, ("HSET", name, number, sealed), ("EXPIRE", name, UNKEPT_SECONDS))
            lengths.append(len(sealed))
        return lengths

    async def load(self, record: SessionRecord, kept: KeptCheckpoint) -> StoredCheckpoint:
        at, value = names(record.key), bytearray()
        numbers = range(max(1, -(-kept.value_bytes // PIECE_BYTES_MAX)))
        for start in numbers[::FETCHED_PARTS]:
            some = numbers[start : start + FETCHED_PARTS]
            [parts] = await self._link.ask(at.record, ("HMGET", at.checkpoint(kept.attempt), *some))
            for number, sealed in zip(some, parts, strict=True):
                value += self._sealer.open("memory", record.key, _place(record, kept, number), sealed)
        if len(value) != kept.value_bytes:
            raise DamagedValue(f"checkpoint {kept.info.version} of session {record.key.id!r}")
        return kept.checkpoint(bytes(value))


def _parts(value: bytes) -> list[bytes]:
    return [value[start : start + PIECE_BYTES_MAX] for start in range(0, max(1, len(value)), PIECE_BYTES_MAX)]


def _place(record: SessionRecord, kept: KeptCheckpoint, number: int) -> tuple[object, ...]:
    return (record.lineage, record.model, record.fingerprint, *kept.place, number)
