"""The system calls by which Redis keeps its append-only file, and how strace makes one of them fail."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from testing.redis_servers import RedisServer, until

CALLS = ("openat", "mkdir", "write", "writev", "fsync", "fdatasync", "ftruncate", "rename", "unlink")
FOLDER = "appendonlydir"
# Searched in this order: the folder is part of every name.
ROLES = {
    "the append-only file": r"appendonly\.aof\.\d+\.incr\.aof",
    "the manifest": r"temp-appendonly\.aof\.manifest",
    "the rewritten file": r"temp-rewriteaof-",
    "the base file": r"appendonly\.aof\.\d+\.base",
    "the folder": rf"{FOLDER}[\">]",
}
MAIN, SYNCER, REWRITER = "the server", "its thread for syncs", "its rewriter"
# A rewriter's files carry its process id, which is among the next so many of the kernel.
PROCESSES_AHEAD = 400
# `words` is the name of the file, open or not; never the data written.
_CALL = re.compile(r"^(?P<thread>\d+) +(?P<call>\w+)\((?P<words>\d+<[^>]*>|.*)")


@dataclass(frozen=True)
class Site:
    """The caller, the call and the file; the `number`th such call of a rewrite, or 0 if it is made all the time."""

    who: str
    call: str
    role: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} of {self.role} by {self.who}" + (f", call {self.number}" if self.number else "")


def syncer_of(server: RedisServer) -> int:
    """The id of the background thread that syncs completed files."""
    tasks = Path(f"/proc/{server.pid}/task")

    def found() -> int:
        return next((int(task.name) for task in tasks.iterdir() if "aof" in (task / "comm").read_text()), 0)

    return until(found, f"{server} has a thread for syncs")


def rewrite(server: RedisServer) -> None:
    """Starts a rewrite of the append-only file, and returns when it has ended or failed."""
    server.command("BGREWRITEAOF")
    until(lambda: is_quiet(server), "the rewrite ends")


def is_quiet(server: RedisServer) -> bool:
    if not server.running:
        return True
    info = server.command("INFO", "persistence")
    return not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


def mend(server: RedisServer) -> bool:
    """Restores the manifest of before the last rewrite if the present one names a missing file; returns whether it did.

    If the sync of the folder fails at the end of a rewrite, Redis rolls the rewrite back and deletes the new base file,
    but the new manifest is already in place, and no Redis starts with it. The files that the old one named still exist.
    """
    folder = server.folder / FOLDER
    manifest = folder / "appendonly.aof.manifest"
    named = [line.split() for line in manifest.read_text().splitlines()] if manifest.exists() else []
    lines = [line for line in named if (folder / line[1]).exists()]
    if lines == named:
        return False
    for line in lines:
        if line[5] == "h":
            line[5] = "b" if ".base." in line[1] else "i"
    lines.sort(key=lambda line: (line[5], int(line[3])))
    manifest.write_text("".join(" ".join(line) + "\n" for line in lines))
    return True


def sites_of(server: RedisServer, log: Path) -> list[Site]:
    """Every call of an append and of a rewrite, recorded while none fails."""
    syncer = syncer_of(server)
    with Tracer(server, ["-f", "-y", "-s", "100", "-e", f"trace={','.join(CALLS)}", "-p", str(server.pid)], log):
        server.command("SET", "a", "b")
        rewrite(server)
        server.command("DEL", "a")
    seen = Counter[tuple[str, str, str]]()
    sites = []
    for match in filter(None, map(_CALL.match, log.read_text().splitlines())):
        role = next((role for role, name in ROLES.items() if re.search(name, match["words"])), None)
        if role is None or "ENOENT" in match.string:
            continue
        who = {server.pid: MAIN, syncer: SYNCER}.get(int(match["thread"]), REWRITER)
        seen[call := (who, match["call"], role)] += 1
        always = who == MAIN and role == "the append-only file" and match["call"] in ("write", "fdatasync", "fsync")
        sites.append(Site(*call, 0 if always else seen[call]))
    return list(dict.fromkeys(sites))


class Tracer:
    """strace on a running server until the context ends; its output goes to the log."""

    def __init__(self, server: RedisServer, options: Iterable[str], log: Path) -> None:
        log.write_text("")
        self._log = log
        self._process = subprocess.Popen(
            ["strace", "-e", "signal=none", "-o", str(log), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        assert b"attached" in said, f"strace cannot attach to {server}: {said.decode()}"

    def met(self) -> bool:
        """Whether a fault was injected."""
        return "(INJECTED)" in self._log.read_text()

    def __enter__(self) -> Tracer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()


def failing(server: RedisServer, site: Site, error: str, number: int, lasts: bool, log: Path) -> Tracer:
    """From now on the site's `number`th call fails with this error, and if it `lasts` every later one too."""
    thread = syncer_of(server) if site.who == SYNCER else server.pid
    options = ["-p", str(thread), *(["-f"] if site.who == REWRITER else [])]
    options += ["-e", f"trace={site.call}", "-e", f"inject={site.call}:error={error}:when={number}{'+' * lasts}"]
    for path in _paths(server, site.role):
        options += ["-P", path]
    return Tracer(server, options, log)


def _paths(server: RedisServer, role: str) -> list[str]:
    """The present and next names of the files of this role, each relative and absolute, since a call may use either."""
    folder = server.folder / FOLDER
    numbers = [int(path.name.split(".")[2]) for path in folder.glob("appendonly.aof.*.*")]
    ahead = range(min(numbers), max(numbers) + 3)
    last = int(Path("/proc/loadavg").read_text().split()[-1])
    match role:
        case "the append-only file":
            names = [f"{FOLDER}/appendonly.aof.{number}.incr.aof" for number in ahead]
        case "the base file":
            names = [f"{FOLDER}/appendonly.aof.{number}.base.{kind}" for number in ahead for kind in ("rdb", "aof")]
        case "the manifest":
            names = [f"{FOLDER}/temp-appendonly.aof.manifest"]
        case "the rewritten file":
            processes = range(last, last + PROCESSES_AHEAD)
            names = [f"temp-rewriteaof-{kind}{process}.aof" for process in processes for kind in ("", "bg-")]
        case _:
            names = [FOLDER]
    return [path for name in names for path in (name, str(server.folder / name))]
