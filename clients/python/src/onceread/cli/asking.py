"""`onceread ask`: a question, or many at a prompt that remembers what was asked.

It knows terminals, and nothing of how an answer comes about.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from onceread._sync.session import Session
from onceread.cli.exits import reported
from onceread.cli.output import Output
from onceread.cli.server import Json, SessionName, address
from onceread.options import AskOptions, given

HISTORY_LINES = 1000


def ask(
    context: typer.Context,
    session: SessionName,
    question: Annotated[str | None, typer.Argument(help="Left out, you are asked for questions.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Tokens an answer may have.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="0: the likeliest; more: freer.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same free answer.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends an answer; may be given again.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Ask this snapshot instead of the session now.")] = None,
    remember: Annotated[bool, typer.Option("--remember", help="Append question and answer to the text.")] = False,
    json: Json = False,
) -> None:
    """Asks a session; the answer is shown as it is written. A prompt keeps its history in a file of yours alone."""
    output = Output(json)
    options = AskOptions(
        **given(  # type: ignore[typeddict-item]
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop=stop or None,
            snapshot=snapshot,
            remember=remember or None,
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


def _questions(output: Output) -> Iterator[str]:
    """The lines of standard input; at a terminal with a prompt that can be edited and remembers."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    output.note("Ask; an empty line or Ctrl-D ends.")
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
    """Arrow keys bring back questions of earlier days, where the system has readline."""
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
