"""Options that commands share, and the server's address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import typer

from onceread._sync.client import Onceread
from onceread.wire.retries import Retries

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one line of JSON, for scripts.")]
SessionName: TypeAlias = Annotated[str, typer.Argument(metavar="SESSION", help="Id of the session.")]


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
