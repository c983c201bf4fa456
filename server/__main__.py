"""`python -m server`: reads the settings, serves, and drains on SIGTERM or SIGINT.

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
from server.app import build_app, running
from server.settings import Settings, SettingsError, table
from server.store.contract import StoreError

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
    parser.parse_args()
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
        return asyncio.run(_serve(settings))
    except (WeightsError, StoreError, ValueError, OSError) as error:
        print(f"onceread: {error}", file=sys.stderr)
        return 1


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
