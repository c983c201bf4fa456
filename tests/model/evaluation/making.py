"""Small question sets in the form of SQuAD and FairytaleQA, with facts that stand once in their text."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

from testing.models import prose

FACTS = {
    "Who keeps the lighthouse of Skerry?": ("The lighthouse of Skerry is kept by Ottoline Brack.", "Ottoline Brack"),
    "What colour is the café's awning?": ("Along the quay the café’s awning is vermilion.", "vermilion"),
    "How many bells has the chapel?": ("Visitors count seventeen bells at the chapel.", "seventeen"),
}


def write_squad(path: Path) -> Path:
    """A file of SQuAD 1.1 with one article, a paragraph for each fact."""
    paragraphs = []
    for number, (question, (fact, answer)) in enumerate(FACTS.items()):
        context = f"{prose(number, 1500)} {fact} {prose(number + 9, 900)}".replace("\n", " ")
        answers = [{"text": answer, "answer_start": context.index(answer)}] * 2
        paragraphs.append({"context": context, "qas": [{"id": str(number), "question": question, "answers": answers}]})
    data = json.dumps({"version": "1.1", "data": [{"title": "The_Skerry", "paragraphs": paragraphs}]})
    path.write_bytes(lzma.compress(data.encode()) if path.suffix == ".xz" else data.encode())
    return path


def write_fairytales(path: Path) -> Path:
    """A file of FairytaleQA with one story, a section for each fact; implicit and absent answers come with it."""
    sections, questions = [], []
    for number, (question, (fact, answer)) in enumerate(FACTS.items(), 1):
        sections.append({"n": number, "text": f"{prose(number, 1200)} {fact} {prose(number + 9, 700)}"})
        shown = {"answers": [answer.upper(), "not in the text"], "sections": [number], "kind": "explicit"}
        questions += [{"question": question, **shown}, {"question": question, **shown, "kind": "implicit"}]
        questions.append({"question": question, **shown, "answers": ["xylophone"]})
    path.write_text(json.dumps({"id": "skerry", "sections": sections, "questions": questions}) + "\n")
    return path
