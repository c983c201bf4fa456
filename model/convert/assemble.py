"""Writes a folder of weights from converted parts: settings, tensors, tokeniser, special tokens.

What is found, assumed and written is added to a report (a list of lines) for the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from model import weights
from model.config import ModelConfig, SpecialTokens
from model.convert.chat import ChatFrame
from model.convert.tensors import ForeignModelError, fit
from model.layers.fused_linear import join_fused, split_fused
from model.mechanisms import build
from model.tokenizer import TextTokenizer

Report = list[str]
ROOM_TO_ASK = 32
# What ends an answer where no chat template says it, the more particular first.
END_TOKENS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "</s>", "<eos>")


def read_tokenizer(folder: Path) -> TextTokenizer:
    """A folder's tokenizer.json, of one of the kinds that `model/tokenizer_json.py` names."""
    path = folder / "tokenizer.json" if folder.is_dir() else folder
    if not path.is_file():
        raise ForeignModelError(f"{path} is not there: give the tokeniser's file with --tokenizer")
    try:
        return TextTokenizer.read(path)
    except ValueError as error:
        raise ForeignModelError(f"{path}: {error}") from error


def text_opening(folder: Path) -> tuple[int, ...]:
    """The special tokens that a folder's tokenizer.json puts in front of a text, such as <bos>."""
    return tuple(Tokenizer.from_file(str(folder / "tokenizer.json")).encode("").ids)


def special_tokens(
    tokenizer: TextTokenizer,
    frame: ChatFrame | None,
    answer_mark: str | None,
    report: Report,
    opening: tuple[int, ...] = (),
    eos: str = "",
) -> SpecialTokens:
    """The marks around tail and question: a chat template's frame, or a mark that training put before answers.

    Without either, `opening` stands in front of a window. `eos` ends an answer where the frame has nothing that does.
    """
    after = tokenizer.encode_template(eos if frame is None else frame.end + eos)
    named = [id_ for id_ in after if not tokenizer.pieces[id_]]
    end = named[0] if named else tokenizer.special_id(*END_TOKENS)
    if end is None:
        raise ForeignModelError(
            "nothing could end an answer: no chat template says what does, and the tokeniser has none of "
            f"{', '.join(END_TOKENS)}"
        )
    if answer_mark is not None:
        mark = tuple(tokenizer.encode(answer_mark)[:1])
        report.append(f"assumed: an answer begins behind token {mark[0]} ({answer_mark!r}) and ends at {end}")
        return SpecialTokens(start=end, question=(), answer=mark, end=end)
    if frame is None:
        report.append(f"assumed: no chat template; an answer follows its question and a line break, ends at {end}")
        answer = tuple(tokenizer.encode("\n"))
        return SpecialTokens(start=end, question=(), answer=answer, end=end, opening=opening)
    before, behind = (tuple(tokenizer.encode_template(part)) for part in (frame.before, frame.behind))
    report.append(f"found: a chat template, {len(before)} tokens before the text and {len(behind)} behind the question")
    return SpecialTokens(start=end, opening=before, question=tuple(tokenizer.encode("\n\n")), answer=behind, end=end)


def assemble(
    out: Path,
    config: ModelConfig,
    backbone: Mapping[str, Tensor],
    memory: Mapping[str, Tensor],
    tokenizer: TextTokenizer,
    report: Report,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes a folder of weights, as `dtype`; what `memory` does not give of the mechanism stays at its start."""
    special = config.special
    used = {special.start, special.end, *special.opening, *special.question, *special.answer, *special.gap}
    within = tokenizer.within(config.vocab_size, used)
    if max(within.entries, 1 + max(used)) > config.vocab_size:
        raise ForeignModelError(
            f"the tokeniser has {tokenizer.entries} entries, the model {config.vocab_size}: they do not belong together"
        )
    if out.exists() and any(out.iterdir()):
        raise ForeignModelError(f"{out} is not empty; give another folder")
    torch.manual_seed(0)
    model = build(config)
    expected = split_fused(model, model.state_dict())
    fresh = {name: tensor for name, tensor in expected.items() if not _is_backbone(name)}
    tensors = {**fresh, **memory, **backbone}
    fit(tensors, {name: tensor.shape for name, tensor in expected.items()})
    if extra := sorted(set(tensors) - set(expected)):
        raise ForeignModelError("not known: " + ", ".join(extra))
    model.load_state_dict(join_fused(model, {name: tensor.float() for name, tensor in tensors.items()}))
    weights.save(out, model, within, dtype)
    report.append(f"written: {out}, {sum(t.numel() for t in tensors.values()):,} weights, mechanism {config.mechanism}")


def must_have_room(config: ModelConfig, report: Report) -> None:
    """Raises unless a segment fits the window together with a question and an answer."""
    room = config.window_tokens - config.segment_window_tokens - len(config.special.opening)
    if room < ROOM_TO_ASK:
        segment = config.segment_tokens - (ROOM_TO_ASK - room)
        advice = f"give --segment {segment}" if segment > 0 else "the context is too short for any segment"
        raise ForeignModelError(
            f"segments of {config.segment_tokens} tokens leave no room to ask in a context of "
            f"{config.window_tokens}; {advice}"
        )
    report.append(f"assumed: segments of {config.segment_tokens} tokens; a checkpoint does not record it")


def _is_backbone(name: str) -> bool:
    return name.split(".")[0] in ("embedding", "position_embedding", "blocks", "final_norm", "head")
