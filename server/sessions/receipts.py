"""Receipts: signed statements of how far a text was durable, which show a client that a store was rolled back."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import NamedTuple

from server.store.base import SessionKey, SessionRecord

_MAC_BYTES = 16


class Receipt(NamedTuple):
    """The end of the text when the receipt was given, the hash of the text up to there, and the memory's version."""

    lineage: str
    offset: int
    chain: str
    version: int


class BadReceipt(ValueError):
    """A receipt that no server with these keys gave for this session."""


class Receipts:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def give(self, record: SessionRecord) -> str:
        receipt = Receipt(record.lineage, record.accepted_bytes, record.chain, record.version)
        body = json.dumps(receipt, separators=(",", ":")).encode()
        return urlsafe_b64encode(self._mac(record.key, body) + body).decode()

    def read(self, key: SessionKey, token: str) -> Receipt:
        """The receipt; `BadReceipt` when it is not one of this session."""
        try:
            signed = urlsafe_b64decode(token.encode())
        except ValueError:
            raise BadReceipt("it is not base64") from None
        mac, body = signed[:_MAC_BYTES], signed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(key, body)):
            raise BadReceipt("it was not given for this session by a server with these keys")
        return Receipt(*json.loads(body))

    def _mac(self, key: SessionKey, body: bytes) -> bytes:
        # The list's closing bracket tells where the body begins.
        return hmac.digest(self._secret, json.dumps(["receipt", *key]).encode() + body, sha256)[:_MAC_BYTES]
