"""Text to tokens and back, so that no cut in the text can ever change a token.

A token is final only when no later byte can change it. The pattern of our own pre-tokeniser has no look-ahead and
bounds every match, so a piece of text that another piece follows is final; only the last one waits, as at most
a few dozen characters. The patterns of GPT-2 and Llama look ahead and join ("'l" and "l", line breaks across blanks),
so of a foreign tokeniser three pieces wait. Our own tokeniser normalizes line ends and spaces first; pending bytes are
normalized already, but for a CR at their end, which waits for the LF that may follow.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from model.text_normalization import normalized, normalized_part

# Letters, digits or signs with at most one space in front; else white space. Bounded, so that a text
# without any boundary cannot hold back its tokens for ever.
PIECE_PATTERN = r" ?\p{L}{1,32}| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]{1,8}|\s{1,16}"
ENCODE_CHARACTERS_MAX = 1 << 16
_FOREIGN_PIECES_HELD = 3


class InvalidText(ValueError):
    """The bytes are not UTF-8; `offset_bytes` counts from where the given bytes begin."""

    def __init__(self, offset_bytes: int) -> None:
        super().__init__(f"not UTF-8 at byte {offset_bytes}")
        self.offset_bytes = offset_bytes


class Tokens(NamedTuple):
    """Final tokens, and the bytes behind them that later bytes can still change."""

    ids: list[int]
    pending: bytes


class TextTokenizer:
    """A byte-level BPE (Sennrich et al. 1508.07909) over pieces that are stable under cuts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        symbols = _byte_symbols()
        self._tokenizer = tokenizer
        # No text can name a special token: what looks like one is read as the characters that it is.
        tokenizer.encode_special_tokens = True
        self._special = {token.content: id_ for id_, token in tokenizer.get_added_tokens_decoder().items()}
        vocabulary = tokenizer.get_vocab()
        self._pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
        for token, id_ in vocabulary.items():
            if token not in self._special:
                self._pieces[id_] = bytes(symbols[symbol] for symbol in token)
        steps = _steps(json.loads(tokenizer.to_str()))
        self._own = any(step.get("pattern") == {"Regex": PIECE_PATTERN} for step in steps)
        self._pieces_held = 1 if self._own else _FOREIGN_PIECES_HELD

    @classmethod
    def from_json(cls, text: str) -> TextTokenizer:
        """A byte-level BPE from tokenizer.json; what would make a token depend on where a text is cut is refused."""
        given = json.loads(text)
        for name in ("normalizer", "truncation", "padding"):
            if given.get(name) is not None:
                raise ValueError(f"a tokeniser with a {name} changes the text: it cannot be used")
        byte_level = [step for step in _steps(given) if step.get("type") == "ByteLevel"]
        if given["model"]["type"] != "BPE" or not byte_level:
            raise ValueError("only byte-level BPE tokenisers can be used")
        for step in byte_level:
            step["add_prefix_space"] = False
        # Nothing is put around a text, and offsets count white space.
        return cls(Tokenizer.from_str(json.dumps({**given, "post_processor": None})))

    @classmethod
    def read(cls, path: Path) -> TextTokenizer:
        return cls.from_json(path.read_text(encoding="utf-8"))

    @classmethod
    def train(cls, texts: Iterable[str], entries: int) -> TextTokenizer:
        """A tokeniser of `entries` entries learned from `texts`; it has no special tokens that text could name."""
        tokenizer: Tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(PIECE_PATTERN), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=entries, initial_alphabet=alphabet, show_progress=True)
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    def special_id(self, *names: str) -> int | None:
        """The id of the first of these special tokens that there is."""
        return next((self._special[name] for name in names if name in self._special), None)

    def encode_template(self, text: str) -> list[int]:
        """The tokens of a text of ours, in which special tokens are named as themselves."""
        self._tokenizer.encode_special_tokens = False
        try:
            return self._tokenizer.encode(text).ids
        finally:
            self._tokenizer.encode_special_tokens = True

    @property
    def pieces(self) -> list[bytes]:
        """The bytes of each token, by id; special tokens, and ids that no token has, are empty."""
        return self._pieces

    @property
    def entries(self) -> int:
        return self._tokenizer.get_vocab_size()

    def to_json(self) -> str:
        return self._tokenizer.to_str()

    def encode(self, text: str) -> list[int]:
        """The tokens of a whole text, none held back."""
        return self._tokenizer.encode(normalized(text) if self._own else text).ids

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        """The tokens of a whole text, normalized already, and for each the offset in characters at which it ends."""
        encoding = self._tokenizer.encode(text)
        return encoding.ids, [end for _, end in encoding.offsets]

    def advance(self, pending: bytes, data: bytes) -> Tokens:
        """The tokens that `data` makes final behind `pending`, and what is pending then.

        A pure function of the text: however a text is cut into `data`, the ids in order and the last pending
        bytes are the same. Raises `InvalidText`.
        """
        text, cut_character = _decoded(pending + data)
        text, carriage_return = normalized_part(text) if self._own else (text, "")
        ids: list[int] = []
        start, size = 0, ENCODE_CHARACTERS_MAX
        while part := text[start : start + size]:
            encoding = self._tokenizer.encode(part)
            pieces = [piece for piece in encoding.word_ids if piece is not None]
            held = next(i for i, piece in enumerate(pieces) if piece > pieces[-1] - self._pieces_held)
            ids += encoding.ids[:held]
            final = encoding.offsets[held][0]
            start += final
            if len(part) < size:
                break
            # Pieces of a foreign tokeniser have no bound: a part that makes nothing final is too short.
            size = ENCODE_CHARACTERS_MAX if final else 2 * size
        return Tokens(ids, (text[start:] + carriage_return).encode() + cut_character)

    def flush(self, pending: bytes) -> list[int]:
        """The tokens of pending bytes as if the text ended here; a cut character is left out."""
        return self.encode(_decoded(pending)[0])

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes that tokens stand for; they need not be whole characters."""
        return b"".join(self._pieces[id_] for id_ in ids if 0 <= id_ < len(self._pieces))


class StreamDecoder:
    """Turns tokens into text as they come, never splitting a character; white space around it is dropped."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False
        self._held = ""

    def push(self, id_: int) -> str:
        """The characters that this token completes; often none."""
        return self._released(self._decoder.decode(self._tokenizer.decode([id_])))

    def finish(self) -> str:
        """What is left at the end: U+FFFD for a character that never became whole."""
        return self._released(self._decoder.decode(b"", final=True))

    def _released(self, text: str) -> str:
        text = self._held + text
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        # White space is given out once something follows it.
        shown = text.rstrip()
        self._held = text[len(shown) :]
        return shown


def _steps(given: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps of a tokenizer.json's pre-tokeniser."""
    whole = given["pre_tokenizer"] or {}
    return whole.get("pretokenizers", [whole])  # type: ignore[no-any-return]


def _decoded(data: bytes) -> tuple[str, bytes]:
    """The whole characters of `data`, and the bytes of the one that it ends inside."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        text = decoder.decode(data)
    except UnicodeDecodeError as error:
        raise InvalidText(error.start) from None
    return text, decoder.getstate()[0]


def _byte_symbols() -> dict[str, int]:
    """The printable symbol that byte-level BPE writes for each byte, as `tokenizers` does it.

    Printable Latin-1 bytes stand for themselves; the others, in order, for U+0100 and on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
