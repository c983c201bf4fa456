"""Ways to damage a value's bytes, and the description of a damage."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

from server.store.base import SessionKey, Store

# The parts of a value sealed for Redis.
SEALED = {
    "magic": slice(0, 3),
    "key id": slice(3, 7),
    "nonce": slice(7, 19),
    "body": slice(19, -16),
    "tag": slice(-16, None),
}
NOTHING: dict[str, slice] = {}
# Values that only some parsers take for a number, or that are none, or too large.
ODD = (b"", b"inf", b"nan", b"-nan", b"-1", b"1e999", b"0x10", b" 7", b"9" * 5000, b"\xff\xfe", "²".encode(), b"a/b/c")


@dataclass(frozen=True)
class Hurt:
    """What was done to a value of session `key`, and of session `other` if two values were exchanged.

    `older` is the reference store as of an older record that was put back. `hides` means that an index was damaged,
    which is only a hint: lists may then miss sessions, but never show a wrong one. `leased` means a damaged lease.
    """

    what: str
    key: SessionKey
    other: SessionKey | None = None
    older: bytes | None = None
    hides: bool = False
    leased: bool = False


class Vessel(Protocol):
    """A store whose values can be damaged and restored behind its back."""

    name: str

    @property
    def store(self) -> Store: ...

    async def hurt(self, dice: random.Random) -> Hurt: ...

    async def heal(self) -> None: ...

    async def close(self) -> None: ...


def mutilated(dice: random.Random, value: bytes, fields: dict[str, slice] = NOTHING) -> tuple[str, bytes]:
    """The name of the damage and the damaged value, which differs from the given one."""
    while True:
        way, other = _once(dice, value, fields)
        if other != value:
            return way, other


def _once(dice: random.Random, value: bytes, fields: dict[str, slice]) -> tuple[str, bytes]:
    way = dice.choice(("flipped bit", "flipped bit", "cut", "lengthened", "emptied", "garbage", "odd", *fields))
    if way in fields:
        field = fields[way]
        return way, value[: field.start] + dice.randbytes(len(value[field])) + value[len(value[: field.stop]) :]
    match way:
        case "flipped bit" if value:
            bit = dice.randrange(8 * len(value))
            return way, (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(len(value), "big")
        case "cut":
            return way, value[: dice.randrange(len(value) + 1)] if dice.random() < 0.8 else value[1:]
        case "lengthened":
            more = dice.randbytes(dice.choice((1, 16, 400)))
            return way, dice.choice((value + more, more + value, value + value))
        case "emptied":
            return way, b""
        case "odd":
            return way, dice.choice(ODD)
    return way, dice.randbytes(len(value))
