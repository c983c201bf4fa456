"""The names of all keys in Redis. Those of a session share a hash tag, which includes its tenant."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from server.store.base import SessionKey
from server.store.manifest import KeptCheckpoint

# Keys of the whole store; in a Cluster each may be in another slot.
UNREAD = "onceread:unread"
EXPIRY = "onceread:expiry"
SEALED_WITH = "onceread:sealed-with"


@dataclass(frozen=True)
class Names:
    """The keys of one session, all in one slot of a cluster."""

    tag: str

    @property
    def record(self) -> str:
        return f"{self.tag}:record"

    @property
    def journal(self) -> str:
        return f"{self.tag}:journal"

    @property
    def pieces(self) -> str:
        return f"{self.tag}:pieces"

    @property
    def lease(self) -> str:
        return f"{self.tag}:lease"

    @property
    def tombstone(self) -> str:
        return f"{self.tag}:tombstone"

    @property
    def confirmed(self) -> str:
        return f"{self.tag}:confirmed"

    def checkpoint(self, attempt: str) -> str:
        return f"{self.tag}:checkpoint:{attempt}"

    def checkpoints(self, checkpoints: Iterable[KeptCheckpoint]) -> list[str]:
        return [self.checkpoint(kept.attempt) for kept in checkpoints]


def member(key: SessionKey) -> str:
    """The session's name in an index; quoting leaves no slash in either part."""
    return f"{quote(key.tenant, safe='')}/{quote(key.id, safe='')}"


def key_of(member: bytes) -> SessionKey:
    tenant, _, id = member.decode(errors="replace").partition("/")
    return SessionKey(unquote(tenant), unquote(id))


def names(key: SessionKey) -> Names:
    return Names(f"onceread:{{{member(key)}}}")


def sessions_of(tenant: str) -> str:
    """The index of a tenant's sessions by age."""
    return f"onceread:sessions:{quote(tenant, safe='')}"
