"""The checksum beside every stored value. It covers the value's place too: one that was moved does not match."""

import json
from hashlib import sha256

from server.store.base import SessionKey


def checksum(kind: str, key: SessionKey, place: tuple[object, ...], value: bytes) -> bytes:
    """SHA-256 over what the value is, whose it is, where it lies, and the value."""
    # The list's closing bracket tells where the value begins, so no byte can pass from one to the other.
    digest = sha256(json.dumps([kind, *key, *place]).encode())
    digest.update(value)
    return digest.digest()


def matches(found: object, kind: str, key: SessionKey, place: tuple[object, ...], value: object) -> bool:
    """Whether the stored checksum `found` is the value's; not even the type of a damaged value is sure."""
    return isinstance(value, bytes) and found == checksum(kind, key, place, value)
