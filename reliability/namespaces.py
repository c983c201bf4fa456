"""Namespaces of the kernel's: a network or a tree of mounts apart, for the programs that are started through them.

Nobody needs to be root for one, and nothing is left of it when the last program in it has ended. It knows neither what
is mounted nor what is connected in it.
"""

from __future__ import annotations

import subprocess
from types import TracebackType

NETWORK, MOUNTS = "--net", "--mount"
OWNED = ("--user", "--map-root-user")


class Namespace:
    """A process that only waits, in namespaces of these kinds; inside another one's, where one is given.

    It waits for the end of a pipe, so that it ends with whoever made it. `through` in front of a command runs it there.
    """

    def __init__(self, *kinds: str, inside: Namespace | None = None) -> None:
        entrance: tuple[str, ...] = inside.through if inside else ()
        owner = () if inside else OWNED
        self._holder = subprocess.Popen(
            [*entrance, "unshare", *owner, *kinds, "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.pid = self._holder.pid
        self.through: tuple[str, ...] = ("nsenter", f"--target={self.pid}", "--user", "--preserve-credentials", *kinds)

    def __enter__(self) -> Namespace:
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        assert self._holder.stderr is not None
        self._holder.stdin.write(b"there\n")
        self._holder.stdin.flush()
        if self._holder.stdout.readline() != b"there\n":
            error = self._holder.stderr.read().decode()
            self._end()
            raise AssertionError(f"no namespace can be made here: {error}")
        return self

    def run(self, *command: str, words: str = "") -> None:
        """Runs a command in it, with the words as its input."""
        done = subprocess.run([*self.through, *command], input=words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._holder.kill()
        self._holder.communicate()


def allowed() -> bool:
    """Whether this user may have any here."""
    try:
        with Namespace(NETWORK, MOUNTS):
            return True
    except AssertionError:
        return False
