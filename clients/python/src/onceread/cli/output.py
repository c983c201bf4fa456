"""The output of a command: results on standard output, notes and errors on standard error, for people or as JSON."""

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
    """With `json` every result and every error is one line of JSON."""

    def __init__(self, json: bool = False) -> None:
        self.json = json
        # Titles and answers are user text: nothing in them is markup.
        self.results = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.notes = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    @property
    def for_people(self) -> bool:
        """Whether standard error is a terminal, and not for scripts."""
        return self.notes.is_terminal and not self.json

    def line(self, value: object) -> None:
        """One line of JSON."""
        print(json.dumps(value, default=_plain, ensure_ascii=False), flush=True)

    def result(self, value: object, text: str) -> None:
        """The value as JSON, or the text for people."""
        if self.json:
            self.line(value)
        else:
            self.results.print(text)

    def rows(self, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
        self.results.print(table(columns, rows))

    def note(self, text: str) -> None:
        """A remark beside the result, for people only."""
        if not self.json:
            self.notes.print(text)

    def progress(self, progress: Progress, text: str) -> None:
        if self.json:
            self._json_note({"progress": asdict(progress)})
        else:
            self.notes.print(text)

    def unfinished(self, facts: Mapping[str, Any], text: str) -> None:
        """How to resume what is about to end."""
        if self.json:
            self._json_note({"unfinished": facts})
        else:
            self.notes.print(text)

    def failure(self, error: Exception) -> None:
        if not self.json:
            self.notes.print(f"onceread: {error}")
            return
        facts: dict[str, Any] = {"message": str(error), "type": type(error).__name__}
        if isinstance(error, errors.ApiError):
            facts |= {"code": error.reason, "status": error.status, "request_id": error.request_id, **error.members}
        self._json_note({"error": facts})

    def _json_note(self, value: object) -> None:
        print(json.dumps(value, ensure_ascii=False), file=sys.stderr, flush=True)


def table(columns: Iterable[str], rows: Iterable[Iterable[str]], title: str | None = None) -> Table:
    """Numbers are aligned to the right; without names of columns there is no header."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=any(columns))
    for name in columns:
        made.add_column(name, justify="right" if name in ("bytes", "read", "tokens", "tokens/s") else "left")
    for row in rows:
        made.add_row(*row)
    return made


def session_row(info: SessionInfo) -> list[str]:
    """A session's row in a table with `SESSION_COLUMNS`."""
    read = info.text.read_bytes / info.text.accepted_bytes if info.text.accepted_bytes else 1.0
    when = datetime.fromtimestamp(info.updated_at).strftime("%Y-%m-%d %H:%M")
    title = info.metadata.get("title", "")
    return [info.id, title, info.status, size(info.text.accepted_bytes), f"{read:.0%}", f"{info.text.tokens:,}", when]


SESSION_COLUMNS = ("session", "title", "status", "bytes", "read", "tokens", "last used")


def size(count: float) -> str:
    """A number of bytes with its unit."""
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
    raise TypeError(f"{value!r} cannot be JSON")
