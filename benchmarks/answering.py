"""The decode rate of up to 64 answers in a batch, compared with the floor given by a step's bytes and operations.

Measured on the bare model's forward pass, without a server.
"""

from __future__ import annotations

from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from benchmarks.bare import NEVER
from benchmarks.floor import copied_bytes_per_second
from benchmarks.matrix_rate import products_per_second
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.timing import seconds_of
from model.memory import MemoryState
from model.prompt import prompt_ids
from model.sampling import Sampling
from server.engine.model_runner import AnswerRequest, ModelRunner
from server.engine.scheduler import AnswerWork, Batch

NAME = "answering"
CLAIM = "the time of a decode step relative to the floor of its bytes and operations, for 1 to 64 answers at once"
QUESTION = "Where is the letter that he wrote?"
ANSWERS, TOKENS = (1, 4, 16, 64), 48
GREEDY, SAMPLED = Sampling(), Sampling(temperature=0.8, top_p=0.95)
# On a GPU.
FLOOR = Goal("at most", 1.5)


def measure(plan: Plan) -> Section:
    """Each batch size with a memory per answer, and the largest with one memory shared by all."""
    device = plan.loaded.model.device
    rate, bandwidth = products_per_second(torch.float32, device), copied_bytes_per_second(device)
    figures = []
    for shared in (False, True):
        for answers in ANSWERS if not shared else ANSWERS[-1:]:
            seconds, operations = _written(plan, answers, shared)
            moved = _moved_bytes(plan, answers, shared)
            floor = max(operations / rate, moved / bandwidth)
            name = f"{answers}_answers_against_{'one_memory' if shared else 'memories_of_their_own'}"
            figures += [
                Figure(f"{name}_tokens_per_second", answers / seconds),
                Figure(f"{name}_step_milliseconds", 1e3 * seconds),
                Figure(f"{name}_step_bytes", moved),
                Figure(f"{name}_step_operations", operations),
                Figure(
                    f"{name}_to_floor_ratio",
                    seconds / floor,
                    FLOOR if answers == ANSWERS[-1] and device.type == "cuda" else None,
                ),
            ]
    seconds, _ = _written(plan, ANSWERS[-1], shared=False, sampling=SAMPLED)
    figures.append(Figure(f"{ANSWERS[-1]}_sampled_answers_tokens_per_second", ANSWERS[-1] / seconds))
    return Section(NAME, CLAIM, tuple(figures))


def _written(plan: Plan, answers: int, shared: bool, sampling: Sampling = GREEDY) -> tuple[float, float]:
    """The median seconds of a decode step, and a step's operations as counted by torch."""
    forward, config = ModelRunner(plan.loaded.model), plan.loaded.model.config
    prompt = prompt_ids(config, plan.loaded.tokenizer.encode(QUESTION))
    one = plan.loaded.model.initial_memory(1)
    memories = [one if shared else MemoryState({k: t.clone() for k, t in one.tensors.items()}) for _ in range(answers)]
    works = tuple(AnswerWork(len(prompt), TOKENS, NEVER) for _ in memories)
    for work, memory in zip(works, memories, strict=True):
        forward.start_answer(work, AnswerRequest(memory, (), prompt, sampling, TOKENS))
    forward(Batch(prefills=works))
    taken = []
    for _ in tqdm(range(TOKENS - 2), desc=f"{answers} answers", leave=False):
        taken.append(seconds_of(lambda: forward(Batch(decodes=works))))
    with FlopCounterMode(display=False) as counter:
        forward(Batch(decodes=works))
    return median(taken), float(counter.get_total_flops())


def _moved_bytes(plan: Plan, answers: int, shared: bool) -> int:
    """The bytes of a decode step: all weights, each answer's filled KV cache, each memory once."""
    model, config = plan.loaded.model, plan.loaded.model.config
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    prompt = prompt_ids(config, plan.loaded.tokenizer.encode(QUESTION))
    filled = config.prefix_tokens + config.context_tokens + len(prompt) + TOKENS
    kept = model.empty_cache(1, 1)
    window = sum(t.numel() * t.element_size() for t in kept.tensors.values()) * filled
    memories = sum(t.numel() * t.element_size() for t in model.initial_memory(1).tensors.values())
    return weights + answers * window + (1 if shared else answers) * memories
