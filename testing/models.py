"""Small models with random weights that exercise the memory, their twins in plain loops, and random prose."""

from random import Random

import torch

from model.config import Mechanism, ModelConfig, SpecialTokens
from model.layers.fused_linear import FusedLinear, join_fused
from model.mechanisms import build
from model.mechanisms.armt_naive import ArmtReference
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer
from model.mechanisms.delta_naive import DeltaReference
from model.mechanisms.memformer_naive import MemformerReference
from model.mechanisms.rmt_naive import RmtReference

WORDS = (
    "the of and to in he was that it his her with as had you for she not at but be on all have him said which they "
    "from so this by one there were we when would what been who no if out more up my about into could them then do "
    "their time some very than little now like upon over man know only any other well after did good made before "
    "café naïve — “quoted” it’s don’t 1912 42 House, River; Morning? Evening! 日本語 Ωμέγα 🙂"
).split()


def prose(seed: int, characters: int) -> str:
    """Random prose from a seed."""
    random = Random(seed)
    parts: list[str] = []
    length = 0
    while length < characters:
        parts.append(random.choice(WORDS) + random.choice(("", "", "", ",", ".", ".\n", "\n\n", "  ")))
        length += len(parts[-1]) + 1
    return " ".join(parts)[:characters]


def tiny_config(**changes: object) -> ModelConfig:
    """A model of a few thousand weights; its special ids follow the 340 entries of the tests' tokenizer."""
    settings: dict[str, object] = {
        "vocab_size": 344,
        "d_model": 16,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_ff": 24,
        "special": SpecialTokens(340, (341,), (342,), 343),
        "memory_heads": 2,
        "memory_tokens": 3,
        "memory_key_dim": 4,
        "segment_tokens": 8,
        "context_tokens": 3,
        "tail_in_memory": changes.get("mechanism", "delta") == "delta",
        "write_gate_taps": 4,
        "write_gate_dim": 6,
        "window_tokens": 96,
        **changes,
    }
    return ModelConfig(**settings)  # type: ignore[arg-type]


def random_model(config: ModelConfig, seed: int = 0) -> MemoryTransformer:
    """Weights so large that the memory's content affects every output."""
    generator = torch.Generator().manual_seed(seed)
    model = build(config)
    state = {}
    for prefix, module in model.named_modules():
        outer, dot, _ = prefix.rpartition(".")
        # What is fused is drawn part by part, as it is named in files.
        parts = [f"{outer}{dot}{part}" for part in module.parts] if isinstance(module, FusedLinear) else [prefix]
        heights = module.widths if isinstance(module, FusedLinear) else []
        for index, part in enumerate(parts):
            for kind, parameter in module.named_parameters(recurse=False):
                shape = (heights[index], *parameter.shape[1:]) if heights else parameter.shape
                name = f"{part}.{kind}".lstrip(".")
                centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                state[name] = centre + 0.4 * torch.randn(shape, generator=generator)
    model.load_state_dict(join_fused(model, state))
    model.use_vocabulary([f" {id_}".encode() for id_ in range(340)])
    return model.eval().requires_grad_(False)


# A general memory: three of its segments fit a window, and ten are kept.
EPISODIC = tiny_config(mechanism="episodic", recall_tokens=24, capacity_tokens=80)

# One shape for each memory mechanism that layers read, and the other version of ARMT's φ.
MECHANISMS = {
    "delta": tiny_config(),
    "armt": tiny_config(mechanism="armt"),
    "armt, normalized": tiny_config(mechanism="armt", normalize_phi=True),
    "rmt": tiny_config(mechanism="rmt"),
    "memformer": tiny_config(mechanism="memformer"),
}


# The papers' equations in plain loops and float64: what every fast path is compared with.
Reference = DeltaReference | ArmtReference | RmtReference | MemformerReference
REFERENCES: dict[Mechanism, type[Reference]] = {
    "delta": DeltaReference,
    "armt": ArmtReference,
    "rmt": RmtReference,
    "memformer": MemformerReference,
}


def sometimes_skipping_model() -> DeltaTransformer:
    """A model whose write gate passes one token in ten, so that about half of the segments are skipped."""
    open_model = random_delta(tiny_config(write_threshold=0.0))
    tokens = torch.randint(340, (1, 2_000), generator=torch.Generator().manual_seed(1))
    return random_delta(tiny_config(write_threshold=float(open_model.gates(tokens).quantile(0.9))))


def random_delta(config: ModelConfig) -> DeltaTransformer:
    model = random_model(config)
    assert isinstance(model, DeltaTransformer)
    return model
