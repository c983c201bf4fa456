"""`python -m model.attach SOURCE OUT --mechanism episodic|armt|delta|rmt`: a memory for a pretrained model.

SOURCE is a Hugging Face folder or a GGUF file.

`episodic` needs no training. Before training, the memory of `armt` and `delta` adds nothing: on single segments the
outputs are exactly the backbone's. `rmt` puts memory tokens before every window, so its outputs differ from the start.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from model.config import Mechanism, ModelConfig, SpecialTokens
from model.convert.assemble import Report, assemble, must_have_room, special_tokens
from model.convert.huggingface import Settings
from model.convert.pretrained import read_pretrained
from model.convert.tensors import ForeignModelError
from model.tokenizer import TextTokenizer

EPISODE_TOKENS = 128
RECALL_TOKENS = 1024
# At six bytes a token or less, 64 MiB.
CAPACITY_TOKENS = 10 * 2**20
QUESTION_AND_ANSWER_TOKENS = 256
# Stands where text is left out.
GAP = "\n[...]\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.attach", description=__doc__)
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="a Hugging Face folder (config, weights, tokeniser) or a .gguf file"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--mechanism", choices=("episodic", "armt", "delta", "rmt"), default="episodic")
    parser.add_argument("--segment", type=int, help="tokens of a segment (128 for episodic, else 512)")
    parser.add_argument("--recall", type=int, help="of episodic: tokens that a question reads again")
    parser.add_argument("--memory-tokens", type=int, default=16, help="of armt and rmt")
    parser.add_argument("--key-dim", type=int, default=64, help="of armt and delta")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the file")
    arguments = parser.parse_args()
    try:
        report = attach(
            arguments.source,
            arguments.out,
            arguments.mechanism,
            arguments.segment,
            arguments.memory_tokens,
            arguments.key_dim,
            arguments.recall,
            getattr(torch, arguments.dtype),
        )
    except (ForeignModelError, ValueError) as error:
        sys.exit(f"{error}")
    print("\n".join(report))


def attach(
    source: Path,
    out: Path,
    mechanism: Mechanism,
    segment_tokens: int | None,
    memory_tokens: int,
    key_dim: int,
    recall_tokens: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Report:
    """Writes OUT, its weights stored as `dtype`, and returns what was found and what was assumed."""
    report: Report = []
    found = read_pretrained(source)
    settings, tokenizer = found.settings, found.tokenizer
    special = special_tokens(tokenizer, found.frame, None, report)
    if mechanism == "episodic":
        config = _episodic_config(settings, special, segment_tokens or EPISODE_TOKENS, recall_tokens, tokenizer)
    else:
        config = ModelConfig(
            **settings,
            special=special,
            segment_tokens=segment_tokens or 512,
            mechanism=mechanism,
            memory_tokens=memory_tokens,
            memory_key_dim=key_dim,
        )
    must_have_room(config, report)
    assemble(out, config, found.tensors, _zero_values(config), tokenizer, report, dtype)
    return report


def _episodic_config(
    settings: Settings, special: SpecialTokens, episode: int, recall: int | None, tokenizer: TextTokenizer
) -> ModelConfig:
    """With as much room for recalled text as the context leaves beside a question and its answer."""
    special = replace(special, gap=tuple(tokenizer.encode(GAP)))
    left = settings["window_tokens"] - len(special.opening) - episode - QUESTION_AND_ANSWER_TOKENS
    fitting = left // (episode + len(special.gap)) * episode
    if fitting < episode:
        raise ForeignModelError(
            f"a context of {settings['window_tokens']} tokens is too short: the window of a question needs "
            f"{settings['window_tokens'] - left + episode + len(special.gap)} at least"
        )
    # A larger vocabulary takes four bytes a token in place of two.
    capacity = CAPACITY_TOKENS if settings["vocab_size"] <= 1 << 16 else CAPACITY_TOKENS * 3 // 4
    return ModelConfig(
        **settings,
        special=special,
        segment_tokens=episode,
        mechanism="episodic",
        recall_tokens=min(recall or RECALL_TOKENS, fitting),
        capacity_tokens=capacity,
    )


def _zero_values(config: ModelConfig) -> dict[str, Tensor]:
    """Value weights of zero: an untrained memory adds nothing to the hidden states."""
    if config.mechanism != "delta":
        return {}
    return {f"memories.{n}.value.weight": torch.zeros(config.d_model, config.d_model) for n in range(config.n_layers)}


if __name__ == "__main__":
    main()
