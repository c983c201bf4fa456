"""Connections to a single Redis, to the master that Sentinels name, or to the nodes of a Cluster.

The retries of the redis library are off: only the store knows which commands may be sent twice.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisClusterException, RedisError

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0
_PORT, _SENTINEL_PORT = 6379, 26379
# Enough to find a key for a master of a single slot, which is one key in 16,384.
_KEYS_TRIED_MAX = 1 << 20


OnConnect = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True)
class Access:
    """Files with the password and the certificates, so that no secret is in the environment."""

    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class Topology(Protocol):
    """Where the Redis of a key is."""

    def connection(self, key: str) -> Any:
        """An asynchronous context manager of a connection to the key's master, for one caller."""

    async def masters(self) -> list[str]:
        """One key of each master."""

    async def node(self, key: str) -> str:
        """The name of the key's master; keys of one master have the same."""

    async def refresh(self) -> None:
        """Looks the masters up again."""

    async def close(self) -> None: ...


class Pooled:
    """A connection pool to one Redis, or to the master that Sentinels name."""

    def __init__(self, pool: ConnectionPool, sentinels: Sequence[Redis] = ()) -> None:
        self._pool, self._sentinels = pool, sentinels

    @asynccontextmanager
    async def connection(self, key: str) -> AsyncIterator[Connection]:
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            yield connection
        except BaseException:
            # An answer that is still on its way must not be read by the next caller.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await asyncio.shield(self._pool.release(connection))

    async def masters(self) -> list[str]:
        return ["any"]

    async def node(self, key: str) -> str:
        return "any"

    async def refresh(self) -> None:
        await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        await self._pool.disconnect()
        for sentinel in self._sentinels:
            await sentinel.aclose()


class Clustered:
    """A Cluster: the library has the map of slots and the connections to each node."""

    def __init__(self, cluster: RedisCluster) -> None:
        self._cluster = cluster

    @asynccontextmanager
    async def connection(self, key: str) -> AsyncIterator[Connection]:
        await self._find()
        node = self._master(key)
        connection = node.acquire_connection()
        try:
            yield connection
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            node.release(connection)

    async def masters(self) -> list[str]:
        await self._find()
        masters = {nodes[0].name for nodes in self._cluster.nodes_manager.slots_cache.values()}
        # Keys are tried until each master has one: a handful. A key for one chosen slot would take 16,000.
        found: dict[str, str] = {}
        for number in range(_KEYS_TRIED_MAX):
            if len(found) == len(masters):
                break
            key = f"onceread:at:{number}"
            found.setdefault(self._master(key).name, key)
        return list(found.values())

    async def node(self, key: str) -> str:
        await self._find()
        return str(self._master(key).name)

    async def refresh(self) -> None:
        # If no node answers now, the next call tries again.
        with suppress(RedisError, RedisClusterException, OSError):
            await self._cluster.nodes_manager.initialize()

    async def close(self) -> None:
        await self._cluster.aclose()

    def _master(self, key: str) -> ClusterNode:
        return self._cluster.nodes_manager.get_node_from_slot(self._cluster.keyslot(key))

    async def _find(self) -> None:
        try:
            await self._cluster.initialize()
        except RedisClusterException as error:
            # The library's error for this is not a subclass of its connection errors.
            raise ConnectionError(str(error)) from error


def open_topology(url: str, access: Access, connections: int, on_connect: OnConnect) -> Topology:
    """The topology of an address: redis, rediss, and each with +sentinel or +cluster.

    `on_connect` is called with each new connection, before it is used.
    """
    scheme, _, rest = url.partition("://")
    secure, _, kind = scheme.partition("+")
    if secure not in ("redis", "rediss") or kind not in ("", "sentinel", "cluster"):
        raise ValueError("an address of Redis starts with redis:// or rediss://, or either with +sentinel or +cluster")
    login, _, place = rest.rpartition("@")
    hosts, _, path = place.partition("/")
    parts = urlsplit(f"redis://{login}@host" if login else "redis://host")
    options: dict[str, Any] = {
        "username": parts.username or None,
        "password": access.password_file.read_text().strip() if access.password_file else parts.password,
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_keepalive": True,
        "protocol": 2,
        "driver_info": None,
        "retry": Retry(NoBackoff(), 0),
    }
    addresses = [_address(host, _SENTINEL_PORT if kind == "sentinel" else _PORT) for host in hosts.split(",")]
    if kind == "sentinel":
        tls = _tls(access, secure) | ({"ssl": True} if secure == "rediss" else {})
        sentinel = Sentinel(  # type: ignore[no-untyped-call]
            addresses, sentinel_kwargs={**_bare(options), **tls}, **options, **tls
        )
        name, _, number = path.partition("/")
        pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
            name or "mymaster",
            sentinel,
            **options,
            **tls,
            db=int(number or 0),
            max_connections=connections,
            redis_connect_func=on_connect,
        )
        return Pooled(pool, sentinel.sentinels)
    if kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in addresses]
        tls = _tls(access, secure) | ({"ssl": True} if secure == "rediss" else {})
        options.pop("driver_info")
        cluster = RedisCluster(startup_nodes=nodes, **options, **tls, max_connections=connections)
        # The library passes these to every node that it finds.
        cluster.connection_kwargs["redis_connect_func"] = on_connect
        return Clustered(cluster)
    (host, port), *others = addresses
    if others:
        raise ValueError("only redis+sentinel:// and redis+cluster:// take several hosts")
    kind_of = SSLConnection if secure == "rediss" else Connection
    return Pooled(
        ConnectionPool(
            kind_of,
            max_connections=connections,
            host=host,
            port=port,
            db=int(path or 0),
            redis_connect_func=on_connect,
            **options,
            **_tls(access, secure),
        )
    )


def _address(host: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"redis://{host}")
    return parts.hostname or "127.0.0.1", parts.port or port


def _bare(options: dict[str, Any]) -> dict[str, Any]:
    """The options for Sentinels, which have their own users, usually none."""
    return {name: value for name, value in options.items() if name not in ("username", "password")}


def _tls(access: Access, scheme: str) -> dict[str, Any]:
    if scheme != "rediss":
        return {}
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_ca_certs": str(access.ca_file) if access.ca_file else None,
        "ssl_certfile": str(access.certificate_file) if access.certificate_file else None,
        "ssl_keyfile": str(access.key_file) if access.key_file else None,
    }
