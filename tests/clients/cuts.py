"""An upload over connections that are cut a hundred times; `python -m tests.clients.cuts` does it with 20 MB."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TypeAlias

from safetensors import safe_open

from onceread import Onceread, Retries
from testing.models import prose
from testing.serving import ROOT, Server
from tests.clients.cutting_proxy import CuttingProxy

Memory: TypeAlias = tuple[dict[str, bytes], dict[str, str]]

CUTS = 100
# Most connections carry nothing durable, so that more tries than by default fail in a row.
STUBBORN = Retries(attempts=CUTS, first_seconds=0.01, longest_seconds=0.02)


def lives(seed: int, all_bytes: int) -> Iterator[int]:
    """The bytes after which each connection is cut: most within their first request, every fifth carries some text.

    Their sum is less than `all_bytes`, so that a text of this size cannot be sent before the last cut.
    """
    random = Random(seed)
    longest = all_bytes // 20
    return iter([random.randint(1, 500 if number % 5 else longest) for number in range(CUTS - 1, -1, -1)])


def story(seed: int, size: int) -> bytes:
    """A text of at least this size, with some facts that the bAbI weights remember."""
    random = Random(seed)
    people, places = ("Mary", "John", "Sandra", "Daniel"), ("kitchen", "garden", "office", "hallway", "bathroom")
    noise = prose(seed, 20_000)
    parts: list[str] = []
    for _ in range(size // len(noise) + 1):
        parts.append(noise)
        parts.append(f"\n{random.choice(people)} went to the {random.choice(places)}.\n")
    return "".join(parts).encode()


def memory(client: Onceread, id: str) -> Memory:
    """A session's saved memory: the tensors and the metadata of the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.safetensors"
        client.sessions.get(id).save(path)
        with safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata()


def undisturbed(server: Server, text: bytes) -> Memory:
    """The memory of a session that gets the text without cuts."""
    with Onceread(server.url) as client:
        session = client.sessions.create()
        session.read(text)
        return memory(client, session.id)


def cut_a_hundred_times(server: Server, size: int, read: Callable[[str], str], seed: int = 7) -> Memory:
    """The memory of the session that `read` fills through a proxy of this address with so much text."""
    with CuttingProxy(server.port, lives(seed, size)) as proxy:
        id = read(proxy.url)
        assert proxy.cuts == CUTS
    with Onceread(server.url) as client:
        return memory(client, id)


def main() -> None:
    text = story(7, 20_000_000)
    with tempfile.TemporaryDirectory() as folder, Server(ROOT / "model" / "babilong", f"sqlite:///{folder}") as server:

        def read(url: str) -> str:
            with Onceread(url, retries=STUBBORN) as client:
                session = client.sessions.create()
                session.read(text)
                return session.id

        began = time.monotonic()
        expected = undisturbed(server, text)
        between = time.monotonic()
        got = cut_a_hundred_times(server, len(text), read)
        print(f"{len(text):,} bytes without cuts: {between - began:.1f} s")
        print(f"{len(text):,} bytes, cut {CUTS} times: {time.monotonic() - between:.1f} s")
        print(f"the same memory, {sum(map(len, got[0].values())):,} bytes: {got == expected}")
        assert got == expected


if __name__ == "__main__":
    main()
