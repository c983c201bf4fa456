"""What Redis must be configured to do for each durability, and what to change where it is not.

Pure functions of the settings, the version and the role that a master reports.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

CONFIRM_MILLISECONDS = 2000
QUESTIONS = (
    ("INFO",),
    *(("CONFIG", "GET", name) for name in ("maxmemory-policy", "appendonly", "appendfsync", "min-replicas-to-write")),
)
OLDEST = (6, 2, 0)
NEARLY_FULL_PERCENT = 80
# The first release of each line with the fixes of CVE-2024-46981 and CVE-2025-49844, which need a user who may send
# scripts. 7.0 has no such release, but distributions put the fixes into 7.0.15. Older releases keep every promise, so
# this is advice and no requirement.
_REDIS_FIXED: dict[tuple[int, ...], tuple[int, ...]] = {
    (6, 2): (6, 2, 20),
    (7, 0): (7, 0, 15),
    (7, 2): (7, 2, 11),
    (7, 4): (7, 4, 6),
    (8, 0): (8, 0, 4),
    (8, 2): (8, 2, 2),
}
_VALKEY_FIXED: dict[tuple[int, ...], tuple[int, ...]] = {(7, 2): (7, 2, 11), (8, 0): (8, 0, 6), (8, 1): (8, 1, 4)}


@dataclass(frozen=True)
class Durability:
    """`confirm` is a command that answers how many servers have the write; `required` is the least of each count."""

    name: str
    appendfsync: tuple[str, ...]
    confirm: tuple[str, ...] = ()
    required: tuple[int, ...] = ()
    replicas: int = 0
    appendonly: bool = True


DURABILITIES = {
    durability.name: durability
    for durability in (
        Durability("fsync", ("always",)),
        Durability(
            "fsync+replica",
            ("always",),
            ("WAITAOF", "1", "1", str(CONFIRM_MILLISECONDS)),
            (1, 1),
            replicas=1,
        ),
        Durability("everysec", ("always", "everysec")),
        Durability("volatile", ("always", "everysec", "no"), appendonly=False),
    )
}


def confirmed_by(durability: Durability, replicas: int) -> Durability:
    """The same durability with this number of replicas that must confirm."""
    if not durability.confirm:
        return durability
    confirm = ("WAITAOF", "1", str(replicas), str(CONFIRM_MILLISECONDS))
    return replace(durability, confirm=confirm, required=(1, replicas), replicas=replicas)


def kept_by(durability: Durability, version: tuple[int, ...]) -> Durability:
    """The same durability for a version: before 7.2, replicas confirm that they received a write, not its fsync."""
    if durability.confirm[:1] != ("WAITAOF",) or version >= (7, 2):
        return durability
    return replace(durability, confirm=("WAIT", *durability.confirm[2:]), required=durability.required[1:])


@dataclass(frozen=True)
class Facts:
    """What one master reports about itself."""

    version: tuple[int, ...]
    valkey: bool
    role: str
    settings: Mapping[str, str]
    write_status: str = "ok"
    replicas: int = 0
    used_bytes: int = 0
    # `maxmemory`; 0: no limit.
    limit_bytes: int = 0


@dataclass(frozen=True)
class Finding:
    """One check: whether it passed, what was found, and what to change. A note has advice although it passed."""

    sound: bool
    what: str
    advice: str = ""
    note: bool = False

    def __str__(self) -> str:
        if self.sound and not self.note:
            return f"ok   {self.what}"
        return f"{'note' if self.sound else 'BAD '} {self.what}: {self.advice}"


def diagnose(facts: Facts, durability: Durability) -> list[Finding]:
    """All checks of a master for this durability."""
    settings, name = facts.settings, durability.name
    findings = [
        _version(facts),
        Finding(facts.role == "master", f"role {facts.role}", "name the master, or use redis+sentinel://"),
        _setting(settings, "maxmemory-policy", ("noeviction",), "other policies evict parts of a session"),
        Finding(facts.write_status == "ok", f"append-only file last written: {facts.write_status}", "check its disk"),
    ]
    if durability.appendonly:
        findings += [
            _setting(settings, "appendonly", ("yes",), f"{name} needs it: without it a restart loses everything"),
            _setting(settings, "appendfsync", durability.appendfsync, f"{name} needs it"),
        ]
    if facts.limit_bytes:
        share = 100 * facts.used_bytes // facts.limit_bytes
        what = f"{share} % of maxmemory ({facts.limit_bytes} bytes) are used"
        advice = "raise maxmemory or delete sessions: a full Redis refuses text"
        findings.append(Finding(True, what, advice, note=share >= NEARLY_FULL_PERCENT))
    if durability.replicas:
        # A note: the promise holds, except while a partitioned master still has a replica that confirms.
        what = f"{facts.replicas} replicas are connected, {durability.replicas} must confirm"
        more = facts.replicas > durability.replicas
        findings.append(Finding(True, what, "see docs/durability.md", note=more))
    if durability.confirm[:1] == ("WAIT",):
        needed = [str(count) for count in range(durability.replicas, 10)]
        findings.append(_setting(settings, "min-replicas-to-write", needed, "a partitioned master must refuse writes"))
    return findings


def _version(facts: Facts) -> Finding:
    found = f"{'Valkey' if facts.valkey else 'Redis'} {_dotted(facts.version)}"
    if facts.version < OLDEST:
        return Finding(False, found, f"use {_dotted(OLDEST)} or newer")
    fixed = (_VALKEY_FIXED if facts.valkey else _REDIS_FIXED).get(facts.version[:2], OLDEST)
    advice = f"update to {_dotted(fixed)} or newer, which fixes CVE-2024-46981 and CVE-2025-49844 in its Lua"
    return Finding(True, found, advice, note=facts.version < fixed)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _setting(settings: Mapping[str, str], name: str, wanted: "tuple[str, ...] | list[str]", reason: str) -> Finding:
    found = settings.get(name, "unknown")
    advice = f"CONFIG SET {name} {wanted[0]} and write it into the configuration file ({reason})"
    if found == "unknown":
        advice = f"allow this user CONFIG GET {name}: it must be {wanted[0]} ({reason})"
    return Finding(found in wanted, f"{name} {found}", advice)


def facts_from(answers: Sequence[Any]) -> Facts:
    """The facts in the answers to QUESTIONS; a setting that the user may not read is unknown."""
    info, *configured = answers
    reported = _pairs(info)
    valkey = "valkey_version" in reported
    version = reported["valkey_version" if valkey else "redis_version"]
    settings: dict[str, str] = {}
    for answer in configured:
        if not isinstance(answer, Exception):
            settings |= dict(zip(_texts(answer[::2]), _texts(answer[1::2]), strict=True))
    return Facts(
        tuple(int(part) for part in version.split(".")[:3]),
        valkey,
        reported.get("role", "unknown"),
        settings,
        reported.get("aof_last_write_status", "ok"),
        int(reported.get("connected_slaves", "0")),
        int(reported.get("used_memory", "0")),
        int(reported.get("maxmemory", "0")),
    )


def _pairs(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, _, value in lines if value}


def _texts(values: Sequence[bytes]) -> list[str]:
    return [bytes(value).decode(errors="replace") for value in values]
