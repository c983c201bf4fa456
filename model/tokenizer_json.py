"""tokenizer.json as others write it, made into one that keeps every byte of a text and is stable under cuts.

Two kinds can be used: BPE over bytes (GPT-2, Llama 3, Qwen, SmolLM), and BPE over characters with a token for every
byte beside (`byte_fallback`: Llama 2, Mistral, Phi-3, Gemma). What a normalizer does to Unicode is left out: a text is
tokenised as it was sent.

The second kind writes spaces as U+2581, puts one in front of a text, and merges over the whole text. Here the
vocabulary has spaces in place of U+2581, so that U+2581 itself becomes bytes; nothing is put in front; and a text is
cut into `SPACED_PATTERN` first. As long as no token of the vocabulary goes on behind a space or a line break that
follows something else, and no run is longer than the pattern allows, the tokens are those of the original.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

Json = dict[str, Any]
# Spaces with the word behind them, line breaks, a word: bounded, so that a text without boundaries cannot hold back
# its tokens for ever, and without look-ahead, so that only the last piece can still change.
SPACED_PATTERN = r" {1,32}[^ \n]{0,64}|\n{1,32}|[^ \n]{1,64}"
SPACE_MARK = "\u2581"
SUPPORTED = "supported are byte-level BPE (GPT-2, Llama 3, Qwen) and BPE with byte fallback (Llama 2, Mistral, Gemma)"
# Bytes that no UTF-8 text has.
NEVER_IN_TEXT = {0xC0, 0xC1, *range(0xF5, 0x100)}
_UNICODE_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def adapted(text: str) -> str:
    """The same tokeniser as this module's docstring has it; adapted once more, it stays as it is.

    Raises ValueError for a tokeniser of another kind, or one whose vocabulary cannot keep every text.
    """
    given = json.loads(text)
    if not isinstance(given, dict) or not isinstance(given.get("model"), dict):
        raise ValueError("not a tokenizer.json: it has no model")
    model: Json = given["model"]
    kind = model.get("type", "BPE" if "merges" in model else None)
    if kind != "BPE":
        raise ValueError(f"the tokeniser's model is {kind}; {SUPPORTED}")
    if any(model.get(name) for name in ("continuing_subword_prefix", "end_of_word_suffix")):
        raise ValueError(f"the tokeniser marks parts of words; {SUPPORTED}")
    byte_level = [step for step in steps(given.get("pre_tokenizer")) if step["type"] == "ByteLevel"]
    if not byte_level and not model.get("byte_fallback"):
        raise ValueError(f"a BPE that is neither byte-level nor has byte fallback loses text; {SUPPORTED}")
    _must_keep_the_text(given, spaces_marked=not byte_level)
    for step in byte_level:
        step["add_prefix_space"] = False
    if not byte_level:
        _adapt_spaces(given)
    # What looks like one of these in a text is read as the characters that it is.
    vocabulary = model["vocab"]
    added = [token for token in given.get("added_tokens", []) if token["special"] or token["content"] not in vocabulary]
    _forbid(model, {token["content"] for token in added} | (set() if byte_level else set(byte_tokens())))
    unused = {"normalizer": None, "post_processor": None, "truncation": None, "padding": None}
    changed = {**given, **unused, "added_tokens": [{**token, "special": True} for token in added]}
    return json.dumps(changed, ensure_ascii=False)


def with_every_byte(text: str, entries: int, used: Collection[int]) -> str:
    """An adapted tokeniser within a model's `entries` in which each byte of UTF-8 has a token.

    SmolLM2's vocabulary lacks eight bytes, control characters among them, which would be lost. A byte that has no
    token takes the id of one that no text has: beyond the tokeniser's own, or a special token that is not `used`.
    Raises ValueError where there are too few.
    """
    given: Json = json.loads(text)
    vocabulary: dict[str, int] = given["model"]["vocab"]
    given["added_tokens"] = [token for token in given["added_tokens"] if token["id"] < entries]
    named = byte_tokens() if given["model"].get("byte_fallback") else [*byte_symbols()]
    missing = [token for byte, token in enumerate(named) if token not in vocabulary and byte not in NEVER_IN_TEXT]
    special = {token["id"]: token["content"] for token in given["added_tokens"] if token["id"] not in used}
    taken = {*vocabulary.values(), *(token["id"] for token in given["added_tokens"])}
    free = [*(id_ for id_ in range(entries) if id_ not in taken), *sorted(special, reverse=True)]
    if len(free) < len(missing):
        raise ValueError(f"the tokeniser has no token for {len(missing)} bytes, and only {len(free)} ids to spare")
    for token, id_ in zip(missing, free, strict=False):
        vocabulary.pop(special.get(id_, ""), None)
        vocabulary[token] = id_
    given["added_tokens"] = [token for token in given["added_tokens"] if token["id"] not in free[: len(missing)]]
    if missing:
        # `tokenizers` numbers those that the vocabulary has not behind it anew.
        vocabulary.update({token["content"]: token["id"] for token in given["added_tokens"]})
    return json.dumps(given, ensure_ascii=False)


def steps(part: Json | None) -> Iterator[Json]:
    """The steps of a normalizer or pre-tokeniser, which may be a sequence."""
    if part is not None:
        several: list[Json] = part.get("pretokenizers") or part.get("normalizers") or [part]
        yield from several


def byte_tokens() -> list[str]:
    """The tokens of byte fallback, by byte."""
    return [f"<0x{byte:02X}>" for byte in range(256)]


def byte_symbols() -> dict[str, int]:
    """The printable symbol that byte-level BPE writes for each byte, as `tokenizers` does it, in the order of bytes.

    Printable Latin-1 bytes stand for themselves; the others, in order, for U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    symbols = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return {symbols[byte]: byte for byte in range(256)}


