"""The names of all keys in Redis. Those of a session share a hash tag, which includes its tenant."""

from dataclasses import dataclass
from urllib.parse import quote, unquote

from server.store.base import SessionKey
from server.store.parts import Pool

# Keys of the whole store; in a Cluster each may be in another slot.
UNREAD = "onceread:unread"
EXPIRY = "onceread:expiry"
LENDING = "onceread:lending"
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

    @property
    def parts(self) -> str:
        """How the keys of all parts begin; the lineage root of their pool is next, and their name."""
        return f"{self.tag}:part:"

    @property
    def loans(self) -> str:
        """How the keys of all loans' roots begin, in the same way."""
        return f"{self.tag}:loan:"

    def pool(self, lineage: str) -> str:
        """How the keys of all parts in the pool of this lineage root begin."""
        return f"{self.parts}{quote(lineage, safe='')}:"

    def part(self, lineage: str, name: str) -> str:
        return f"{self.pool(lineage)}{name}"

    def loan(self, lineage: str, attempt: str) -> str:
        return f"{self.loans}{quote(lineage, safe='')}:{attempt}"

    def redacted(self, attempt: str) -> "Names":
        """Where a redacted text is before it takes the place of the session's."""
        return Names(f"{self.tag}:redacted:{attempt}")

    def lender(self, lineage: str) -> str:
        return f"{self.tag}:lender:{quote(lineage, safe='')}"


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


def lenders_of(tenant: str) -> str:
    """The index of a tenant's lenders: sessions that are deleted and still lend parts."""
    return f"onceread:lenders:{quote(tenant, safe='')}"


def lending_member(tenant: str, pool: Pool) -> str:
    """The name of a pool in the index of those that may have lent parts."""
    return f"{member(SessionKey(tenant, pool.id))}/{quote(pool.lineage, safe='')}"


def pool_of_member(member: bytes) -> tuple[str, Pool]:
    """The tenant and the pool of a name in that index."""
    key, _, lineage = member.decode(errors="replace").rpartition("/")
    tenant, id = key_of(key.encode())
    return tenant, Pool(id, unquote(lineage))
