"""However often the server is killed, no acknowledged byte is lost or read twice, and the memory is unaffected."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from random import Random
from threading import Event, Semaphore

import httpx
import pytest
import torch

from model import weights
from model.checkpoint import Checkpoint, EncodedCheckpoint, decode
from model.weights import LoadedModel
from server.store import open_store
from server.store.base import Recovery, SessionKey
from testing.models import prose
from testing.replies import created, offsets, shown
from testing.serving import Server, client

KILLS = int(os.environ.get("ONCEREAD_TEST_KILLS", "100"))
PIECE_BYTES_MAX = 700
PIECES_PER_KILL = 4
POLLS_MAX = 100


class Writer:
    """A client that appends its document in pieces as permitted, and after any error asks for the offset."""

    def __init__(self, server: Server, session: str, document: bytes, seed: int) -> None:
        self.session, self.document = session, document
        self._server, self._dice = server, Random(seed)
        self.may_send, self.server_up = Semaphore(0), Event()
        self.acknowledgements: SimpleQueue[int] = SimpleQueue()
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
            self.acknowledgements.put(position)

    def _offset(self, http: httpx.Client) -> int | None:
        try:
            return offsets(http, self.session)[0]
        except httpx.HTTPError:
            return None


class Watch:
    """What a session reports: accepted bytes and version only grow, and what a version covers stays read."""

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
    segments = len(ids) // step
    memory = loaded.model.initial_memory(1)
    with torch.inference_mode():
        for start in range(0, segments * step, step):
            memory = loaded.model.read(torch.tensor([ids[start : start + step]]), memory)
    return Checkpoint(memory, tuple(ids[segments * step :]), pending, len(text), len(ids), segments)


async def stored(url: str, session: str) -> tuple[Recovery, bytes]:
    """What the stopped store has of a session, and its journal."""
    store = await open_store(url)
    try:
        recovery = await store.recover(SessionKey("default", session))
        journal = await store.journal(recovery.record.key, recovery.journal_offset, recovery.record.accepted_bytes)
    finally:
        await store.close()
    return recovery, journal


class Scene:
    """A server on one folder, killed and started again, and a writer for each of two sessions."""

    def __init__(self, weights_folder: Path, folder: Path, threads: Executor) -> None:
        self.store = f"sqlite:///{folder}"
        # One segment a step: in a batch sums round otherwise, and with random weights that grows without bound.
        self.server = Server(
            weights_folder, self.store, step_tokens="128", checkpoint_segments="2", idle_seconds="0.05"
        )
        characters = (KILLS + 2) * PIECES_PER_KILL * PIECE_BYTES_MAX
        self.writers = [Writer(self.server, f"book-{n}", prose(n, characters).encode(), n) for n in range(2)]
        self.watches = [Watch() for _ in self.writers]
        self._dice = Random(20)
        with client(self.server.start()) as http:
            for writer in self.writers:
                created(http, id=writer.session)
        self._written = [threads.submit(writer.write) for writer in self.writers]

    def kill(self) -> None:
        """Ends the server at a random acknowledgement, or a random progress of reading, while pieces are sent."""
        dice = self._dice
        with client(self.server) as http:
            for writer, watch in zip(self.writers, self.watches, strict=True):
                watch.look(http, writer.session)
                writer.may_send.release(PIECES_PER_KILL)
                writer.server_up.set()
            chosen = dice.randrange(len(self.writers))
            writer, watch = self.writers[chosen], self.watches[chosen]
            if dice.random() < 0.5:
                for _ in range(dice.randint(0, PIECES_PER_KILL)):
                    writer.acknowledgements.get(timeout=60)
            else:
                seen, wanted = set(), dice.randint(1, 4)
                for _ in range(POLLS_MAX):
                    seen.add(watch.look(http, writer.session))
                    if len(seen) > wanted:
                        break
            for writer in self.writers:
                writer.server_up.clear()
            self.server.kill()

    def finish(self) -> None:
        """Lets the writers send a last piece without a kill."""
        for writer in self.writers:
            writer.document = writer.document[: writer.acknowledged + PIECES_PER_KILL * PIECE_BYTES_MAX]
            writer.last = True
            writer.may_send.release()
            writer.server_up.set()
        for done in self._written:
            done.result(60)


@pytest.fixture(scope="module")
def scene(roomy_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ThreadPoolExecutor(2) as threads:
        scene = Scene(roomy_weights, tmp_path_factory.mktemp("store"), threads)
        try:
            yield scene
        finally:
            scene.finish()
            scene.server.kill()


# In tenths, so that each stays far below the time after which a test counts as hanging.
@pytest.mark.parametrize("tenth", range(10))
def test_acknowledged_text_survives_every_kill(scene: Scene, tenth: int) -> None:
    for _ in range(KILLS * tenth // 10, KILLS * (tenth + 1) // 10):
        scene.kill()
        scene.server.start()


def test_every_byte_is_read_exactly_once_despite_all_kills(scene: Scene, roomy_weights: Path) -> None:
    scene.finish()
    with client(scene.server) as http:
        for writer, watch in zip(scene.writers, scene.watches, strict=True):
            end = len(writer.document)
            http.post(f"/v1/sessions/{writer.session}/text", params={"wait": "read"}).raise_for_status()
            assert watch.look(http, writer.session) == end
            assert offsets(http, writer.session) == (end, end)
    assert scene.server.terminate() == 0

    loaded = weights.load(roomy_weights, torch.device("cpu"))
    for writer in scene.writers:
        recovery, journal = asyncio.run(stored(scene.store, writer.session))
        assert recovery.damaged == ()
        assert recovery.record.accepted_bytes == len(writer.document)
        assert journal == writer.document[recovery.journal_offset :]
        found = decode(
            EncodedCheckpoint(recovery.checkpoints[0].value), loaded.fingerprint, loaded.model.initial_memory(1)
        )
        expected = undisturbed(loaded, writer.document[: found.offset])
        assert (found.tail, found.pending, found.tokens) == (expected.tail, expected.pending, expected.tokens)
        assert found.segments == expected.segments
        assert found.memory.equals(expected.memory)
        ids, _ = loaded.tokenizer.advance(b"", writer.document)
        assert found.segments == len(ids) // loaded.model.config.segment_tokens
