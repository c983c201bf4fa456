"""The command line at a terminal: a progress bar, and a prompt with a history."""

from __future__ import annotations

import os
import pty
import re
import select
import time
from pathlib import Path

import pytest

from onceread import Onceread
from testing.models import prose
from testing.serving import Server
from tests.clients.command_line import CommandLine

TEXT = prose(41, 6000)
QUIET_SECONDS = 5.0
DEADLINE_SECONDS = 120
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@pytest.fixture(scope="module")
def server(sqlite_server: Server) -> Server:
    return sqlite_server


@pytest.fixture
def onceread(server: Server, tmp_path: Path) -> CommandLine:
    (tmp_path / "book.txt").write_text(TEXT, "utf-8")
    return CommandLine(server.url, tmp_path)


class Terminal:
    """A terminal that runs a command; `shown` is its output without colours and cursor movements."""

    def __init__(self, onceread: CommandLine, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        self._process = onceread.start(*words, terminal=theirs)
        os.close(theirs)
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, wanted: str) -> None:
        """Returns when `wanted` is shown after the text that was waited for before."""
        start = len(self.shown)
        while wanted not in self.shown[start:]:
            assert self._goes_on(), f"it ended without {wanted!r}:\n{self.shown}"

    def interrupt(self) -> None:
        """Presses Ctrl-C, again if nothing happens: readline misses one that comes just before it waits for a key."""
        self.type("\x03")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "interrupted" not in self.shown:
            assert time.monotonic() < deadline, f"not interrupted:\n{self.shown}"
            if select.select([self._ours], [], [], QUIET_SECONDS)[0]:
                assert self._goes_on(), f"it ended uninterrupted:\n{self.shown}"
            else:
                self.type("\x03")

    def end(self) -> int:
        """The exit code, once all output has been shown."""
        while self._goes_on():
            pass
        status = self._process.wait(60)
        os.close(self._ours)
        return status

    def _goes_on(self) -> bool:
        """Reads the next output; False at the end, AssertionError if there is none for long."""
        ready = select.select([self._ours], [], [], DEADLINE_SECONDS)[0]
        assert ready, f"nothing was shown for {DEADLINE_SECONDS} s:\n{self.shown}"
        try:
            chunk = os.read(self._ours, 4096)
        except OSError:
            # On Linux: the other end has been closed.
            return False
        self.shown += _CONTROL.sub("", chunk.decode(errors="replace"))
        return bool(chunk)


def test_read_shows_a_bar_with_bytes_tokens_per_second_and_remaining_time(onceread: CommandLine) -> None:
    terminal = Terminal(onceread, "read", "book.txt")
    assert terminal.end() == 0
    size = f"{len(TEXT.encode()) / 1000:.1f} kB"
    assert f"{size} read, {size} durable of {size}" in terminal.shown
    assert re.search(r"[\d,]+ tokens/s +\d:\d\d:\d\d", terminal.shown)
    assert re.search(r"ask it: onceread ask sess_\w+", terminal.shown)


def test_a_prompt_keeps_a_history_of_questions(onceread: CommandLine, client: Onceread) -> None:
    session = client.sessions.create()
    session.read(TEXT)
    expected = session.ask("Who came?", max_tokens=4).text
    for keys in ("Who came?\n", "\x1b[A\n"):
        terminal = Terminal(onceread, "ask", session.id, "--max-tokens", "4")
        terminal.until("? ")
        terminal.type(keys)
        terminal.until("Who came?")
        terminal.until("? ")
        terminal.type("\x04")
        assert terminal.end() == 0
        assert _CONTROL.sub("", expected).strip() in terminal.shown
    history = next(onceread.folder.rglob("questions"))
    assert history.read_text().splitlines()[-1] == "Who came?"
    assert history.stat().st_mode & 0o077 == 0


def test_rm_asks_for_confirmation_and_respects_no(onceread: CommandLine, client: Onceread) -> None:
    session = client.sessions.create()
    terminal = Terminal(onceread, "rm", session.id)
    terminal.until("for good? [y/N]")
    terminal.type("n\n")
    assert terminal.end() != 0
    session.refresh()


def test_an_interrupt_at_the_prompt_ends_it(onceread: CommandLine, client: Onceread) -> None:
    terminal = Terminal(onceread, "ask", client.sessions.create().id)
    terminal.until("? ")
    terminal.interrupt()
    assert terminal.end() == 130