def _must_keep_the_text(given: Json, spaces_marked: bool) -> None:
    """Raises ValueError for steps that change more than the form of Unicode and, where they may, mark spaces."""
    for step in steps(given.get("normalizer")):
        kind = step["type"]
        marks = spaces_marked and (
            (kind == "Prepend" and step["prepend"] == SPACE_MARK)
            or (kind == "Replace" and (step["pattern"], step["content"]) == ({"String": " "}, SPACE_MARK))
        )
        if kind not in _UNICODE_FORMS and not marks:
            raise ValueError(f"the tokeniser's normalizer {kind} changes the text: it cannot be used")
    cutting = ("Split", "Metaspace") if spaces_marked else ("Split", "ByteLevel", "Digits", "Punctuation")
    for step in steps(given.get("pre_tokenizer")):
        if step["type"] not in cutting or step.get("behavior") == "Removed":
            raise ValueError(f"the tokeniser's pre-tokeniser {step['type']} loses text or is not known; {SUPPORTED}")


def _adapt_spaces(given: Json) -> None:
    """Spaces in the vocabulary in place of their marks, and our pieces in place of the original's pre-tokeniser."""
    model = given["model"]
    if any(
        step["type"] in ("Replace", "Metaspace")
        for step in [*steps(given.get("normalizer")), *steps(given.get("pre_tokenizer"))]
    ):
        in_order = sorted(model["vocab"].items(), key=lambda entry: SPACE_MARK in entry[0])
        model["vocab"] = {token.replace(SPACE_MARK, " "): id_ for token, id_ in in_order}
        pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
        model["merges"] = [[part.replace(SPACE_MARK, " ") for part in pair] for pair in pairs]
        for token in given.get("added_tokens", []):
            token["content"] = token["content"].replace(SPACE_MARK, " ")
    # A piece that is a token must not skip the merges: "<0x0A>" may be text.
    model["ignore_merges"] = False
    given["pre_tokenizer"] = {
        "type": "Split",
        "pattern": {"Regex": SPACED_PATTERN},
        "behavior": "Isolated",
        "invert": False,
    }


def _forbid(model: Json, tokens: Collection[str]) -> None:
    """Without the merges that would make one of these tokens out of a text."""
    joined = (
        (merge, merge.replace(" ", "") if isinstance(merge, str) else "".join(merge)) for merge in model["merges"]
    )
    model["merges"] = [merge for merge, made in joined if made not in tokens]
