"""`onceread ask`: one question, or a prompt with a history."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from onceread._sync.session import Session
from onceread.cli.exit_codes import reported
from onceread.cli.options import Json, SessionName, address
from onceread.cli.output import Output
from onceread.cli.source_lines import source_lines
from onceread.options import AskOptions, without_none

HISTORY_LINES = 1000


def ask(
    context: typer.Context,
    session: SessionName,
    question: Annotated[str | None, typer.Argument(help="The question; without one, a prompt.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Maximum number of tokens of an answer.")] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0, help="Sampling temperature; 0 is greedy decoding.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Random seed of sampling, for answers that can be repeated.")
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer; may be repeated.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Ask this snapshot instead of the current memory.")] = None,
    remember: Annotated[bool, typer.Option("--remember", help="Append question and answer to the text.")] = False,
    sources: Annotated[
        int | None, typer.Option(min=0, max=16, help="Number of sources to show under the answer.", show_default="1")
    ] = None,
    json: Json = False,
) -> None:
    """Ask a session; the answer is shown as it is generated, and under it the place of the text that it is from.

    Without a question it reads questions from standard input.

    At a terminal it keeps a history of questions, in a file that only you can read.
    """
    output = Output(json)
    options = AskOptions(
        **without_none(  # type: ignore[typeddict-item]
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop=stop or None,
            snapshot=snapshot,
            remember=remember or None,
            sources=sources if sources is not None or json else 1,
        )
    )
    with reported(output), address(context).client() as client:
        found = client.sessions.get(session)
        if question is not None:
            _answer(output, found, question, options)
            return
        for asked in _questions(output):
            try:
                _answer(output, found, asked, options)
            except KeyboardInterrupt:
                output.note("\n(stopped)")


def _answer(output: Output, session: Session, question: str, options: AskOptions) -> None:
    if output.json:
        output.line({"question": question, "answer": session.ask(question, **options)})
        return
    with session.ask(question, stream=True, **options) as pieces:
        for piece in pieces:
            print(piece, end="", flush=True)
    print(flush=True)
    if pieces.answer is not None:
        for line in source_lines(pieces.answer):
            print(line, flush=True)


def _questions(output: Output) -> Iterator[str]:
    """The lines of standard input; at a terminal a prompt with line editing and a history."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    output.note("Ask a question; an empty line or Ctrl-D ends.")
    with _history():
        while question := _prompted():
            yield question


def _prompted() -> str:
    try:
        return input("? ").strip()
    except EOFError:
        print()
        return ""


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """Loads and saves the history of questions, if the system has readline."""
    try:
        import readline
    except ImportError:
        yield
        return
    file = Path(typer.get_app_dir("onceread")) / "questions"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    readline.set_history_length(HISTORY_LINES)
    try:
        yield
    finally:
        readline.write_history_file(file)
