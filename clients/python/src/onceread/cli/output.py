"""What a command shows: results on standard output, everything else on standard error; for people, or as JSON.

It knows how values look, and nothing of where they come from.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from onceread import errors
from onceread.results import Progress, SessionInfo


class Output:
    """With `json` every result is one line of JSON, and so is an error."""

    def __init__(self, json: bool = False) -> None:
        self.json = json
        # What is shown is somebody's text: nothing in it is markup.
        self.results = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.notes = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    @property
    def for_people(self) -> bool:
        """Whether somebody looks at it as it is written."""
        return self.notes.is_terminal and not self.json

    def line(self, value: object) -> None:
        """One line of JSON."""
        print(json.dumps(value, default=_plain, ensure_ascii=False), flush=True)

    def result(self, value: object, said: str) -> None:
        """The value for scripts, or what is said of it for people."""
        if self.json:
            self.line(value)
        else:
            self.results.print(said)

    def rows(self, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        self.results.print(table(columns, rows))

    def note(self, said: str) -> None:
        """Beside the result, for people."""
        if not self.json:
            self.notes.print(said)

    def progress(self, progress: Progress, said: str) -> None:
        if self.json:
            self._json_note({"progress": asdict(progress)})
        else:
            self.notes.print(said)

    def unfinished(self, told: Mapping[str, Any], said: str) -> None:
        """How to go on with what is about to end."""
        if self.json:
            self._json_note({"unfinished": told})
        else:
            self.notes.print(said)

    def failure(self, error: Exception) -> None:
        if not self.json:
            self.notes.print(f"onceread: {error}")
            return
        told: dict[str, Any] = {"message": str(error), "type": type(error).__name__}
        if isinstance(error, errors.ApiError):
            told |= {"code": error.reason, "status": error.status, "request_id": error.request_id, **error.members}
        self._json_note({"error": told})

    def _json_note(self, value: object) -> None:
        print(json.dumps(value, ensure_ascii=False), file=sys.stderr, flush=True)


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], title: str | None = None) -> Table:
    """Numbers to the right; columns without names have no row for them."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=any(columns))
    for name in columns:
        made.add_column(name, justify="right" if name in ("bytes", "read", "tokens", "tokens/s") else "left")
    for row in rows:
        made.add_row(*row)
    return made


def session_row(info: SessionInfo) -> list[str]:
    """A session as people look at it; `SESSION_COLUMNS` names the parts."""
    read = info.text.read_bytes / info.text.accepted_bytes if info.text.accepted_bytes else 1.0
    when = datetime.fromtimestamp(info.updated_at).strftime("%Y-%m-%d %H:%M")
    title = info.metadata.get("title", "")
    return [info.id, title, info.status, size(info.text.accepted_bytes), f"{read:.0%}", f"{info.text.tokens:,}", when]


SESSION_COLUMNS = ("session", "title", "status", "bytes", "read", "tokens", "last used")


def size(count: float) -> str:
    """A number of bytes, short."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is no JSON")
