"""The server that a command talks to, as the options before the command name it.

It knows options, and nothing of sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from onceread._sync.client import Onceread
from onceread.wire.retrying import Retries

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output, for scripts.")]
SessionName: TypeAlias = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.")]


@dataclass(frozen=True)
class Address:
    url: str | None
    api_key: str | None

    def client(self, retries: Retries | None = None) -> Onceread:
        return Onceread(self.url, api_key=self.api_key, retries=retries)


def address(context: typer.Context) -> Address:
    found = context.find_object(Address)
    assert found is not None
    return found
