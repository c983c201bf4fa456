"""One session among others of the same name; its name is in all its text and memories, and every answer is checked."""

from __future__ import annotations

import random

from server.store.base import (
    LEASE_SECONDS,
    CheckpointInfo,
    SessionKey,
    SessionRecord,
    StaleCheckpoint,
    Store,
    StoredCheckpoint,
)
from server.store.text_hash import EMPTY_CHAIN, extended

ALL = 1 << 16
WORDS = 1_000


class Wrong(Exception):
    """An answer that is another session's, or wrong, in words."""


class Session:
    """Acknowledged text must be there; text in flight may be; nothing else may."""

    def __init__(self, key: SessionKey, nonce: int) -> None:
        self.key = key
        self.name = f"<{key.tenant}|{key.id}|{nonce}>"
        self.text = "".join(f"{self.name}{number} " for number in range(WORDS)).encode()
        self.record = SessionRecord(key, float(nonce), 1.0, "tiny", "f00d", {"name": self.name}, lineage=f"{nonce:x}")
        self.acknowledged = self.begun = self.covered = self.version = self.version_begun = 0
        self._chains = {0: EMPTY_CHAIN}

    def chain_at(self, offset: int) -> str:
        if offset not in self._chains:
            near = max(known for known in self._chains if known <= offset)
            self._chains[offset] = extended(self._chains[near], self.text[near:offset])
        return self._chains[offset]

    def value(self, version: int, offset: int) -> bytes:
        return f"{self.name} version {version} at {offset}".encode()

    async def append(self, store: Store, dice: random.Random) -> None:
        start, end = self.acknowledged, self.acknowledged + dice.choice((1, 20, 60, 200))
        self.begun = max(self.begun, end)
        appended = await store.append(self.key, start, self.text[start:end], 1.0)
        if not end <= appended.accepted_bytes <= self.begun:
            raise Wrong(f"{self.name}: appended up to {end} and at most {self.begun}, answered {appended}")
        if appended.record is not None:
            self.check(appended.record, end)
        # A call cancelled earlier can no longer take effect: it was based on an earlier record.
        self.acknowledged = self.begun = appended.accepted_bytes

    async def checkpoint(self, store: Store, dice: random.Random) -> None:
        record = await store.get(self.key)
        self.check(record, self.acknowledged)
        version, offset = record.version + 1, dice.randint(record.read_bytes, max(record.read_bytes, self.acknowledged))
        self.covered, self.version_begun = max(self.covered, offset), max(self.version_begun, version)
        value = self.value(version, offset)
        lease = await store.lease(self.key, self.name, LEASE_SECONDS)
        if (lease.key, lease.holder) != (self.key, self.name):
            raise Wrong(f"{self.name}: was given {lease}")
        try:
            info = CheckpointInfo(version, offset, chain=self.chain_at(offset))
            await store.checkpoint(lease, StoredCheckpoint(info, value), at=1.0)
        except StaleCheckpoint:
            # A cancelled checkpoint took effect all the same.
            if (await store.get(self.key)).version != version:
                raise
        self.version = max(self.version, version)

    async def journal(self, store: Store, dice: random.Random) -> None:
        offset, limit, acknowledged = dice.randint(0, self.acknowledged), dice.choice((1, 30, ALL)), self.acknowledged
        try:
            found = await store.journal(self.key, offset, limit)
        except StaleCheckpoint as error:
            if offset > self.covered:
                raise Wrong(f"{self.name}: {error}, but nothing beyond {self.covered} was checkpointed") from error
            return
        self._check_text(offset, found)
        if not min(limit, acknowledged - offset) <= len(found) <= min(limit, self.begun - offset):
            raise Wrong(f"{self.name}: {len(found)} bytes from {offset} on, of {acknowledged} to {self.begun}")

    async def get(self, store: Store) -> None:
        acknowledged = self.acknowledged
        self.check(await store.get(self.key), acknowledged)

    async def recover(self, store: Store) -> None:
        acknowledged, version = self.acknowledged, self.version
        recovery = await store.recover(self.key)
        self.check(recovery.record, acknowledged)
        if recovery.damaged or not version <= recovery.record.version <= self.version_begun:
            raise Wrong(f"{self.name}: version {recovery.record.version}, damaged {recovery.damaged}")
        for checkpoint in recovery.checkpoints:
            if checkpoint.value != self.value(checkpoint.version, checkpoint.offset):
                raise Wrong(f"{self.name}: a checkpoint of {checkpoint.value!r}")

    async def is_whole(self, store: Store) -> None:
        """All acknowledged text is there in order, once no call is in flight."""
        await self.recover(store)
        recovery = await store.recover(self.key)
        found = await store.journal(self.key, recovery.journal_offset, ALL)
        self._check_text(recovery.journal_offset, found)
        if recovery.journal_offset > self.covered or recovery.journal_offset + len(found) < self.acknowledged:
            raise Wrong(f"{self.name}: {len(found)} bytes are left behind {recovery.journal_offset}")

    def check(self, record: SessionRecord, acknowledged: int) -> None:
        accepted = record.accepted_bytes
        mine = (record.key, record.metadata, record.lineage) == (self.key, self.record.metadata, self.record.lineage)
        if not mine or not acknowledged <= accepted <= self.begun or record.chain != self.chain_at(accepted):
            raise Wrong(f"{self.name}: of {acknowledged} to {self.begun} bytes, found {record}")

    def _check_text(self, offset: int, found: object) -> None:
        if not isinstance(found, bytes) or found != self.text[offset : offset + len(found)]:
            raise Wrong(f"{self.name}: other text from {offset} on: {found!r:.200}")
