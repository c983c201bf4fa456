"""The doctor: which Redis is refused and with which advice, also at every new connection."""

from pathlib import Path

import pytest

from server.store import StoreOptions, open_store
from server.store.base import StoreUnavailable
from server.store.open import redis_findings
from server.store.redis.requirements import DURABILITIES, Facts, diagnose, kept_by
from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from tests.server.store.conftest import keys_file
from tests.server.store.samples import acknowledged, key, record

pytestmark = pytest.mark.anyio

SOUND = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always", "min-replicas-to-write": "0"}


def bad(facts: Facts, durability: str = "fsync") -> list[str]:
    return [finding.what for finding in diagnose(facts, DURABILITIES[durability]) if not finding.sound]


def facts(**changes: str) -> Facts:
    return Facts((9, 1, 2), True, "master", SOUND | {name.replace("_", "-"): value for name, value in changes.items()})


def test_a_sound_master_passes() -> None:
    for durability in ("fsync", "fsync+replica", "everysec", "volatile"):
        assert bad(facts(), durability) == []


@pytest.mark.parametrize(
    ("durability", "changes", "found"),
    [
        ("fsync", {"maxmemory_policy": "allkeys-lru"}, ["maxmemory-policy allkeys-lru"]),
        ("volatile", {"maxmemory_policy": "volatile-ttl"}, ["maxmemory-policy volatile-ttl"]),
        ("fsync", {"appendonly": "no"}, ["appendonly no"]),
        ("everysec", {"appendonly": "no"}, ["appendonly no"]),
        ("volatile", {"appendonly": "no"}, []),
        ("fsync", {"appendfsync": "everysec"}, ["appendfsync everysec"]),
        ("fsync+replica", {"appendfsync": "everysec"}, ["appendfsync everysec"]),
        ("everysec", {"appendfsync": "everysec"}, []),
        ("everysec", {"appendfsync": "no"}, ["appendfsync no"]),
        ("volatile", {"appendfsync": "no"}, []),
    ],
)
def test_each_durability_asks_for_its_settings(durability: str, changes: dict[str, str], found: list[str]) -> None:
    assert bad(facts(**changes), durability) == found


def test_without_waitaof_a_partitioned_master_must_refuse_writes() -> None:
    durability = kept_by(DURABILITIES["fsync+replica"], (7, 0, 15))
    assert durability.confirm[:2] == ("WAIT", "1")
    for replicas, sound in (("0", False), ("1", True), ("2", True)):
        findings = diagnose(facts(min_replicas_to_write=replicas), durability)
        assert all(finding.sound for finding in findings) == sound


@pytest.mark.parametrize(
    ("version", "valkey", "update_to"),
    [
        ((6, 2, 19), False, "6.2.20"),
        ((6, 2, 20), False, None),
        ((7, 0, 14), False, "7.0.15"),
        ((7, 0, 15), False, None),
        ((7, 2, 10), False, "7.2.11"),
        ((8, 2, 1), False, "8.2.2"),
        ((8, 2, 3), False, None),
        ((9, 0, 0), False, None),
        ((7, 2, 10), True, "7.2.11"),
        ((8, 1, 4), True, None),
        ((9, 1, 2), True, None),
    ],
)
def test_a_version_without_security_fixes_gets_advice_and_is_not_refused(
    version: tuple[int, ...], valkey: bool, update_to: str | None
) -> None:
    finding, *_ = diagnose(Facts(version, valkey, "master", SOUND), DURABILITIES["fsync"])
    assert finding.sound
    name = f"{'Valkey' if valkey else 'Redis'} {'.'.join(map(str, version))}"
    assert str(finding).startswith(f"note {name}: update to {update_to} " if update_to else f"ok   {name}")


def test_a_version_without_the_commands_that_are_needed_is_refused() -> None:
    assert bad(Facts((6, 0, 20), False, "master", SOUND)) == ["Redis 6.0.20"]


def test_more_replicas_than_must_confirm_are_noted() -> None:
    for replicas, mark in ((1, "ok  "), (2, "note")):
        found = diagnose(Facts((9, 1, 2), True, "master", SOUND, replicas=replicas), DURABILITIES["fsync+replica"])
        assert all(finding.sound for finding in found)
        assert str(found[-1]).startswith(f"{mark} {replicas} replicas")


