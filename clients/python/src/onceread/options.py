"""What may be said along with a question or a new session, and what is known of a session without asking.

It knows names and types; what they mean is the server's business.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, TypedDict

from onceread.results import SessionInfo
from onceread.wire.handle import Handle


class Unchanged(Enum):
    """Says of a field that it stays as it is; None means something else there."""

    UNCHANGED = "unchanged"


UNCHANGED: Final[Literal[Unchanged.UNCHANGED]] = Unchanged.UNCHANGED


class AskOptions(TypedDict, total=False):
    """How an answer is written. What is left out is as the server has it.

    `remember` appends question and answer to the text; `min_offset` waits for so much text to be acknowledged and read;
    `snapshot` asks an older memory.
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


def made_up_id() -> str:
    """An id that nobody else makes up: a creation whose answer was lost can be repeated with it."""
    return f"sess_{secrets.token_hex(12)}"


def given(**settings: Any) -> dict[str, Any]:
    """The settings that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def changes(metadata: Mapping[str, str] | Unchanged, ttl_seconds: float | Unchanged | None) -> dict[str, Any]:
    both = {"metadata": metadata, "ttl_seconds": ttl_seconds}
    return {name: value for name, value in both.items() if value is not UNCHANGED}


class SessionFacts:
    """A session as this client knows it; `info` is what the server said last."""

    def __init__(self, info: SessionInfo, handle: Handle) -> None:
        self.info, self._handle = info, handle

    @property
    def id(self) -> str:
        return self._handle.id

    @property
    def metadata(self) -> dict[str, str]:
        return self.info.metadata

    @property
    def receipt(self) -> str | None:
        """A signed note of how far the text was durable, shown with every request; keep it to show it later."""
        return self._handle.receipt

    @receipt.setter
    def receipt(self, receipt: str | None) -> None:
        self._handle.receipt = receipt

    @property
    def durability(self) -> str | None:
        """What acknowledged text survives, as the last append's answer said."""
        return self._handle.durability

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.info.text.accepted_bytes} bytes)"
