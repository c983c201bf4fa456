"""`python -m model.attach FOLDER OUT --mechanism armt|delta|rmt`: a fresh memory for a pretrained GPT-2 or Llama.

Before training, the memory of `armt` and `delta` adds nothing: on single segments the outputs are exactly the
backbone's. `rmt` puts memory tokens before every window, so its outputs differ from the start.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from model.config import Mechanism, ModelConfig
from model.convert.assemble import Report, assemble, must_have_room, read_tokenizer, special_tokens
from model.convert.huggingface import backbone_tensors, read_settings
from model.convert.tensors import ForeignModelError, Inventory, read_tensors


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.attach", description=__doc__)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="Hugging Face folder: config, weights, tokeniser")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--mechanism", choices=("armt", "delta", "rmt"), default="delta")
    parser.add_argument("--segment", type=int, default=512, help="tokens of a segment")
    parser.add_argument("--memory-tokens", type=int, default=16, help="of armt and rmt")
    parser.add_argument("--key-dim", type=int, default=64, help="of armt and delta")
    arguments = parser.parse_args()
    try:
        report = attach(
            arguments.source,
            arguments.out,
            arguments.mechanism,
            arguments.segment,
            arguments.memory_tokens,
            arguments.key_dim,
        )
    except (ForeignModelError, ValueError) as error:
        sys.exit(f"{error}")
    print("\n".join(report))


def attach(
    source: Path, out: Path, mechanism: Mechanism, segment_tokens: int, memory_tokens: int, key_dim: int
) -> Report:
    """Writes OUT and returns what was found and what was assumed."""
    report: Report = []
    settings = read_settings(source)
    found = Inventory(read_tensors(source))
    backbone = backbone_tensors(settings, found)
    found.finish()
    tokenizer = read_tokenizer(source)
    config = ModelConfig(
        **settings,
        special=special_tokens(tokenizer, source, None, report),
        segment_tokens=segment_tokens,
        mechanism=mechanism,
        memory_tokens=memory_tokens,
        memory_key_dim=key_dim,
    )
    must_have_room(config, report)
    assemble(out, config, backbone, _zero_values(config), tokenizer, report)
    return report


def _zero_values(config: ModelConfig) -> dict[str, Tensor]:
    """Value weights of zero: an untrained memory adds nothing to the hidden states."""
    if config.mechanism != "delta":
        return {}
    return {f"memories.{n}.value.weight": torch.zeros(config.d_model, config.d_model) for n in range(config.n_layers)}


if __name__ == "__main__":
    main()
