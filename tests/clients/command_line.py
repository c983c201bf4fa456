"""The command line in its own process, as a person or a script starts it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import IO, Any, NamedTuple

from testing.serving import ROOT

SOURCE = ROOT / "clients" / "python" / "src"
SECONDS_MAX = 120


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The line of JSON on standard output."""
        assert self.status == 0, self.err
        return json.loads(self.out)


class CommandLine:
    """`onceread` for a server, in its own folder and home directory."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ONCEREAD_")},
            "PYTHONPATH": str(SOURCE),
            "ONCEREAD_URL": url,
            "HOME": str(folder),
            "COLUMNS": "200",
        }

    def __call__(self, *words: str, feed: bytes = b"", without: str = "") -> Done:
        """Runs a command to its end; `without` names a module that cannot be imported."""
        done = subprocess.run(
            _command(words, without),
            input=feed,
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            timeout=SECONDS_MAX,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str, terminal: int | None = None, **streams: int) -> subprocess.Popen[bytes]:
        """Starts a command, optionally at a terminal, whose Ctrl-C then interrupts it."""
        if terminal is not None:
            streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        chosen: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            _command(words),
            cwd=self.folder,
            env=self.environment,
            start_new_session=terminal is not None,
            preexec_fn=_interruptible if terminal is None else _at_terminal,
            **(chosen | streams),
        )


def _command(words: tuple[str, ...], without: str = "") -> list[str]:
    if not without:
        return [sys.executable, "-m", "onceread", *words]
    code = f"import sys; sys.modules[{without!r}] = None; from onceread.cli.app import app; app()"
    return [sys.executable, "-c", code, *words]


def _interruptible() -> None:
    """Restores SIGINT: a shell ignores it for background jobs, and child processes inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _at_terminal() -> None:
    _interruptible()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def seen(stream: IO[bytes], wanted: str) -> str:
    """The output up to the first line that contains `wanted`."""
    lines: list[str] = []
    for line in stream:
        lines.append(line.decode())
        if wanted in lines[-1]:
            return "".join(lines)
    raise AssertionError(f"it ended without {wanted!r}:\n{''.join(lines)}")
