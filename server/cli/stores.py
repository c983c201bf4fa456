"""Commands that look after the store: whether it keeps what is promised, and the keys its values are sealed with.

They know the store's address, and nothing of sessions.
"""

from __future__ import annotations

import argparse

from server.settings import Settings
from server.store import open_store
from server.store.keyring import Keyring
from server.store.open import keys_path, redis_findings


async def examine(_: argparse.Namespace, settings: Settings) -> int:
    """Everything that the doctor looks at, a line each; 1 when something is not as it must be."""
    # Only here: what the application stands on takes seconds to load.
    from server.app import store_options

    options = store_options(settings)
    if not settings.store.startswith("redis"):
        store = await open_store(settings.store, options)
        await store.close()
        print(f"ok   {settings.store.partition(':')[0]} opens, and is as durable as {store.durability}")
        return 0
    findings = await redis_findings(settings.store, options)
    print(*findings, sep="\n")
    return 0 if all(finding.sound for finding in findings) else 1


async def rotate(_: argparse.Namespace, settings: Settings) -> int:
    path = keys_path(settings.store, settings.seal_keys_file)
    ring = Keyring.rotated(path)
    print(
        f"new values are sealed with key {ring.current.hex()}; give {path} to every server of this store, restart them"
    )
    return 0
