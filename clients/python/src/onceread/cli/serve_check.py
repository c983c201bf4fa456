"""`onceread serve-check`: is a server running and ready, and which one."""

from __future__ import annotations

import typer

from onceread.cli.exit_codes import reported
from onceread.cli.options import Json, address
from onceread.cli.output import Output
from onceread.connection_config import DEFAULT_URL
from onceread.wire.retries import Retries

# A check reports the state now, and does not wait for a better one.
CHECK_RETRIES = Retries(attempts=2, patience_seconds=0)


def serve_check(context: typer.Context, json: Json = False) -> None:
    """Check that a server is ready, and show its version, weights, store and durability."""
    output = Output(json)
    with reported(output), address(context).client(CHECK_RETRIES) as client:
        server = client.server()
        client.ready()
        facts = {"url": address(context).url or DEFAULT_URL, "ready": True, **server.fields}
        if json:
            output.line(facts)
            return
        rows = {
            "address": str(facts["url"]),
            "state": "ready",
            "version": server.version,
            "weights": f"{server.model} ({server.fingerprint[:12]})",
            "store": str(server.fields.get("store", "unknown")),
            "durability": str(server.fields.get("durability", "unknown")),
        }
        output.rows(("", ""), rows.items())
