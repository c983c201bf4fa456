"""Texts in which not everything is worth the same: articles with novels between them, and articles that come twice."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy

from model.evaluation.corpora import Corpus, Question

AGAIN = b"Again:\n"


def among_novels(corpus: Corpus, books: str) -> Corpus:
    """After each part of the text as much of the books, in order."""
    novels = books.encode()
    at = 0

    def next_pages(part: bytes) -> bytes:
        nonlocal at
        pages = (novels[at : at + len(part)] or novels[: len(part)]).decode(errors="ignore").encode()
        at += len(part)
        return pages + b"\n"

    return _with_more(corpus, f"{corpus.name} among novels", next_pages)


def twice(corpus: Corpus) -> Corpus:
    """Each part of the text comes twice, and an answer is where it stands in either."""
    doubled = _with_more(corpus, f"{corpus.name} twice", lambda part: AGAIN + part)
    sizes = _sizes(corpus)
    ends = numpy.array(doubled.starts)
    questions = []
    for question in doubled.questions:
        parts = numpy.searchsorted(ends, [start for start, _ in question.places], side="right") - 1
        shifts = [sizes[part] + len(AGAIN) for part in parts.tolist()]
        again = [(start + by, end + by) for (start, end), by in zip(question.places, shifts, strict=True)]
        questions.append(Question(question.text, question.answers, (*question.places, *again)))
    return Corpus(doubled.name, doubled.text, tuple(questions), doubled.starts)


def _sizes(corpus: Corpus) -> list[int]:
    return [end - start for start, end in pairwise([*corpus.starts, len(corpus.text.encode())])]


def _with_more(corpus: Corpus, name: str, more: Callable[[bytes], bytes]) -> Corpus:
    """The corpus with something behind each of its parts; the questions' places move with their part."""
    data = corpus.text.encode()
    pieces: list[bytes] = []
    starts: list[int] = []
    size = 0
    for start, length in zip(corpus.starts, _sizes(corpus), strict=True):
        part = data[start : start + length]
        starts.append(size)
        pieces += [part, more(part)]
        size += len(pieces[-2]) + len(pieces[-1])
    shifts = numpy.array(starts) - numpy.array(corpus.starts)
    questions = []
    for question in corpus.questions:
        parts = numpy.searchsorted(corpus.starts, [start for start, _ in question.places], side="right") - 1
        moved = zip(question.places, shifts[parts].tolist(), strict=True)
        places = tuple((start + by, end + by) for (start, end), by in moved)
        questions.append(Question(question.text, question.answers, places))
    return Corpus(name, b"".join(pieces).decode(), tuple(questions), tuple(starts))
