"""Errors of Redis and of the connection to it as errors of the store: what happened, and what to do."""

from redis.exceptions import AuthenticationError, RedisError, ResponseError

from server.store.base import StoreError, StoreFull, StoreUnavailable

_ADVICE = {
    "OOM": (
        StoreFull,
        "Redis has no memory left, nothing was kept: raise maxmemory or delete sessions, then send it again",
    ),
    "MISCONF": (StoreUnavailable, "Redis can not write to its disk and takes no writes: look at its log, make room"),
    "READONLY": (StoreUnavailable, "this Redis is a replica now: the new master is looked for"),
    "LOADING": (StoreUnavailable, "Redis is still loading its data"),
    "MASTERDOWN": (StoreUnavailable, "this Redis is a replica that has lost its master"),
    "NOREPLICAS": (StoreUnavailable, "too few replicas are in reach for min-replicas-to-write: look at the replicas"),
    "CLUSTERDOWN": (StoreUnavailable, "the cluster is down: some of its slots have no master"),
    "TRYAGAIN": (StoreUnavailable, "the cluster is moving these keys"),
    "NOAUTH": (StoreUnavailable, "Redis wants a password: set ONCEREAD_STORE_PASSWORD_FILE"),
    "WRONGPASS": (StoreUnavailable, "Redis does not take this user and password: look at ONCEREAD_STORE_PASSWORD_FILE"),
    "NOPERM": (StoreUnavailable, "the user may not do this: docs/durability.md lists the commands that it needs"),
    "BUSY": (StoreUnavailable, "a script keeps Redis busy"),
}


class Unreachable(StoreUnavailable):
    """No answer: what was asked for may have been done or not."""


class Unconfirmed(StoreUnavailable):
    """It was done, but too few replicas say that they have it: it may be lost with the master."""


class Unfit(RedisError):
    """This Redis can not keep what is promised; nothing was sent to it."""


def explained(error: ResponseError | AuthenticationError) -> StoreError:
    """A refusal by Redis: nothing was done."""
    word = _word(error)
    if word == "NOSCRIPT" or word in ("MOVED", "ASK"):
        return StoreUnavailable(f"Redis points elsewhere ({error})")
    kind, advice = _ADVICE.get(word, (StoreUnavailable, "Redis refused: look at the cause"))
    return kind(f"{advice} ({error})")


def points_elsewhere(error: ResponseError) -> bool:
    """Whether another Redis may be the one to ask by now."""
    return _word(error) in ("MOVED", "ASK", "READONLY", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN")


def unreachable(error: Exception) -> Unreachable:
    reason = str(error) or type(error).__name__
    return Unreachable(f"Redis can not be reached ({reason}): check that it runs, and the way to it")


def _word(error: ResponseError | AuthenticationError) -> str:
    # The client's own classes take the first word off some messages.
    by_class = {"NoScriptError": "NOSCRIPT", "ReadOnlyError": "READONLY", "BusyLoadingError": "LOADING"} | {
        "OutOfMemoryError": "OOM", "NoPermissionError": "NOPERM", "AuthenticationError": "WRONGPASS",
        "MovedError": "MOVED", "AskError": "ASK", "ClusterDownError": "CLUSTERDOWN", "MasterDownError": "MASTERDOWN",
        "TryAgainError": "TRYAGAIN", "AuthenticationWrongNumberOfArgsError": "NOAUTH",
    }  # fmt: skip
    return by_class.get(type(error).__name__) or str(error).partition(" ")[0]
