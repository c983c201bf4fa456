"""How durable an answer is: what Redis must have promised before one is given, and what must be so for that.

It knows Redis' settings by name, and no session.
"""

from dataclasses import dataclass, replace

CONFIRM_MILLISECONDS = 2000


@dataclass(frozen=True)
class Durability:
    """`confirm` is the command whose answer says how many have it; `enough` of each of them must."""

    name: str
    appendfsync: tuple[str, ...]
    confirm: tuple[str, ...] = ()
    enough: tuple[int, ...] = ()
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
    """The same, with so many replicas that must confirm."""
    if not durability.confirm:
        return durability
    confirm = ("WAITAOF", "1", str(replicas), str(CONFIRM_MILLISECONDS))
    return replace(durability, confirm=confirm, enough=(1, replicas), replicas=replicas)


def kept_by(durability: Durability, version: tuple[int, ...]) -> Durability:
    """How this version keeps it: replicas before 7.2 can confirm only that they have it, not that it is fsynced."""
    if durability.confirm[:1] != ("WAITAOF",) or version >= (7, 2):
        return durability
    return replace(durability, confirm=("WAIT", *durability.confirm[2:]), enough=durability.enough[1:])
