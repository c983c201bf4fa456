"""The keys that values are sealed with: a file with one key a line, the newest first, created when missing."""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from server.store.base import StoreUnavailable

KEY_ID_BYTES = 4
_KEY_BYTES = 32


class Keyring:
    """Keys by id: the first seals, all open. An id is the first KEY_ID_BYTES of a SHA-256 of its key."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {sha256(b"onceread key id" + key).digest()[:KEY_ID_BYTES]: key for key in keys}
        self.current, *_ = self._keys
        *_, self.oldest = self._keys

    def __contains__(self, key_id: bytes) -> bool:
        return key_id in self._keys

    def __getitem__(self, key_id: bytes) -> bytes:
        return self._keys[key_id]

    def derived(self, purpose: bytes) -> bytes:
        """A secret for a purpose other than sealing, equal on all servers whose rings have the same oldest key."""
        return sha256(b"onceread " + purpose + self._keys[self.oldest]).digest()

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """The file's keys; a missing file is created with a new key, readable only by its owner."""
        try:
            if not path.exists():
                # When two servers start at the same time, the file of the first one stays.
                with suppress(FileExistsError):
                    _write(path, [secrets.token_bytes(_KEY_BYTES)], os.link)
            return cls(_read(path))
        except OSError as error:
            raise StoreUnavailable(
                f"the keys file {path} cannot be used ({error}): check its path and permissions"
            ) from error

    @classmethod
    def of_this_process(cls) -> "Keyring":
        """A ring with one new key that exists only in this process."""
        return cls([secrets.token_bytes(_KEY_BYTES)])

    @classmethod
    def rotated(cls, path: Path) -> "Keyring":
        """Adds a new key in front, in the file too; values that were sealed before still open."""
        keys = _read(path) if path.exists() else []
        _write(path, [secrets.token_bytes(_KEY_BYTES), *keys], os.replace)
        return cls.load(path)


def _read(path: Path) -> list[bytes]:
    try:
        keys = [bytes.fromhex(line) for line in path.read_text().split()]
    except ValueError:
        keys = []
    if not keys or any(len(key) != _KEY_BYTES for key in keys):
        raise StoreUnavailable(
            f"the keys file {path} does not hold keys of {2 * _KEY_BYTES} hexadecimal digits, one a line: restore it"
        )
    return keys


def _write(path: Path, keys: list[bytes], put: Callable[[Path, Path], None]) -> None:
    """Writes the file atomically and durably: without its keys a store cannot be read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("".join(f"{key.hex()}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())
    try:
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
