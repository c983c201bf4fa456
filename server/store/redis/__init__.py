"""The shared store: Redis or Valkey, standalone, behind Sentinel, or as a Cluster."""

from server.store.redis.store import RedisStore

__all__ = ["RedisStore"]
