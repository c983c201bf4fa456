"""The checksum beside every stored value. It covers the value's place too, so a value that was moved does not match."""

import json
from hashlib import sha256

from server.store.base import SessionKey


def checksum(kind: str, key: SessionKey, place: tuple[object, ...], value: bytes) -> bytes:
    """SHA-256 over the value's kind, its session, its place, and the value itself."""
    # The list's closing bracket separates the place from the value, so no byte can move from one to the other.
    digest = sha256(json.dumps([kind, *key, *place]).encode())
    digest.update(value)
    return digest.digest()


def matches(stored_checksum: object, kind: str, key: SessionKey, place: tuple[object, ...], value: object) -> bool:
    """Whether the `stored_checksum` is the value's. Damage can change the type of either."""
    return isinstance(value, bytes) and stored_checksum == checksum(kind, key, place, value)
