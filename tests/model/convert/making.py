"""Models as others keep them, made small and random: Hugging Face folders and the papers' checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn

from model.tokenizer import TextTokenizer
from testing.models import prose

# As GPT-2, SmolLM2 and Llama 3 cut their texts.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Phi-4's, with case.
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def cut_by(pattern: str) -> pre_tokenizers.PreTokenizer:
    """A pattern's pieces, written as bytes."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


STYLES = {
    "gpt2": pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    "smollm2": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
    "llama3": cut_by(LLAMA3),
    "qwen2": cut_by(LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")),
    "phi4": cut_by(O200K),
}


def foreign_tokenizer(style: str) -> TextTokenizer:
    """A byte-level BPE of 400 entries and one special token, made as others make theirs."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = STYLES[style]
    if style == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
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


# How tokenisers made by SentencePiece mark spaces in their tokenizer.json; those of "llama2" have no line breaks.
MARK_SPACES = normalizers.Replace(" ", "▁")
SPACED = {
    "gemma": (MARK_SPACES, pre_tokenizers.Split(" ", "merged_with_previous")),
    "llama2": (normalizers.Sequence([normalizers.Prepend("▁"), MARK_SPACES]), None),
    "mistral": (None, pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)),
}


def spaced_original(style: str) -> Tokenizer:
    """A BPE over characters with a token for every byte, two special tokens and one that is not, as its file has it."""
    trained: Tokenizer = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" *[^ \n]+|\n+| +"), "isolated"),
            pre_tokenizers.Metaspace("▁", prepend_scheme="never", split=False),
        ]
    )
    words = " " + prose(2, 20_000).replace("\n", "\n" if style == "gemma" else " ")
    trained.train_from_iterator(
        [words, *["        ", "   "] * 50], trainers.BpeTrainer(vocab_size=300, limit_alphabet=40, show_progress=False)
    )
    learned = json.loads(trained.to_str())["model"]
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens = [*first, *sorted(learned["vocab"], key=lambda token: learned["vocab"][token]), "<b>"]
    merges = [(left, right) for left, right in learned["merges"]]
    model = models.BPE(
        {token: id_ for id_, token in enumerate(tokens)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
    )
    tokenizer: Tokenizer = Tokenizer(model)
    if SPACED[style][0] is not None:
        tokenizer.normalizer = SPACED[style][0]
    if SPACED[style][1] is not None:
        tokenizer.pre_tokenizer = SPACED[style][1]
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<|end|>"])
    tokenizer.add_tokens([AddedToken("<b>", normalized=False), AddedToken("<think>", normalized=False)])
    return tokenizer


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
# Each other family's own choices, with windows of less than 40 tokens where there is one.
DEEP = {**LLAMA, "num_hidden_layers": 4}
GEMMA = {**DEEP, "head_dim": 12, "query_pre_attn_scalar": 20, "sliding_window": 7, "max_position_embeddings": 96}
SHORT, LONG = [1.0, 1.5, 2.0], [2.0, 4.0, 8.0]
LONGROPE = {"rope_type": "longrope", "rope_theta": 500.0, "short_factor": SHORT, "long_factor": LONG}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    **SHAPES,
    "llama, linear": (
        "llama",
        {**LLAMA, "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0}},
    ),
    "qwen 2": ("qwen2", LLAMA),
    "qwen 2, sliding": ("qwen2", {**DEEP, "use_sliding_window": True, "sliding_window": 7, "max_window_layers": 2}),
    "qwen 3": ("qwen3", {**LLAMA, "head_dim": 12}),
    "mistral": ("mistral", {**LLAMA, "sliding_window": None}),
    "mistral, sliding": ("mistral", {**LLAMA, "sliding_window": 7}),
    "smollm 3": ("smollm3", {**DEEP, "num_hidden_layers": 5, "pad_token_id": 0}),
    "phi 3": ("phi3", {**LLAMA, "pad_token_id": 0, "sliding_window": 50}),
    "phi 3, longrope": (
        "phi3",
        {
            **LLAMA,
            "pad_token_id": 0,
            "original_max_position_embeddings": 60,
            "partial_rotary_factor": 0.75,
            "rope_parameters": {**LONGROPE, "partial_rotary_factor": 0.75, "original_max_position_embeddings": 60},
        },
    ),
    "gemma 2": ("gemma2", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma 3": ("gemma3_text", {**GEMMA, "sliding_window_pattern": 3}),
    "gemma 3, linear": (
        "gemma3_text",
        {
            **GEMMA,
            "final_logit_softcapping": 3.0,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
            },
        },
    ),
}
CHAT = (
    "{% for m in messages %}{{ '<|end|>' + m.role + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}{{ 'assistant\\n' }}"
)


def pretrained(shape: str) -> nn.Module:
    """A random model of transformers' own, its weights large enough to matter."""
    import transformers

    kind, sizes = FAMILIES[shape]
    ids = {"bos_token_id": 0, "eos_token_id": 0, "attn_implementation": "eager"}
    config = transformers.AutoConfig.for_model(kind, **{"vocab_size": 400, **ids, **sizes})
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
            if kind.startswith("gemma"):
                # So that float32 has its scales, 1 + w, without rounding.
                parameter.mul_(4096).round_().div_(4096)
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
