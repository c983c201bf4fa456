"""However often the server is killed, no acknowledged byte is lost or read twice, and the memory is as without it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from random import Random
from threading import Event, Semaphore

import httpx
import torch

from model import weights
from model.checkpoint import Checkpoint, decode
from model.weights import LoadedModel
from server.store import open_store
from server.store.contract import Recovery, SessionKey
from tests.conftest import prose
from tests.server.replies import created, offsets, shown
from tests.server.serving import Server, client

KILLS = int(os.environ.get("ONCEREAD_TEST_KILLS", "100"))
PIECE_BYTES_MAX = 2500
PIECES_PER_KILL = 4
POLLS_MAX = 100
BOOKS = ("one", "two")


class Writer:
    """A client that appends its document in pieces as it is let, and after any error asks for the offset."""

    def __init__(self, server: Server, session: str, document: bytes, seed: int) -> None:
        self.session, self.document = session, document
        self._server, self._dice = server, Random(seed)
        self.may_send, self.server_up = Semaphore(0), Event()
        self.told: SimpleQueue[int] = SimpleQueue()
        self.acknowledged = 0
        self.lost_answers = 0
        self.last = False

    def write(self) -> None:
        with client(self._server) as http:
            last = False
            while not last:
                self.may_send.acquire()
                last = self.last
                self._send(http, len(self.document) if last else self._somewhere_behind())

    def _somewhere_behind(self) -> int:
        return self.acknowledged + self._dice.randint(1, PIECE_BYTES_MAX)

    def _send(self, http: httpx.Client, end: int) -> None:
        position = self.acknowledged
        while position < end:
            self.server_up.wait()
            try:
                reply = http.post(
                    f"/v1/sessions/{self.session}/text",
                    content=self.document[position:end],
                    headers={"Upload-Offset": str(position)},
                )
                reply.raise_for_status()
                position = reply.json()["accepted_bytes"]
            except httpx.HTTPError:
                if (found := self._offset(http)) is None:
                    continue
                assert found >= self.acknowledged, "what was acknowledged is gone"
                self.lost_answers += found > position
                position = found
            self.acknowledged = position
            self.told.put(position)

    def _offset(self, http: httpx.Client) -> int | None:
        try:
            return offsets(http, self.session)[0]
        except httpx.HTTPError:
            return None


class Watch:
    """What a session showed of itself: accepted bytes and version only grow, and what a version covers stays read."""

    def __init__(self) -> None:
        self._accepted = self._version = 0
        self._read_at: dict[int, int] = {}

    def look(self, http: httpx.Client, session: str) -> int:
        body = shown(http, session)
        accepted, read, version = body["text"]["accepted_bytes"], body["text"]["read_bytes"], body["memory"]["version"]
        assert body["status"] != "quarantined"
        assert accepted >= self._accepted
        assert version >= self._version
        # A checkpoint is made of what is read then: version v + 1 covers all that was read while v was the newest.
        assert read >= max((r for v, r in self._read_at.items() if v < version), default=0)
        self._accepted, self._version = accepted, version
        self._read_at[version] = max(read, self._read_at.get(version, 0))
        return int(read)


def undisturbed(loaded: LoadedModel, text: bytes) -> Checkpoint:
    """The state of a session that has read the text in one go, segment by segment, alone."""
    ids, pending = loaded.tokenizer.advance(b"", text)
    step = loaded.model.config.segment_tokens
    whole = len(ids) // step
    memory = loaded.model.initial_memory(1)
    with torch.inference_mode():
        for start in range(0, whole * step, step):
            memory = loaded.model.read(torch.tensor([ids[start : start + step]]), memory)
    return Checkpoint(memory, tuple(ids[whole * step :]), pending, len(text), len(ids), whole)


async def stored(url: str, session: str) -> tuple[Recovery, bytes]:
    """What the stopped store has of a session, and its journal."""
    store = await open_store(url)
    try:
        recovery = await store.recover(SessionKey("default", session))
        journal = await store.journal(recovery.record.key, recovery.journal_offset, recovery.record.accepted_bytes)
    finally:
        await store.close()
    return recovery, journal


def test_no_kill_loses_or_repeats_a_byte(roomy_weights: Path, tmp_path: Path) -> None:
    dice, store = Random(20), f"sqlite:///{tmp_path}"
    # One segment a step: in a batch the sums round otherwise, and random weights let that grow without bound.
    server = Server(roomy_weights, store, step_tokens="128", checkpoint_segments="2", idle_seconds="0.05")
    characters = (KILLS + 1) * PIECES_PER_KILL * PIECE_BYTES_MAX
    writers = [Writer(server, book, prose(seed, characters).encode(), seed) for seed, book in enumerate(BOOKS)]
    watches = [Watch() for _ in writers]

    def kill_in_the_middle(http: httpx.Client) -> None:
        """Ends the server at a random acknowledgement, or at a random progress of reading, while pieces are sent."""
        for writer, watch in zip(writers, watches, strict=True):
            watch.look(http, writer.session)
            for _ in range(PIECES_PER_KILL):
                writer.may_send.release()
            writer.server_up.set()
        chosen = dice.randrange(len(BOOKS))
        if dice.random() < 0.5:
            for _ in range(dice.randint(0, PIECES_PER_KILL)):
                writers[chosen].told.get(timeout=60)
        else:
            seen, wanted = set(), dice.randint(1, 4)
            for _ in range(POLLS_MAX):
                seen.add(watches[chosen].look(http, writers[chosen].session))
                if len(seen) > wanted:
                    break
        for writer in writers:
            writer.server_up.clear()
        server.kill()

    with ThreadPoolExecutor(len(BOOKS)) as threads, server:
        with client(server) as http:
            for writer in writers:
                created(http, id=writer.session)
        written = [threads.submit(writer.write) for writer in writers]
        try:
            for _ in range(KILLS):
                with client(server) as http:
                    kill_in_the_middle(http)
                server.start()
        finally:
            for writer in writers:
                writer.document = writer.document[: writer.acknowledged + PIECES_PER_KILL * PIECE_BYTES_MAX]
                writer.last = True
                writer.may_send.release()
                writer.server_up.set()
        for done in written:
            done.result(60)
        loaded = weights.load(roomy_weights, torch.device("cpu"))
        with client(server) as http:
            for writer, watch in zip(writers, watches, strict=True):
                end = len(writer.document)
                http.post(f"/v1/sessions/{writer.session}/text", params={"wait": "read"}).raise_for_status()
                assert watch.look(http, writer.session) == end
                assert offsets(http, writer.session) == (end, end)
        assert server.terminate() == 0

    for writer in writers:
        recovery, journal = asyncio.run(stored(store, writer.session))
        assert recovery.damaged == ()
        assert recovery.record.accepted_bytes == len(writer.document)
        assert journal == writer.document[recovery.journal_offset :]
        found = decode(recovery.checkpoints[0].value, loaded.fingerprint, loaded.model.initial_memory(1))
        expected = undisturbed(loaded, writer.document[: found.offset])
        assert (found.tail, found.pending, found.tokens) == (expected.tail, expected.pending, expected.tokens)
        assert found.segments == expected.segments == undisturbed(loaded, writer.document).segments
        assert found.memory.equals(expected.memory)
