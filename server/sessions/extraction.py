"""The text of files of other formats, by the Python client's extractors, where the client is installed.

It has no session; it is here since it is a use case without the web, which a route calls. What parses the files of
others may crash, hang or need any memory: each file gets a process of its own with bounded time and memory. The server
does not import the client, and works without it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import BinaryIO

from server.sessions.errors import FormatNotSupported, NotExtractable, Overloaded
from server.settings import RequestSettings

log = logging.getLogger(__name__)
CLIENT = "onceread"
# The libraries that the client needs for a kind of file. Each kind but Markdown is an extra of the client.
LIBRARIES = {
    "docx": ("inscriptis", "mammoth"),
    "epub": ("inscriptis",),
    "html": ("inscriptis",),
    "md": ("markdown_it",),
    "pdf": ("pypdf",),
}
SUFFIXES = {**{f".{kind}": kind for kind in LIBRARIES}, ".htm": "html", ".xhtml": "html", ".markdown": "md"}
MEMORY_BYTES = 1 << 30
PROCESSES_MAX = 2
# Files that are received, wait, or are read, each in memory.
FILES_MAX = 8
# The exit code of a process that says why there is no text.
_REFUSED = 2
_READ_BYTES = 1 << 16


class Extraction:
    """Extracts text; `kinds` are the kinds of files that this installation can read."""

    def __init__(self, settings: RequestSettings) -> None:
        self._bytes_max = settings.extract_bytes
        self._seconds = settings.extract_seconds
        self._missing = {kind: missing_libraries(kind) for kind in LIBRARIES}
        self.kinds = tuple(sorted(kind for kind, missing in self._missing.items() if not missing))
        self._processes = asyncio.Semaphore(PROCESSES_MAX)
        self._files = 0

    def suffix_of(self, name: str) -> str:
        """The suffix of a file that can be read here; raises `FormatNotSupported`."""
        suffix = PurePosixPath(name).suffix.lower()
        kind = SUFFIXES.get(suffix)
        if kind is None:
            known = ", ".join(sorted(SUFFIXES))
            raise FormatNotSupported(f"the name must end with one of {known}; send other text to a session as it is")
        if missing := self._missing[kind]:
            extra = "" if kind == "md" else f"[{kind}]"
            raise FormatNotSupported(
                f"reading {suffix} files needs {' and '.join(missing)}, not installed beside this server; "
                f"run pip install './clients/python{extra}' in its environment and restart it, or send the text itself"
            )
        return suffix

    @contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """An empty file in memory, which is gone with its last user; raises `Overloaded`."""
        if self._files >= FILES_MAX:
            raise Overloaded(f"{self._files} files are being read; send the request again after a second")
        self._files += 1
        try:
            with os.fdopen(os.memfd_create("file"), "w+b") as file:
                yield file
        finally:
            self._files -= 1

    async def text(self, suffix: str, file: BinaryIO) -> bytes:
        """The text of a file, as UTF-8; raises `NotExtractable`. The process is killed if this is cancelled."""
        limits = (str(MEMORY_BYTES), str(math.ceil(self._seconds)))
        command = (sys.executable, "-m", f"{CLIENT}.cli.extractors", suffix, *limits)
        async with self._processes:
            file.seek(0)
            # Its standard error is dropped: a traceback may quote the file.
            process = await asyncio.create_subprocess_exec(
                *command, stdin=file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
            )
            try:
                async with asyncio.timeout(self._seconds):
                    said = await self._output(process)
                    status = await process.wait()
            except TimeoutError:
                raise self._too_slow() from None
            finally:
                await _ended(process)
        if status == 0:
            return said
        if status == _REFUSED:
            raise NotExtractable(said.decode())
        if status == -signal.SIGXCPU:
            raise self._too_slow()
        log.warning("the extractor of %s files ended with status %s", suffix, status)
        raise NotExtractable("the extractor failed at this file, which may be damaged; send its text")

    async def _output(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        said = bytearray()
        while piece := await process.stdout.read(_READ_BYTES):
            said += piece
            if len(said) > self._bytes_max:
                raise NotExtractable(f"the text of the file has more than {self._bytes_max} bytes; send it in parts")
        return bytes(said)

    def _too_slow(self) -> NotExtractable:
        return NotExtractable(f"extracting the text took more than {self._seconds:g} s; send its text, or a part")


def missing_libraries(kind: str) -> list[str]:
    """What is not installed of the client and of the libraries that it needs; nothing is imported."""
    return [name for name in (CLIENT, *LIBRARIES[kind]) if find_spec(name) is None]


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Returns when the process has ended, which is killed if it runs."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    # Its pipe must be read to its end, or it is never closed.
    await process.communicate()
