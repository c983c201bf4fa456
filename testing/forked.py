"""`python -m MODULE` in a process that is forked from one that has already imported what a server imports.

Importing takes a server seconds, which is most of its start. The fork is a process of its own, as `subprocess` makes
one: it has its own environment, arguments, limits, signals and standard error, and can be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[1])
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["testing.imported"])
# Starting one process asks all others whether they have ended, and only one thread at a time may ask that.
_ASKING = threading.Lock()


class Forked:
    """The part of `subprocess.Popen` that a server needs; `stderr` has the lines that the process logs."""

    def __init__(self, module: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        logged, log = _CONTEXT.Pipe(duplex=False)
        files = resource.getrlimit(resource.RLIMIT_NOFILE)
        # As a daemon it ends with this process.
        self._process = _CONTEXT.Process(
            target=_run, args=(tuple(module), folder, dict(environment), files, log), daemon=True
        )
        with _ASKING, log:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        with logged:
            self.stderr = os.fdopen(os.dup(logged.fileno()), encoding="utf-8", errors="backslashreplace")

    def poll(self) -> int | None:
        with _ASKING:
            return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """The exit status, negative for a signal; TimeoutExpired where it runs on."""
        wait_for([self._process.sentinel], timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens where the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _run(
    module: tuple[str, ...], folder: Path, environment: dict[str, str], files: tuple[int, int], log: Connection
) -> None:
    os.dup2(log.fileno(), sys.stderr.fileno())
    log.close()
    os.environ.clear()
    os.environ.update(environment)
    resource.setrlimit(resource.RLIMIT_NOFILE, files)
    os.chdir(folder)
    # Of the tests' own path only what a new process in the root has: not the client's source.
    named = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    installed = (path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix)))
    sys.path[:] = [_ROOT, *named, *installed]
    sys.argv = list(module)
    runpy.run_module(module[0], run_name="__main__", alter_sys=True)
