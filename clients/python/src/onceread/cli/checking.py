"""`onceread serve-check`: is a server there, and what does it say of itself.

It knows what a server tells, and nothing of sessions.
"""

from __future__ import annotations

import typer

from onceread.cli.exits import reported
from onceread.cli.output import Output
from onceread.cli.server import Json, address
from onceread.settings import DEFAULT_URL
from onceread.wire.retrying import Retries

# Whoever checks wants to know how it is now.
IMPATIENT = Retries(attempts=2, patience_seconds=0)


def serve_check(context: typer.Context, json: Json = False) -> None:
    """Says whether a server is there and takes work, and its version, weights, store and durability."""
    output = Output(json)
    with reported(output), address(context).client(IMPATIENT) as client:
        server = client.server()
        client.ready()
        facts = {"url": address(context).url or DEFAULT_URL, "ready": True, **server.fields}
        if json:
            output.line(facts)
            return
        told = {
            "address": str(facts["url"]),
            "state": "takes work",
            "version": server.version,
            "weights": f"{server.model} ({server.fingerprint[:12]})",
            "store": str(server.fields.get("store", "the server does not say")),
            "durability": str(server.fields.get("durability", "the server does not say")),
        }
        output.rows(("", ""), told.items())
