"""What a chat template puts around a user's message and the answer to it.

A template is a program: it runs in a sandbox, on one message, with what transformers gives to templates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from model.convert.tensors import ForeignModelError

_QUESTION, _ANSWER = "\N{SYMBOL FOR START OF TEXT}", "\N{SYMBOL FOR END OF TEXT}"
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")
# Some templates name today's date. With a fixed one a model is converted to the same bytes on every day.
_DATE = datetime(2025, 1, 1)


class ChatFrame(NamedTuple):
    """The text before and behind what a user says, up to where the answer begins, and what follows the answer."""

    before: str
    behind: str
    end: str


def folder_chat_frame(folder: Path) -> ChatFrame | None:
    """`chat_frame` of a folder's template; None where it has none."""
    beside = folder / "chat_template.jinja"
    given = _tokenizer_config(folder)
    template = beside.read_text(encoding="utf-8") if beside.is_file() else _default(given.get("chat_template"))
    return None if template is None else chat_frame(template, special_names(folder), folder)


def special_names(folder: Path) -> dict[str, str]:
    """The special tokens that a folder's tokenizer_config.json names."""
    given = _tokenizer_config(folder)
    return {name: _content(given[name]) for name in _NAMED if given.get(name)}


def chat_frame(template: str, names: Mapping[str, str], place: Path) -> ChatFrame:
    """Of one user's message, with thinking off and without tools.

    `names` are the special tokens that the template can name; `place` is for the error.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _as_json
    environment.globals |= {"raise_exception": _refused, "strftime_now": _DATE.strftime}
    asked = [{"role": "user", "content": _QUESTION}]
    answered = [*asked, {"role": "assistant", "content": _ANSWER}]
    try:
        compiled = environment.from_string(template)
        given: dict[str, Any] = {**names, "enable_thinking": False, "tools": None, "documents": None}
        prompt = compiled.render(messages=asked, add_generation_prompt=True, **given)
        whole = compiled.render(messages=answered, add_generation_prompt=False, **given)
    except Exception as error:
        raise ForeignModelError(f"the chat template of {place} cannot be rendered: {error}") from error
    before, found, behind = prompt.partition(_QUESTION)
    if not found:
        raise ForeignModelError(f"the chat template of {place} leaves out what the user says")
    return ChatFrame(before, behind, whole.partition(_ANSWER)[2])


class _Generation(Extension):
    """The tag `generation` of transformers, which marks what a model wrote: its content is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ForeignModelError(f"{path} cannot be read: {error}") from error


def _default(template: object) -> str | None:
    """A template, or of several the one for plain conversations."""
    if isinstance(template, list):
        named = {each["name"]: each["template"] for each in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _content(token: object) -> str:
    """A special token's text, given plain or with its properties."""
    return str(token["content"]) if isinstance(token, Mapping) else str(token)


def _as_json(value: object, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def _refused(message: str) -> NoReturn:
    raise TemplateError(message)
