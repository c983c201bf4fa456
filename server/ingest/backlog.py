"""Accepted text that has not been read yet: how much there is, of whom, and who may add to it.

It knows the sessions at hand by their counts, and nothing of how they are read.
"""

from __future__ import annotations

from collections import Counter

from server.engine.fair_queue import has_room
from server.ingest.resident_session import ResidentSession
from server.ingest.session_cache import SessionCache
from server.store.base import SessionKey

# English in the tokeniser of the default weights; what is at hand is measured.
TOKEN_BYTES = 4.0


class Backlog:
    """The unread text of all sessions at hand."""

    def __init__(self, residents: SessionCache[SessionKey, ResidentSession]) -> None:
        self._residents = residents

    @property
    def behind_bytes(self) -> int:
        return sum(live.behind_bytes for live in self._residents)

    @property
    def waiting_tokens(self) -> float:
        """About how many tokens the text has that the engine has not been given yet."""
        read = [live.state for live in self._residents if live.state is not None]
        tokens = sum(state.tokens for state in read)
        token_bytes = sum(state.offset for state in read) / tokens if tokens else TOKEN_BYTES
        return sum(max(0, live.behind_bytes - live.taken_bytes) for live in self._residents) / token_bytes

    def has_room(self, tenant: str, bytes_max: int) -> bool:
        """Whether a tenant may have more text waiting: up to the limit, and beyond it up to its share of it."""
        behind = Counter[str]()
        for live in self._residents:
            behind[live.key.tenant] += live.behind_bytes
        return has_room(bytes_max, behind, tenant)
