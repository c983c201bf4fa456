"""Acknowledged writes survive SIGKILL of the process: complete, in order, nothing twice."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from server.store.sqlite import SqliteStore
from tests.server.store.sqlite import appender

pytestmark = pytest.mark.anyio

ROUNDS = 20


def run_and_kill(folder: Path, seed: int, acknowledgements: int) -> dict[tuple[str, str], int]:
    """Kills a writing process after this many acknowledgements; returns the last one of each kind and session."""
    acknowledged: dict[tuple[str, str], int] = {}
    with subprocess.Popen(
        [sys.executable, appender.__file__, str(folder), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        for _ in range(acknowledgements):
            line = process.stdout.readline()
            assert line, "the process ended by itself"
            kind, id, amount = line.rstrip("\n").split("\t")
            acknowledged[kind, id] = int(amount)
        process.kill()
        # Lines that were printed before the kill count too, except a partial last line.
        for line in process.stdout:
            if line.endswith("\n"):
                kind, id, amount = line.rstrip("\n").split("\t")
                acknowledged[kind, id] = int(amount)
    return acknowledged


async def test_acknowledged_writes_survive_every_kill(tmp_path: Path) -> None:
    dice = random.Random(20)
    acknowledged: dict[tuple[str, str], int] = {}
    for seed in range(ROUNDS):
        acknowledged |= run_and_kill(tmp_path, seed, dice.randint(1, 60))
        store = await SqliteStore.open(tmp_path)
        for record in await store.list_sessions("acme", 9):
            key = record.key
            assert record.accepted_bytes >= acknowledged.get(("accepted", key.id), 0)
            assert record.version >= acknowledged.get(("version", key.id), 0)

            recovery = await store.recover(key)
            assert recovery.record == record
            assert recovery.damaged == ()
            versions = [checkpoint.version for checkpoint in recovery.checkpoints]
            assert versions == [record.version, record.version - 1][: record.version]
            for checkpoint in recovery.checkpoints:
                assert checkpoint == appender.memory(key, checkpoint.version, checkpoint.offset)
                assert checkpoint.offset >= recovery.journal_offset
            if recovery.checkpoints:
                newest = recovery.checkpoints[0]
                assert (record.read_bytes, record.info.tokens) == (newest.offset, newest.info.tokens)

            low, high = recovery.journal_offset, record.accepted_bytes
            assert await store.journal(key, low, high) == appender.text(key, low, high)
        assert {id for _, id in acknowledged} <= {record.key.id for record in await store.list_sessions("acme", 9)}
        await store.close()
    assert min(acknowledged["version", key.id] for key in appender.KEYS) > ROUNDS
