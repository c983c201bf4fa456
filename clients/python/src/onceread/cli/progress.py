"""The progress of `onceread read`: a bar at a terminal, else a line every few seconds."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from onceread.cli.output import Output, size
from onceread.results import Progress

LINE_SECONDS = 2.0


class ProgressView(Protocol):
    def __enter__(self) -> ProgressView: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None: ...


def progress_view(output: Output, name: str) -> ProgressView:
    return Bar(output, name) if output.for_people else Lines(output)


class Bar:
    """Bytes durable and read, tokens per second, and the remaining time."""

    def __init__(self, output: Output, name: str) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=output.notes,
        )
        self._task = self._bars.add_task(name, total=None, text="")
        self._rate = TokenRate()

    def __enter__(self) -> Bar:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        text = f"{_text(progress)} · {self._rate.tokens_per_second(progress):,.0f} tokens/s"
        self._bars.update(self._task, total=progress.total_bytes, completed=progress.read_bytes, text=text)


class Lines:
    """A line at the start, one when the first bytes are durable, then one every few seconds."""

    def __init__(self, output: Output) -> None:
        self._output, self._printed_at, self._accepted = output, 0.0, False
        self._rate = TokenRate()

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __call__(self, progress: Progress) -> None:
        tokens_per_second = self._rate.tokens_per_second(progress)
        first = progress.accepted_bytes > 0 and not self._accepted
        if not first and time.monotonic() - self._printed_at < LINE_SECONDS:
            return
        self._printed_at, self._accepted = time.monotonic(), progress.accepted_bytes > 0
        self._output.progress(progress, f"{_text(progress)}, {tokens_per_second:,.0f} tokens/s")


class TokenRate:
    """Tokens per second since the start; between two replies of the server the figure would jump."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def tokens_per_second(self, progress: Progress) -> float:
        now = time.monotonic()
        if self._began is None:
            self._began = now, progress.tokens
        seconds = now - self._began[0]
        return (progress.tokens - self._began[1]) / seconds if seconds > 0 else 0.0


def _text(progress: Progress) -> str:
    total = "" if progress.total_bytes is None else f" of {size(progress.total_bytes)}"
    return f"{size(progress.read_bytes)} read, {size(progress.accepted_bytes)} durable{total}"
