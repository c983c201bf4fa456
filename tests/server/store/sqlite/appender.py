"""A process that appends and checkpoints until it is killed, and prints what was acknowledged."""

import asyncio
import random
import sys
from hashlib import sha256
from pathlib import Path

from server.store.base import CheckpointInfo, SessionKey, SessionMissing, SessionRecord, StoredCheckpoint
from server.store.sqlite import SqliteStore
from tests.server.store.samples import keep

KEYS = [SessionKey("acme", f"book {number}") for number in range(4)]
PIECE_BYTES_MAX = 3000


def text(key: SessionKey, start: int, end: int) -> bytes:
    """The bytes from `start` to `end` of the endless text of a session."""
    blocks = (sha256(f"{key.id} {number}".encode()).digest() for number in range(start // 32, end // 32 + 1))
    return b"".join(blocks)[start % 32 :][: end - start]


def memory(key: SessionKey, version: int, offset: int) -> StoredCheckpoint:
    """The checkpoint of a session with this version and offset."""
    value = sha256(f"{key.id} {version} {offset}".encode()).digest() * 500
    return StoredCheckpoint(CheckpointInfo(version, offset, offset // 2, version, len(value)), value)


async def write(store: SqliteStore, key: SessionKey, dice: random.Random) -> None:
    try:
        record = await store.get(key)
    except SessionMissing:
        record = SessionRecord(key, 1.0, 1.0, "delta", "f00d")
        await store.create(record)
    end, read, version = record.accepted_bytes, record.read_bytes, record.version
    while True:
        # Sometimes from an earlier offset, like a client that lost an answer.
        start = max(read, end - dice.choice((0, 0, 0, 1000)))
        piece = text(key, start, end + dice.randint(1, PIECE_BYTES_MAX))
        end = (await store.append(key, start, piece, at=2.0)).accepted_bytes
        print("accepted", key.id, end, sep="\t", flush=True)
        if dice.random() < 0.3:
            version, read = version + 1, dice.randint(read, end)
            await keep(store, key, memory(key, version, read), at=2.0)
            print("version", key.id, version, sep="\t", flush=True)


async def main(folder: Path, seed: int) -> None:
    store = await SqliteStore.open(folder)
    await asyncio.gather(*(write(store, key, random.Random(f"{seed} {key.id}")) for key in KEYS))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
