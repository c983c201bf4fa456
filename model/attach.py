"""`python -m model.attach FOLDER OUT --mechanism armt|delta|rmt`: a fresh memory for a pretrained GPT-2 or Llama.

Before it is trained, the memory of `armt` and `delta` says nothing: single segments are the backbone's exactly. `rmt`
puts memory tokens in front of every window, so its answers differ from the backbone's from the start.
It knows the command line; names and formats are in `foreign`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from model.config import Mechanism, ModelConfig
from model.convert.assemble import Told, assemble, must_have_room, read_tokenizer, special_tokens
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
        told = attach(
            arguments.source,
            arguments.out,
            arguments.mechanism,
            arguments.segment,
            arguments.memory_tokens,
            arguments.key_dim,
        )
    except (ForeignModelError, ValueError) as error:
        sys.exit(f"{error}")
    print("\n".join(told))


def attach(
    source: Path, out: Path, mechanism: Mechanism, segment_tokens: int, memory_tokens: int, key_dim: int
) -> Told:
    """Writes OUT and returns what was found and what was assumed."""
    told: Told = []
    settings = read_settings(source)
    found = Inventory(read_tensors(source))
    backbone = backbone_tensors(settings, found)
    found.freeze()
    tokenizer = read_tokenizer(source)
    config = ModelConfig(
        **settings,
        special=special_tokens(tokenizer, source, None, told),
        segment_tokens=segment_tokens,
        mechanism=mechanism,
        memory_tokens=memory_tokens,
        memory_key_dim=key_dim,
    )
    must_have_room(config, told)
    assemble(out, config, backbone, _silent(config), tokenizer, told)
    return told


def _silent(config: ModelConfig) -> dict[str, Tensor]:
    """Values of zero: whatever is written, nothing is found."""
    if config.mechanism != "delta":
        return {}
    return {f"memories.{n}.value.weight": torch.zeros(config.d_model, config.d_model) for n in range(config.n_layers)}


if __name__ == "__main__":
    main()
