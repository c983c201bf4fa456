"""Authentication by API key and authorization by its scopes; no token is ever logged or repeated."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.http import api_keys
from server.http.permissions import SCOPES, Call, Scope
from server.http.refusals import InvalidApiKey, NotAllowed
from server.settings import ListenSettings, SettingsError

log = logging.getLogger(__name__)
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Identity:
    """The tenant and scopes of a request; `key_id` is None if the server requires no keys."""

    tenant: str
    key_id: str | None
    scopes: frozenset[Scope]

    def may(self, scope: Scope | None) -> bool:
        return scope is None or scope in self.scopes or "admin" in self.scopes


ANONYMOUS = Identity("default", None, frozenset(SCOPES))


class WatchedKeys:
    """The keys of a file, reloaded when it changes; checked when a token comes, at most once a second."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._seen, self._looked_at = _version(path), clock()
        self._keys = _Ring(api_keys.load(path))

    def identify(self, token: str, now: float) -> Identity:
        """The token's identity at a Unix time; `InvalidApiKey` if it has none."""
        if self._clock() - self._looked_at >= LOOK_SECONDS:
            self._look()
        return self._keys.identify(token, now)

    def _look(self) -> None:
        self._looked_at = self._clock()
        if (seen := _version(self._path)) == self._seen:
            return
        self._seen = seen
        try:
            self._keys = _Ring(api_keys.load(self._path))
        except api_keys.KeysError as error:
            log.error("%s; the previous keys stay in use", error)
        else:
            log.info("keys file reloaded")


class _Ring:
    def __init__(self, known: api_keys.Keys) -> None:
        self._known = known
        self._by_id = {key.id: key for key in known.keys}
        # An unknown id takes as long as a known one.
        self._no_digest = secrets.token_hex(32)

    def identify(self, token: str, now: float) -> Identity:
        key = self._by_id.get(api_keys.id_of(token))
        expected = self._no_digest if key is None else key.hmac_sha256
        same = hmac.compare_digest(self._known.digest(token), expected)
        if key is None or not same:
            raise InvalidApiKey("unknown key; ask the operator for one")
        if (state := key.state(now)) != "valid":
            raise InvalidApiKey(f"the key {key.id} is {state}; ask the operator for a new one")
        return Identity(key.tenant, key.id, frozenset(key.scopes))


class Auth:
    """Identifies requests; without a keys file every request may do everything."""

    def __init__(self, keys_file: Path | None) -> None:
        self._keys = None if keys_file is None else WatchedKeys(keys_file)

    def identify(self, authorization: str | None) -> Identity:
        if self._keys is None:
            return ANONYMOUS
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise InvalidApiKey("no key; send one in the header Authorization: Bearer KEY")
        return self._keys.identify(token.strip(), time.time())


def must_be_allowed(identity: Identity, call: Call) -> None:
    if not identity.may(call.scope):
        raise NotAllowed(
            f"the key {identity.key_id} lacks the scope {call.scope}, which {call.method} {call.path} requires; use "
            "a key with it",
            scope=call.scope,
        )


def must_be_guarded(settings: ListenSettings) -> None:
    """Refuses an unusable keys file, and a non-loopback address without a keys file unless `open` allows it."""
    if settings.keys_file is not None:
        api_keys.load(settings.keys_file)
    elif not settings.open and not _is_loopback(settings.host):
        raise SettingsError(
            f"anyone who can reach {settings.host or 'this machine'} could use this server: name a keys file with "
            "--keys-file or ONCEREAD_KEYS_FILE (`python -m server keys create` creates it), listen on 127.0.0.1, or "
            "set ONCEREAD_OPEN=true to allow it"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _version(path: Path) -> tuple[int, ...] | None:
    """A value that differs after every change of the file; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
