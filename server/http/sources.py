"""The sources of an answer, as the native routes show them and as annotations of OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from model.documents import Document, named_at
from model.mechanisms.base import Source
from server.http.openai_schemas import Annotation, UrlCitation
from server.http.schemas import AnswerSource
from server.sessions.answers import Answer

TITLE_CHARACTERS = 80


def shown_sources(sources: Iterable[Source], count_max: int, documents: Sequence[Document] = ()) -> list[AnswerSource]:
    """The best `count_max` of sources that come best first, each with the name of its document."""
    return [
        AnswerSource(
            offset=source.offset,
            bytes=source.size,
            document=named_at(documents, source.offset),
            text=source.text,
            score=source.score,
        )
        for source in islice(sources, count_max)
    ]


def citations(answer: Answer, session: str | None, count_max: int) -> list[Annotation]:
    """The sources in the session's text, each as a citation for the whole answer; its URL names the range of bytes.

    What stands behind that text was in the request itself.
    """
    of_session = (source for source in answer.sources if source.offset < answer.context.state.offset)
    return [
        Annotation(
            url_citation=UrlCitation(
                start_index=0,
                end_index=len(answer.text),
                title=_title(source.text),
                url=f"urn:onceread:session:{session}#bytes={source.offset}-{source.offset + source.bytes - 1}",
            ),
            source=source,
        )
        for source in shown_sources(of_session, count_max, answer.context.state.documents)
    ]


def _title(text: str) -> str:
    """The text's beginning on one line."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"
