"""The keys that values are sealed with: a file of one key a line, the newest first, made when there is none.

It knows files, and nothing of what is sealed.
"""

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
    """Keys by their ids; the first seals, all open. An id is the beginning of its key's SHA-256."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {sha256(b"onceread key id" + key).digest()[:KEY_ID_BYTES]: key for key in keys}
        self.current, *_ = self._keys
        *_, self.oldest = self._keys

    def __contains__(self, key_id: bytes) -> bool:
        return key_id in self._keys

    def __getitem__(self, key_id: bytes) -> bytes:
        return self._keys[key_id]

    def derived(self, purpose: bytes) -> bytes:
        """A secret for another purpose than sealing, the same on every server with this ring's oldest key."""
        return sha256(b"onceread " + purpose + self._keys[self.oldest]).digest()

    @classmethod
    def load(cls, path: Path) -> "Keyring":
        """The file's keys; a file that is not there is made with a new key, for its owner's eyes only."""
        try:
            if not path.exists():
                # Of two servers that start at once, the first one's file stays.
                with suppress(FileExistsError):
                    _write(path, [secrets.token_bytes(_KEY_BYTES)], os.link)
            return cls(_read(path))
        except OSError as error:
            raise StoreUnavailable(
                f"the keys file {path} can not be used ({error}): check its path and permissions"
            ) from error

    @classmethod
    def of_this_process(cls) -> "Keyring":
        """A ring that nobody else has and that is gone with the process."""
        return cls([secrets.token_bytes(_KEY_BYTES)])

    @classmethod
    def rotated(cls, path: Path) -> "Keyring":
        """The ring with a new key in front, in the file too; what was sealed before still opens."""
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
    """The whole file or nothing of it: a key that is lost is a store that is lost."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("".join(f"{key.hex()}\n" for key in keys))
        file.flush()
        os.fsync(file.fileno())
    try:
        put(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
