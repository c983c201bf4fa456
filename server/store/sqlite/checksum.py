"""The checksum beside every stored value, which binds it to its place.

It knows nothing of tables; a value moved to another session, offset or version no longer matches its seal.
"""

import json
from hashlib import sha256

from server.store.base import SessionKey


def seal(kind: str, key: SessionKey, place: tuple[object, ...], value: bytes) -> bytes:
    """SHA-256 over what the value is, whose it is, where it lies, and the value."""
    # The list's closing bracket tells where the value begins, so no byte can pass from one to the other.
    sealed = sha256(json.dumps([kind, *key, *place]).encode())
    sealed.update(value)
    return sealed.digest()


def matches(sealed: object, kind: str, key: SessionKey, place: tuple[object, ...], value: object) -> bool:
    """Whether what was found is what was sealed; of a damaged value not even the type is sure."""
    return isinstance(value, bytes) and sealed == seal(kind, key, place, value)
