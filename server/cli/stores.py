"""The commands `doctor`, which checks the store, and `rotate-seal-key`, which changes its encryption key."""

from __future__ import annotations

import argparse

from server.settings import Settings
from server.store import open_store
from server.store.keyring import Keyring
from server.store.open import keys_path, redis_findings


async def examine(_: argparse.Namespace, settings: Settings) -> int:
    """Prints one line per check; 1 if a check fails."""
    # Imported here: torch takes seconds to load, and the other commands do not need it.
    from server.app import store_options

    options = store_options(settings)
    if not settings.store.startswith("redis"):
        store = await open_store(settings.store, options)
        await store.close()
        print(f"ok   {settings.store.partition(':')[0]} opens; durability: {store.durability}")
        return 0
    findings = await redis_findings(settings.store, options)
    print(*findings, sep="\n")
    return 0 if all(finding.sound for finding in findings) else 1


async def rotate(_: argparse.Namespace, settings: Settings) -> int:
    path = keys_path(settings.store, settings.seal_keys_file)
    ring = Keyring.rotated(path)
    print(f"key {ring.current.hex()} encrypts new values; copy {path} to every server of this store and restart it")
    return 0
