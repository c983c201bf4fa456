"""The keys file: API keys as JSON, without their secrets: only an HMAC of each token is stored."""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from server.http.permissions import Scope

PREFIX = "or_"
_ID_BYTES = 8
_SECRET_BYTES = 32
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class KeysError(ValueError):
    """The keys file cannot be used, or a change of it is not possible; the message says what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Key(_Part):
    """One key; the HMAC is over its whole token, with the file's pepper."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    hmac_sha256: _Digest
    tenant: Tenant
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created_at: float
    expires_at: float | None = None
    revoked: bool = False

    def state(self, now: float) -> Literal["valid", "revoked", "expired"]:
        if self.revoked:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "valid"


class Keys(_Part):
    """All keys of one file; a changed value is a new value."""

    version: Literal[1] = 1
    pepper: _Digest
    keys: tuple[Key, ...] = ()

    @model_validator(mode="after")
    def ids_differ(self) -> Self:
        if len({key.id for key in self.keys}) < len(self.keys):
            raise ValueError("two keys have the same id")
        return self

    def digest(self, token: str) -> str:
        """The HMAC by which a token is recognised."""
        return hmac.new(bytes.fromhex(self.pepper), token.encode(), "sha256").hexdigest()

    def with_new(
        self, tenant: str, scopes: tuple[Scope, ...], now: float, expires_at: float | None
    ) -> tuple[Keys, Key, str]:
        """The keys with a new one, the new key, and its token, which is not stored."""
        key_id = secrets.token_hex(_ID_BYTES)
        token = f"{PREFIX}{key_id}_{secrets.token_hex(_SECRET_BYTES)}"
        try:
            key = Key(
                id=key_id,
                hmac_sha256=self.digest(token),
                tenant=tenant,
                scopes=scopes,
                created_at=now,
                expires_at=expires_at,
            )
        except ValidationError as error:
            raise KeysError(_first_fault(error)) from None
        return self.model_copy(update={"keys": (*self.keys, key)}), key, token

    def without(self, key_id: str) -> Keys:
        """The keys with this one revoked."""
        if key_id not in {key.id for key in self.keys}:
            raise KeysError(f"there is no key {key_id}; `keys list` shows all keys")
        changed = (key.model_copy(update={"revoked": True}) if key.id == key_id else key for key in self.keys)
        return self.model_copy(update={"keys": tuple(changed)})


def id_of(token: str) -> str:
    """The key id in a token, or an id that no key has."""
    return token.removeprefix(PREFIX).partition("_")[0] if token.startswith(PREFIX) else ""


def load(path: Path) -> Keys:
    """The file's keys; `KeysError` if the file is missing or damaged."""
    try:
        return Keys.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise KeysError(
            f"there is no keys file {path}; create it with its first key: "
            f"ONCEREAD_KEYS_FILE={path} python -m server keys create --tenant default"
        ) from None
    except OSError as error:
        raise KeysError(f"the keys file {path} cannot be read ({error}): check its permissions") from None
    except ValidationError as error:
        raise KeysError(f"the keys file {path} is damaged ({_first_fault(error)}): restore it") from None


@contextmanager
def changing(path: Path) -> Iterator[Keys]:
    """The current keys, or none if there is no file, under a lock against other writers."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield load(path) if path.exists() else Keys(pepper=secrets.token_hex(32))
    finally:
        os.close(folder)


def save(path: Path, keys: Keys) -> None:
    """Replaces the file atomically; a new one is readable by its owner only, a changed one keeps owner and mode."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            if path.exists():
                before = path.stat()
                os.chown(file.fileno(), before.st_uid, before.st_gid)
                os.chmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.write(json.dumps(keys.model_dump(mode="json"), indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _first_fault(error: ValidationError) -> str:
    first = error.errors(include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
