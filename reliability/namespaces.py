"""Linux namespaces: a separate network or mount tree for the programs that are started in them.

They need no root, and end with the last program in them.
"""

from __future__ import annotations

import subprocess
from types import TracebackType

NETWORK, MOUNTS = "--net", "--mount"
OWNED = ("--user", "--map-root-user")


class Namespace:
    """A process that holds namespaces of these kinds, optionally inside those of another.

    It waits for the end of a pipe, so that it ends with its creator. A command runs in them with `through` in front.
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
            raise AssertionError(f"cannot create a namespace: {error}")
        return self

    def run(self, *command: str, words: str = "") -> None:
        """Runs a command in the namespaces, with `words` as its standard input."""
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
    """Whether this user may create namespaces."""
    try:
        with Namespace(NETWORK, MOUNTS):
            return True
    except AssertionError:
        return False
