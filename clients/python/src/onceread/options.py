"""Options of calls, and the part of a session that needs no request."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, TypedDict

from onceread.results import SessionInfo
from onceread.wire.sessions import SessionHandle


class Unchanged(Enum):
    """The default of a field that `update` leaves as it is; None has another meaning there."""

    UNCHANGED = "unchanged"


UNCHANGED: Final[Literal[Unchanged.UNCHANGED]] = Unchanged.UNCHANGED


class AskOptions(TypedDict, total=False):
    """Options of an answer; the server's default where one is missing.

    `remember` appends question and answer to the text; `min_offset` waits until the text is acknowledged and read up to
    this offset; `snapshot` asks the memory of a snapshot; `sources` is the largest number of sources, 0 to 16.
    """

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop: list[str]
    seed: int
    logprobs: bool
    remember: bool
    min_offset: int
    snapshot: str
    sources: int


def new_id() -> str:
    """A random id, so that a creation whose reply was lost can be repeated safely."""
    return f"sess_{secrets.token_hex(12)}"


def without_none(**settings: Any) -> dict[str, Any]:
    """The settings that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def changes(metadata: Mapping[str, str] | Unchanged, ttl_seconds: float | Unchanged | None) -> dict[str, Any]:
    both = {"metadata": metadata, "ttl_seconds": ttl_seconds}
    return {name: value for name, value in both.items() if value is not UNCHANGED}


class BaseSession:
    """A session as of the server's last reply, which `info` holds."""

    def __init__(self, info: SessionInfo, handle: SessionHandle) -> None:
        self.info, self._handle = info, handle

    @property
    def id(self) -> str:
        return self._handle.id

    @property
    def metadata(self) -> dict[str, str]:
        return self.info.metadata

    @property
    def receipt(self) -> str | None:
        """The server's signed statement of how far the text is durable; pass it to `sessions.get` later."""
        return self._handle.receipt

    @receipt.setter
    def receipt(self, receipt: str | None) -> None:
        self._handle.receipt = receipt

    @property
    def durability(self) -> str | None:
        """What acknowledged text survives (a crash, a power loss …), as of the last append's reply."""
        return self._handle.durability

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.info.text.accepted_bytes} bytes)"
