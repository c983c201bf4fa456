"""Every setting as a flag: `--idle-seconds VALUE` beside `ONCEREAD_IDLE_SECONDS`."""

from __future__ import annotations

import argparse
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from server.settings import GROUPS, PREFIX, Settings


def add_flags(parser: argparse.ArgumentParser, shown: bool = True) -> None:
    """A flag for each setting; it may stand before or after a command, so only one that was given has a value."""
    for group in GROUPS:
        section = parser.add_argument_group(group.__doc__)
        for name, field in group.model_fields.items():
            section.add_argument(
                f"--{name.replace('_', '-')}",
                metavar="VALUE",
                default=argparse.SUPPRESS,
                help=_help(name, field) if shown else argparse.SUPPRESS,
            )


def flags_of(options: argparse.Namespace) -> dict[str, str]:
    """The settings that were given as flags, by name."""
    return {name: value for name, value in vars(options).items() if name in Settings.model_fields}


def _help(name: str, field: FieldInfo) -> str:
    facts = [f"{PREFIX}{name.upper()}"]
    if field.default not in (None, PydanticUndefined):
        facts.append(f"default {field.default}")
    facts += filter(None, [_limits(field)])
    return f"{field.description} [{', '.join(facts)}]".replace("%", "%%")


def _limits(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return f"one of {' '.join(get_args(field.annotation))}"
    words = (("ge", "at least"), ("gt", "more than"), ("le", "at most"))
    bounds = {word: getattr(item, kind) for item in field.metadata for kind, word in words if hasattr(item, kind)}
    return ", ".join(f"{word} {bound if isinstance(bound, int) else f'{bound:g}'}" for word, bound in bounds.items())