def test_a_replica_and_a_disk_that_fails_are_refused() -> None:
    assert bad(Facts((9, 1, 2), True, "slave", SOUND)) == ["role slave"]
    assert bad(Facts((9, 1, 2), True, "master", SOUND, "err")) == ["append-only file last written: err"]
    assert len(bad(Facts((9, 1, 2), True, "master", {}))) == 3


async def test_a_redis_that_fails_a_check_is_not_opened(tmp_path: Path) -> None:
    with RedisServer(
        require("valkey9"), tmp_path / "server", appendfsync="everysec", maxmemory_policy="allkeys-lru"
    ) as lax:
        with pytest.raises(StoreUnavailable) as refusal:
            await open_store(lax.url, keys_file(tmp_path))
        for advice in ("CONFIG SET maxmemory-policy noeviction", "CONFIG SET appendfsync always"):
            assert advice in str(refusal.value)
        found = await redis_findings(lax.url, keys_file(tmp_path))
        assert [finding.what for finding in found if not finding.sound] == [
            "maxmemory-policy allkeys-lru",
            "appendfsync everysec",
        ]


async def test_a_redis_whose_settings_became_worse_gets_no_writes_over_new_connections(tmp_path: Path) -> None:
    with RedisServer(require("valkey9"), tmp_path / "server") as server:
        store = await open_store(server.url, keys_file(tmp_path))
        await store.create(record())
        server.command("CONFIG", "SET", "appendfsync", "everysec")
        server.command("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(StoreUnavailable, match="appendfsync"):
            await store.append(key(), 0, b"lost?", at=2.0)
        with pytest.raises(StoreUnavailable, match="appendfsync"):
            await store.ready()
        server.command("CONFIG", "SET", "appendfsync", "always")
        assert acknowledged(await store.append(key(), 0, b"kept", at=2.0)) == (4, False)
        await store.close()


async def test_a_server_with_other_keys_is_refused_before_it_writes(tmp_path: Path) -> None:
    with RedisServer(require("valkey9"), tmp_path / "server") as server:
        await (await open_store(server.url, keys_file(tmp_path))).close()
        with pytest.raises(StoreUnavailable, match="the same keys file"):
            await open_store(server.url, StoreOptions(keys_file=tmp_path / "other.keys"))


async def test_every_durability_of_one_server_is_opened_and_named(tmp_path: Path) -> None:
    with RedisServer(require("valkey9"), tmp_path / "server") as server:
        for durability in ("fsync", "everysec", "volatile"):
            store = await open_store(server.url, StoreOptions(durability, tmp_path / "seal.keys"))
            assert store.durability == durability
            await store.close()


async def test_an_unconfirmed_append_is_not_acknowledged_and_recognised_once_a_replica_confirms(tmp_path: Path) -> None:
    one, two = (RedisServer(require("valkey9"), tmp_path / name) for name in ("master", "replica"))
    with one as master, two as replica:
        replica.replica_of(master)
        store = await open_store(master.url, StoreOptions("fsync+replica", tmp_path / "seal.keys"))
        await store.create(record())
        assert acknowledged(await store.append(key(), 0, b"once ", at=2.0)) == (5, False)
        replica.pause()
        with pytest.raises(StoreUnavailable, match="WAITAOF answered"):
            await store.append(key(), 5, b"read", at=2.0)
        with pytest.raises(StoreUnavailable, match="WAITAOF answered"):
            await store.append(key(), 5, b"read", at=2.0)
        replica.resume()
        assert acknowledged(await store.append(key(), 5, b"read", at=2.0)) == (9, True)
        await store.close()


@pytest.mark.parametrize(("used_bytes", "noted"), [(79, False), (80, True), (130, True)])
def test_a_nearly_full_redis_is_noted_and_used(used_bytes: int, noted: bool) -> None:
    full = Facts((9, 1, 2), True, "master", SOUND, used_bytes=used_bytes, limit_bytes=100)
    assert bad(full) == []
    [finding] = [finding for finding in diagnose(full, DURABILITIES["fsync"]) if "maxmemory (" in finding.what]
    assert str(finding).startswith(f"{'note' if noted else 'ok  '} {used_bytes} % of maxmemory (100 bytes) are used")


async def test_the_doctor_reports_how_full_a_redis_is(tmp_path: Path) -> None:
    with RedisServer(require("valkey9"), tmp_path / "server", maxmemory="1gb") as server:
        found = await redis_findings(server.url, keys_file(tmp_path))
        assert "0 % of maxmemory (1073741824 bytes) are used" in [finding.what for finding in found]
