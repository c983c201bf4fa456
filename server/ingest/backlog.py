"""Accepted text that has not been read yet: running sums, per tenant and in total, and who may add to it."""

from __future__ import annotations

from collections import Counter

from server.engine.fair_queue import has_room
from server.ingest.session_progress import Progress

# English in the tokenizer of the bAbI weights, until something has been read.
TOKEN_BYTES = 4.0


class Backlog:
    """The unread text of all resident sessions, kept up with every change of their progress."""

    def __init__(self) -> None:
        # Only tenants that have some.
        self._unread_bytes: Counter[str] = Counter()
        self._waiting_bytes = 0
        self._read_bytes = 0
        self._read_tokens = 0

    @property
    def unread_bytes(self) -> int:
        return self._unread_bytes.total()

    @property
    def waiting_tokens(self) -> float:
        """About how many tokens the text has that the engine has not been given yet."""
        token_bytes = self._read_bytes / self._read_tokens if self._read_tokens else TOKEN_BYTES
        return self._waiting_bytes / token_bytes

    def has_room(self, tenant: str, bytes_max: int) -> bool:
        """Whether a tenant may have more text waiting: up to the limit, and beyond it up to its share of it."""
        return has_room(bytes_max, self._unread_bytes, tenant)

    def add(self, tenant: str, progress: Progress) -> None:
        self._count(tenant, progress, 1)

    def remove(self, tenant: str, progress: Progress) -> None:
        self._count(tenant, progress, -1)

    def _count(self, tenant: str, progress: Progress, sign: int) -> None:
        if unread_bytes := progress.unread_bytes:
            self._unread_bytes[tenant] += sign * unread_bytes
            if not self._unread_bytes[tenant]:
                del self._unread_bytes[tenant]
        self._waiting_bytes += sign * progress.waiting_bytes
        self._read_bytes += sign * progress.offset
        self._read_tokens += sign * progress.tokens
