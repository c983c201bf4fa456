"""Errors of Redis and of the connection to it as errors of the store: what happened, and what to do."""

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from server.store.base import StoreError, StoreFull, StoreUnavailable

_ADVICE = {
    "OOM": (
        StoreFull,
        "Redis has no memory left, nothing was kept: raise maxmemory or delete sessions, then send it again",
    ),
    "MISCONF": (
        StoreUnavailable,
        "Redis cannot write to its disk and refuses writes: check its log and free some space",
    ),
    "READONLY": (StoreUnavailable, "this Redis is now a replica: the new master is being looked up"),
    "LOADING": (StoreUnavailable, "Redis is still loading its data"),
    "MASTERDOWN": (StoreUnavailable, "this Redis is a replica without its master"),
    "NOREPLICAS": (StoreUnavailable, "fewer replicas are connected than min-replicas-to-write: check the replicas"),
    "CLUSTERDOWN": (StoreUnavailable, "the cluster is down: some of its slots have no master"),
    "TRYAGAIN": (StoreUnavailable, "the cluster is moving these keys"),
    "NOAUTH": (StoreUnavailable, "Redis needs a password: set ONCEREAD_STORE_PASSWORD_FILE"),
    "WRONGPASS": (StoreUnavailable, "Redis refused the user or the password: check ONCEREAD_STORE_PASSWORD_FILE"),
    "NOPERM": (StoreUnavailable, "the user lacks a permission: docs/durability.md lists what it needs"),
    "BUSY": (StoreUnavailable, "Redis is busy with a script"),
}


class Unreachable(StoreUnavailable):
    """No answer: the command may have run."""


class Unconfirmed(StoreUnavailable):
    """The command ran, but too few replicas confirmed it: it may be lost with the master."""


class Unfit(RedisError):
    """This Redis does not meet the requirements; no command was sent to it."""


def explained(error: ResponseError | AuthenticationError) -> StoreError:
    """The store's error for an error of Redis: nothing was changed."""
    word = _word(error)
    if word == "NOSCRIPT" or word in ("MOVED", "ASK"):
        return StoreUnavailable(f"Redis redirects to another node ({error})")
    kind, advice = _ADVICE.get(word, (StoreUnavailable, "Redis refused the command"))
    return kind(f"{advice} ({error})")


def points_elsewhere(error: ResponseError) -> bool:
    """Whether the key's master may be another Redis by now."""
    return _word(error) in ("MOVED", "ASK", "READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN")


def unreachable(error: Exception) -> Unreachable:
    reason = str(error) or type(error).__name__
    return Unreachable(f"Redis cannot be reached ({reason}): check that it runs, and the network")


def _word(error: ResponseError | AuthenticationError) -> str:
    # For some errors the library has a class, and removes the first word of the message.
    by_class = {"NoScriptError": "NOSCRIPT", "ReadOnlyError": "READONLY", "BusyLoadingError": "LOADING"} | {
        "OutOfMemoryError": "OOM", "NoPermissionError": "NOPERM", "AuthenticationError": "WRONGPASS",
        "MovedError": "MOVED", "AskError": "ASK", "ClusterDownError": "CLUSTERDOWN", "MasterDownError": "MASTERDOWN",
        "TryAgainError": "TRYAGAIN", "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    }  # fmt: skip
    return by_class.get(type(error).__name__) or str(error).partition(" ")[0]
