"""Sealed values: AES-256-GCM under a key derived for each session. The value's kind and place are authenticated too.

A value that was changed, cut, or moved to another tenant, session or place does not open.
"""

import hmac
import json
import os
from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from server.store.base import DamagedValue, SessionKey
from server.store.keyring import KEY_ID_BYTES, Keyring

_MAGIC = b"OR1"
_NONCE_BYTES = 12
SEALED_BYTES_MORE = len(_MAGIC) + KEY_ID_BYTES + _NONCE_BYTES + 16
_DIGEST_BYTES = 16


class Sealer:
    """Seals with the ring's first key, and opens with the key that the value names."""

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring
        self._derived = lru_cache(maxsize=4096)(self._derive)

    def seal(self, kind: str, key: SessionKey, place: tuple[object, ...], value: bytes) -> bytes:
        key_id, nonce = self._ring.current, os.urandom(_NONCE_BYTES)
        head = _MAGIC + key_id + nonce
        cipher = AESGCM(self._derived(key_id, "seal", key))
        return head + cipher.encrypt(nonce, value, _header(head, kind, key, place))

    def open(self, kind: str, key: SessionKey, place: tuple[object, ...], sealed: object) -> bytes:
        """The value; `DamagedValue`. Damage can change even the type of `sealed`."""
        what = f"{kind} {place} of session {key.id!r}"
        if not isinstance(sealed, bytes) or len(sealed) < SEALED_BYTES_MORE or not sealed.startswith(_MAGIC):
            raise DamagedValue(what)
        head_bytes = len(_MAGIC) + KEY_ID_BYTES + _NONCE_BYTES
        head, body = sealed[:head_bytes], sealed[head_bytes:]
        key_id, nonce = head[len(_MAGIC) : -_NONCE_BYTES], head[-_NONCE_BYTES:]
        if key_id not in self._ring:
            raise DamagedValue(f"{what} (its key {key_id.hex()} is not in the keys file)")
        try:
            return AESGCM(self._derived(key_id, "seal", key)).decrypt(nonce, body, _header(head, kind, key, place))
        except InvalidTag:
            raise DamagedValue(what) from None

    def digest(self, kind: str, key: SessionKey, place: tuple[object, ...], value: bytes) -> str:
        """A keyed digest (HMAC-SHA-256, truncated) that recognises a value and reveals nothing of it.

        It uses the oldest key, so it stays the same when the keys are rotated.
        """
        secret = self._derived(self._ring.oldest, "digest", key)
        return hmac.digest(secret, _header(b"", kind, key, place) + value, sha256)[:_DIGEST_BYTES].hex()

    def _derive(self, key_id: bytes, purpose: str, key: SessionKey) -> bytes:
        info = json.dumps([purpose, *key]).encode()
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._ring[key_id])


def _header(head: bytes, kind: str, key: SessionKey, place: tuple[object, ...]) -> bytes:
    # The list's closing bracket marks its end, so no byte can move from one part to another.
    return head + json.dumps([kind, *key, *place]).encode()
