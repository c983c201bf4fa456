"""Models as others keep them, made small and random: Hugging Face folders and the papers' checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from model.tokenizer import TextTokenizer
from testing.models import prose

# As GPT-2, SmolLM2 and Llama 3 cut their texts.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
STYLES = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "smollm2": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama3": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    ),
}


def foreign_tokenizer(style: str) -> TextTokenizer:
    """A byte-level BPE of 400 entries and one special token, made as others make theirs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = STYLES[style]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([prose(2, 20_000), "I'll we're they've don't \n \n  x"], trainer)
    return TextTokenizer.from_json(tokenizer.to_str())


GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 96, "n_inner": 48}
LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 96,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 24,
}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "llama": ("llama", LLAMA),
    "llama, tied": ("llama", {**LLAMA, "tie_word_embeddings": True}),
    "llama 3": ("llama", {**LLAMA, "rope_parameters": LLAMA3_ROPE}),
}
CHAT = (
    "{% for m in messages %}{{ '<|end|>' + m.role + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}{{ 'assistant\\n' }}"
)


def pretrained(shape: str) -> nn.Module:
    """A random model of transformers' own, in float64, its weights large enough to matter."""
    import transformers

    kind, sizes = SHAPES[shape]
    config = {"gpt2": transformers.GPT2Config, "llama": transformers.LlamaConfig}[kind](
        vocab_size=400, bos_token_id=0, eos_token_id=0, attn_implementation="eager", **sizes
    )
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()  # type: ignore[no-any-return]


def save_folder(model: Any, folder: Path, chat: bool = False) -> Path:
    """The folder that `save_pretrained` writes, with a tokeniser, and a chat template when wanted."""
    model.save_pretrained(folder)
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    tokenizer = foreign_tokenizer("gpt2" if kind == "gpt2" else "llama3")
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    if chat:
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHAT, "eos_token": "<|end|>"}))
    return folder


def memory_tensors(width: int, layers: int, key_dim: int, tokens: int) -> dict[str, Tensor]:
    """The associative memory's own tensors, by the authors' names within a layer; W_mv is not at its start, zero."""
    generator = torch.Generator().manual_seed(2)

    def drawn(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    named = {"memory": drawn(tokens, width)}
    for layer in range(layers):
        named |= {
            f"{layer}.W_mq.weight": drawn(key_dim, width),
            f"{layer}.W_mk.weight": drawn(key_dim, width),
            f"{layer}.W_mv.weight": drawn(width, width),
            f"{layer}.W_mb.weight": drawn(1, width),
            f"{layer}.W_mb.bias": drawn(1),
        }
    return named


def wrapped(backbone: dict[str, Tensor], memory: dict[str, Tensor], layers: str, ported: bool) -> dict[str, Tensor]:
    """An ARMT checkpoint: `layers` is where the backbone keeps its layers, such as "transformer.h"."""
    prefix = "" if ported else "memory_cell."
    tensors = {f"{prefix}memory": memory["memory"]}
    for name, tensor in backbone.items():
        if name.startswith(f"{layers}."):
            number, _, rest = name.removeprefix(f"{layers}.").partition(".")
            name = f"{layers}.{number}.layer.{rest}"
        tensors[f"{prefix}model.{name}"] = tensor
    for name, tensor in memory.items():
        if name != "memory":
            tensors[f"{prefix}model.{layers}.{name}"] = tensor
    if not ported:
        doubled = {n: t for n, t in tensors.items() if n.startswith(f"{prefix}model.{layers}.")}
        tensors |= {n.replace(f"model.{layers}.", "layers."): t.clone() for n, t in doubled.items()}
    return tensors
