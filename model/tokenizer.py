"""Text to tokens and back, so that no cut in the text can ever change a token.

A token is final only when no later byte can change it. The pattern of our own pre-tokeniser has no look-ahead and
bounds every match, so a piece of text that another piece follows is final; only the last one waits, as at most
a few dozen characters. The patterns of GPT-2, Llama 3 and Qwen look ahead and join ("'l" and "l", line breaks across
blanks), so of a foreign byte-level tokeniser three pieces wait. Our own tokeniser normalizes line ends and spaces
first; pending bytes are normalized already, but for a CR at their end, which waits for the LF that may follow.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from model.text_normalization import normalized, normalized_part
from model.tokenizer_json import SPACED_PATTERN, adapted, byte_symbols, byte_tokens, steps, with_every_byte

# Letters, digits or signs with at most one space in front; else white space. Bounded, so that a text
# without any boundary cannot hold back its tokens for ever.
PIECE_PATTERN = r" ?\p{L}{1,32}| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]{1,8}|\s{1,16}"
ENCODE_CHARACTERS_MAX = 1 << 16
_FOREIGN_PIECES_HELD = 3
_SYMBOLS = byte_symbols()
_BYTE_TOKENS = {token: byte for byte, token in enumerate(byte_tokens())}


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
    """A BPE (Sennrich et al. 1508.07909) over bytes, or with a token for each, in pieces that are stable under cuts."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        # No text can name a special token: what looks like one is read as the characters that it is.
        tokenizer.encode_special_tokens = True
        self._special = {token.content: id_ for id_, token in tokenizer.get_added_tokens_decoder().items()}
        vocabulary = tokenizer.get_vocab()
        self._pieces = [b""] * (max(vocabulary.values(), default=-1) + 1)
        given = json.loads(tokenizer.to_str())
        bytes_of = _bytes_of_characters if given["model"]["byte_fallback"] else _bytes_of_symbols
        for token, id_ in vocabulary.items():
            if token not in self._special:
                self._pieces[id_] = bytes_of(token)
        patterns = [step.get("pattern") for step in steps(given["pre_tokenizer"])]
        self._own = {"Regex": PIECE_PATTERN} in patterns
        self._pieces_held = 1 if self._own or {"Regex": SPACED_PATTERN} in patterns else _FOREIGN_PIECES_HELD

    @classmethod
    def from_json(cls, text: str) -> TextTokenizer:
        """The tokeniser of a tokenizer.json, `adapted`; one that would lose or change text is refused (ValueError)."""
        return cls(_read(adapted(text)))

    def within(self, entries: int, used: Collection[int]) -> TextTokenizer:
        """With a token for every byte, for a model with so many entries that needs the special tokens `used`.

        Raises ValueError where that cannot be.
        """
        return TextTokenizer(_read(with_every_byte(self.to_json(), entries, used)))

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

    def finish(self, pending: bytes) -> list[int]:
        """The tokens of pending bytes where a text ends; `InvalidText` where they end inside a character."""
        text, cut_character = _decoded(pending)
        if cut_character:
            raise InvalidText(len(pending) - len(cut_character))
        return self.encode(text)

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


def _read(text: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(text)
    except Exception as error:
        raise ValueError(f"not a tokenizer.json: {error}") from error


def _decoded(data: bytes) -> tuple[str, bytes]:
    """The whole characters of `data`, and the bytes of the one that it ends inside."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        text = decoder.decode(data)
    except UnicodeDecodeError as error:
        raise InvalidText(error.start) from None
    return text, decoder.getstate()[0]


def _bytes_of_symbols(token: str) -> bytes:
    """The bytes of a byte-level token; none where it is not made of bytes, because then no text has it."""
    return bytes(_SYMBOLS[symbol] for symbol in token) if all(symbol in _SYMBOLS for symbol in token) else b""


def _bytes_of_characters(token: str) -> bytes:
    byte = _BYTE_TOKENS.get(token)
    return token.encode() if byte is None else bytes([byte])
