"""How far a reading is, shown as it goes: a bar at a terminal, else a line now and then.

It knows how progress looks, and nothing of where it comes from.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from onceread.cli.output import Output, size
from onceread.results import Progress

LINE_SECONDS = 2.0


class Shown(Protocol):
    def __enter__(self) -> Shown: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None: ...


def shown(output: Output, name: str) -> Shown:
    return Bar(output, name) if output.for_people else Lines(output)


class Bar:
    """Bytes that are durable and read, tokens a second, and the time that is left."""

    def __init__(self, output: Output, name: str) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=output.notes,
        )
        self._task = self._bars.add_task(name, total=None, told="")
        self._pace = Pace()

    def __enter__(self) -> Bar:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        told = f"{_of(progress)} · {self._pace.tokens_per_second(progress):,.0f} tokens/s"
        self._bars.update(self._task, total=progress.total_bytes, completed=progress.read_bytes, told=told)


class Lines:
    """At the beginning, when the first bytes are durable, and every few seconds from then on."""

    def __init__(self, output: Output) -> None:
        self._output, self._said_at, self._accepted = output, 0.0, False
        self._pace = Pace()

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None:
        tokens_per_second = self._pace.tokens_per_second(progress)
        first = progress.accepted_bytes > 0 and not self._accepted
        if not first and time.monotonic() - self._said_at < LINE_SECONDS:
            return
        self._said_at, self._accepted = time.monotonic(), progress.accepted_bytes > 0
        self._output.progress(progress, f"{_of(progress)}, {tokens_per_second:,.0f} tokens/s")


class Pace:
    """Tokens a second since the beginning: between two looks at the server it would jump."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def tokens_per_second(self, progress: Progress) -> float:
        now = time.monotonic()
        if self._began is None:
            self._began = now, progress.tokens
        seconds = now - self._began[0]
        return (progress.tokens - self._began[1]) / seconds if seconds > 0 else 0.0


def _of(progress: Progress) -> str:
    total = "" if progress.total_bytes is None else f" of {size(progress.total_bytes)}"
    return f"{size(progress.read_bytes)} read, {size(progress.accepted_bytes)} durable{total}"
