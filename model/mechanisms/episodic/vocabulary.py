"""The bytes that each token stands for, so that tokens can be read as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class Vocabulary:
    """`pieces[id]` are a token's bytes, empty for special tokens."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)
        self._sizes = np.array([len(piece) for piece in self.pieces], dtype=np.int64)

    @property
    def fill(self) -> int | None:
        """The first token that no text has, since it has no bytes; None where there is none."""
        found = np.flatnonzero(self._sizes == 0)
        return int(found[0]) if len(found) else None

    def ends_document(self, ids: Sequence[int] | np.ndarray) -> bool:
        """Whether a document's text ends with an episode of these tokens: it is filled up with tokens of no bytes."""
        return len(ids) > 0 and not self._sizes[int(ids[-1])]

    def size(self, ids: Sequence[int] | np.ndarray) -> int:
        """How many bytes of text these tokens are."""
        return int(self.sizes(ids).sum())

    def sizes(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """How many bytes of text each of these tokens is."""
        found: np.ndarray = self._sizes[np.asarray(ids, dtype=np.int64)]
        return found

    def bytes_of(self, ids: Iterable[int]) -> bytes:
        """The text of tokens, as it was sent; it need not begin or end at a whole character."""
        pieces = self.pieces
        return b"".join([pieces[id_] for id_ in ids])

    def text(self, ids: Iterable[int]) -> str:
        """The same as characters; a cut character at either end is left out."""
        return self.bytes_of(ids).decode(errors="ignore")
