"""Memories in Redis: sealed parts of bounded size under a name of their attempt's own, which runs out unless kept.

It knows neither what a memory is nor which ones are still wanted; that the session's entry tells.
"""

from server.store.contract import PIECE_BYTES_MAX, DamagedValue, SessionRecord, StoredCheckpoint
from server.store.entry import Mark
from server.store.redis.link import Link
from server.store.redis.names import names
from server.store.sealing import Sealer

UNKEPT_SECONDS = 600


class Memories:
    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link, self._sealer = link, sealer

    async def upload(self, record: SessionRecord, mark: Mark, value: bytes) -> list[int]:
        """Sends the parts, and returns how long each of them is; nobody sees them before the entry names them."""
        at = names(record.key)
        name, lengths = at.checkpoint(mark.attempt), []
        for number, part in enumerate(_parts(value)):
            sealed = self._sealer.seal("memory", record.key, _place(record, mark, number), part)
            await self._link.ask(at.record, ("HSET", name, number, sealed), ("EXPIRE", name, UNKEPT_SECONDS))
            lengths.append(len(sealed))
        return lengths

    async def load(self, record: SessionRecord, mark: Mark) -> StoredCheckpoint:
        at = names(record.key)
        value = bytearray()
        for number in range(len(_parts(b"\0" * mark.value_bytes))):
            [sealed] = await self._link.ask(at.record, ("HGET", at.checkpoint(mark.attempt), number))
            value += self._sealer.open("memory", record.key, _place(record, mark, number), sealed)
        if len(value) != mark.value_bytes:
            raise DamagedValue(f"checkpoint {mark.version} of session {record.key.id!r}")
        return mark.checkpoint(bytes(value))


def _parts(value: bytes) -> list[bytes]:
    return [value[start : start + PIECE_BYTES_MAX] for start in range(0, max(1, len(value)), PIECE_BYTES_MAX)]


def _place(record: SessionRecord, mark: Mark, number: int) -> tuple[object, ...]:
    return (record.lineage, record.model, record.fingerprint, *mark, number)
