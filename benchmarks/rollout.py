"""`python -m benchmarks.rollout WAY FOLDER`: the growth of the process during one rollout's forward and backward pass.

A process of its own, because the peak of a process covers all of its past.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.text import prose_of_bytes
from model import weights
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.tasks.haystack import Books
from model.training import loss, replay
from model.training.loss import Outcome
from model.training.samples import Batch, Plan, make_batch

ROWS, SEGMENTS, SEGMENT_TOKENS = 8, 32, 64
Backward = Callable[[MemoryTransformer, Batch], Outcome]


def checkpointed(model: MemoryTransformer, batch: Batch) -> Outcome:
    """Back-propagation through time with gradient checkpointing: each segment's activations are recomputed."""
    read = model.read

    def read_again(segment: Tensor, memory: MemoryState) -> MemoryState:
        names = list(memory.tensors)

        def inner(*tensors: Tensor) -> tuple[Tensor, ...]:
            after = read(segment, MemoryState(dict(zip(names, tensors, strict=True))))
            return tuple(after[name] for name in names)

        after = checkpoint(inner, *memory.tensors.values(), use_reentrant=False)
        return MemoryState(dict(zip(names, after, strict=True)))

    model.read = read_again  # type: ignore[method-assign]
    return loss.backward(model, batch)


WAYS: dict[str, Backward] = {
    "through_time": loss.backward,
    "checkpointed": checkpointed,
    "replayed": replay.backward,
}


def main() -> None:
    way, folder = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    loaded = weights.load(folder)
    model = loaded.model.train().requires_grad_(True)
    books = Books("\n".join(prose_of_bytes(2_000, seed) for seed in range(40)))
    plan = Plan(ROWS, SEGMENTS, SEGMENT_TOKENS, (8, 14), 4, 6, {1: 1.0, 2: 1.0})
    batch = make_batch(Random(1), plan, model.config, loaded.tokenizer, books)
    # Reset the peak here: loading the model and building the batch may have needed more.
    Path("/proc/self/clear_refs").write_text("5")
    before = _held("VmRSS")
    began = time.perf_counter()
    WAYS[way](model, batch)
    print(json.dumps({"bytes": _held("VmHWM") - before, "seconds": time.perf_counter() - began}))


def _held(what: str) -> int:
    """The process's resident memory in bytes, now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(f"{what}:"))
    return int(found.split()[1]) * 1024


if __name__ == "__main__":
    main()
