"""The keys file: created once, readable only by its owner, rotated without losing a key, and refused when damaged."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.store import keyring
from server.store.base import StoreUnavailable
from server.store.keyring import KEY_ID_BYTES, Keyring

KEY = "ab" * 32
STARTS = 8


def kept(path: Path) -> list[str]:
    return path.read_text().split()


def test_a_missing_file_is_created_readable_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "made" / "seal.keys"
    ring = Keyring.load(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [len(key) for key in kept(path)] == [64]
    assert len(ring.current) == KEY_ID_BYTES
    assert ring.current == ring.oldest == Keyring.load(path).current
    assert list(path.parent.iterdir()) == [path]


def test_servers_that_start_at_the_same_time_use_one_file(tmp_path: Path) -> None:
    path, together, read = tmp_path / "seal.keys", Barrier(STARTS), keyring._write

    def write(*arguments: object) -> None:
        # Every thread has seen by now that the file is missing.
        together.wait()
        read(*arguments)  # type: ignore[arg-type]

    with mock.patch.object(keyring, "_write", write), ThreadPoolExecutor(STARTS) as pool:
        rings = list(pool.map(lambda _: Keyring.load(path), range(STARTS)))
    assert {ring.current for ring in rings} == {Keyring.load(path).current}
    assert len(kept(path)) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_rotation_puts_a_key_in_front_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "seal.keys"
    rings = [Keyring.load(path), Keyring.rotated(path), Keyring.rotated(path)]
    newest = rings[-1]
    assert len(kept(path)) == 3
    assert len({ring.current for ring in rings}) == 3
    assert all(ring.current in newest for ring in rings)
    assert {ring.oldest for ring in rings} == {newest.oldest} == {rings[0].current}
    assert {ring.derived(b"receipts") for ring in rings} == {newest.derived(b"receipts")}
    assert Keyring.load(path).current == newest.current
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_rotation_without_a_file_creates_one(tmp_path: Path) -> None:
    assert Keyring.rotated(tmp_path / "seal.keys").current == Keyring.load(tmp_path / "seal.keys").current


def test_a_rotation_that_fails_loses_no_key(tmp_path: Path) -> None:
    path = tmp_path / "seal.keys"
    before = Keyring.load(path)
    with mock.patch.object(os, "replace", side_effect=OSError("the disk failed")), pytest.raises(OSError, match="disk"):
        Keyring.rotated(path)
    assert Keyring.load(path).current == before.current
    assert list(tmp_path.iterdir()) == [path]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=5, unique=True))
def test_the_first_key_seals_and_the_last_is_the_oldest(keys: list[bytes]) -> None:
    ring = Keyring(keys)
    assert ring[ring.current] == keys[0]
    assert ring[ring.oldest] == keys[-1]
    assert b"none" not in ring


@pytest.mark.parametrize("line", ["no key", KEY[:-1], KEY[:-2], f"{KEY}00", "zz" * 32, "é" * 64, "\0"])
@pytest.mark.parametrize("sound", ["", f"{KEY}\n"])
def test_a_damaged_file_is_refused_with_advice_and_not_changed(tmp_path: Path, line: str, sound: str) -> None:
    refuses_and_leaves(tmp_path / "seal.keys", f"{sound}{line}\n".encode())


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_file_without_a_key_is_refused_too(tmp_path: Path, content: bytes) -> None:
    refuses_and_leaves(tmp_path / "seal.keys", content)


def refuses_and_leaves(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for use in (Keyring.load, Keyring.rotated):
        with pytest.raises(StoreUnavailable, match="64 hexadecimal digits, one a line: restore it"):
            use(path)
    assert path.read_bytes() == content


def test_a_path_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for path in (tmp_path, tmp_path / "file" / "seal.keys"):
        with pytest.raises(StoreUnavailable, match=r"cannot be used .*: check its path and permissions"):
            Keyring.load(path)


def test_two_rings_of_this_process_have_different_keys() -> None:
    assert Keyring.of_this_process().current != Keyring.of_this_process().current
