"""`python -m server`: reads the settings, serves, and drains on SIGTERM or SIGINT; or looks after the store.

It knows processes and signals; what is served, the application knows.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from model.weights import WeightsError
from server.app import build_app, running, store_options
from server.settings import Settings, SettingsError, table
from server.store import open_store
from server.store.address import keys_path, redis_findings
from server.store.contract import StoreError
from server.store.keyring import Keyring

log = logging.getLogger("server")


class DrainingServer(uvicorn.Server):
    """A uvicorn server that, told to end, first lets running answers end while new work is refused."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_level=settings.log_level,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
            )
        )
        self._app, self._drain_seconds = app, settings.drain_seconds
        self._drain: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._drain = asyncio.ensure_future(self._drained())

    async def _drained(self) -> None:
        library, reading = self._app.state.library, self._app.state.reading
        library.draining = True
        log.info("draining: new work is refused, running answers end")
        closed = asyncio.ensure_future(reading.close())
        with suppress(TimeoutError):
            await asyncio.wait_for(library.asking.answers_end(), self._drain_seconds)
        await closed
        log.info("drained: every memory is stored")
        self.should_exit = True


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="Serves sessions over HTTP. Settings come from the environment:",
        epilog=table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = {"serve": _serve, "doctor": _examine, "rotate-seal-key": _rotate}
    parser.add_argument(
        "command",
        nargs="?",
        choices=commands,
        default="serve",
        help="serve (what it does by itself); doctor: says whether the store keeps what is promised of it; "
        "rotate-seal-key: puts a new key in front of the keys that values are sealed with",
    )
    command = commands[parser.parse_args().command]
    try:
        settings = Settings.from_environment(os.environ)
    except SettingsError as error:
        print(f"onceread: {error}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        return asyncio.run(command(settings))
    except (WeightsError, StoreError, ValueError, OSError) as error:
        print(f"onceread: {error}", file=sys.stderr)
        return 1


async def _examine(settings: Settings) -> int:
    """Everything that the doctor looks at, a line each; 1 when something is not as it must be."""
    if not settings.store.startswith("redis"):
        store = await open_store(settings.store, store_options(settings))
        await store.close()
        print(f"ok   {settings.store.partition(':')[0]} opens, and is as durable as {store.durability}")
        return 0
    findings = await redis_findings(settings.store, store_options(settings))
    print(*findings, sep="\n")
    return 0 if all(finding.sound for finding in findings) else 1


async def _rotate(settings: Settings) -> int:
    path = keys_path(settings.store, settings.seal_keys_file)
    ring = Keyring.rotated(path)
    print(
        f"new values are sealed with key {ring.current.hex()}; give {path} to every server of this store, restart them"
    )
    return 0


async def _serve(settings: Settings) -> int:
    app = build_app(settings)
    server = DrainingServer(app, settings)
    async with running(app):
        try:
            await server.serve()
        except SystemExit:
            # uvicorn has logged why it can not listen.
            return 1
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
