"""`python -m model.attach SOURCE OUT --mechanism episodic|armt|delta|rmt`: a memory for a pretrained model.

SOURCE is a Hugging Face folder or a GGUF file.

`episodic` needs no training. Before training, the memory of `armt` and `delta` adds nothing: on single segments the
outputs are exactly the backbone's. `rmt` puts memory tokens before every window, so its outputs differ from the start.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from model.config import Mechanism, ModelConfig
from model.convert.assemble import Report, assemble, must_have_room, special_tokens
from model.convert.episodic import episodic_config
from model.convert.pretrained import read_pretrained
from model.convert.tensors import ForeignModelError


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
    special = special_tokens(tokenizer, found.frame, None, report, found.opening, found.eos)
    if mechanism == "episodic":
        config = episodic_config(settings, special, tokenizer, segment_tokens, recall_tokens)
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


def _zero_values(config: ModelConfig) -> dict[str, Tensor]:
    """Value weights of zero: an untrained memory adds nothing to the hidden states."""
    if config.mechanism != "delta":
        return {}
    return {f"memories.{n}.value.weight": torch.zeros(config.d_model, config.d_model) for n in range(config.n_layers)}


if __name__ == "__main__":
    main()
