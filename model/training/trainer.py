"""The training loop: steps through the curriculum; a killed run resumes to the same result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from model import weights
from model.layers.fused_linear import FusedLinear
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.delta import DeltaTransformer
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training import loss, replay
from model.training.curriculum import Stage
from model.training.hard import hard_sentences
from model.training.lora import merged
from model.training.samples import Plan, make_batch

STATE, LOG, HARD = "training.pt", "log.jsonl", "hard.json"
SAVE_EVERY_STEPS = 50
WARMUP_STEPS = 30
# Steps of Muon as long as AdamW's are too careful: twice as long learn a quarter faster (LOG.md).
MUON_RATE = 2.0
AVERAGE_QUESTIONS = 400
HARD_SENTENCES_MAX = 20_000


@dataclass
class Progress:
    """Where a run stands: everything that the next step depends on beside weights and optimiser."""

    stage: int = 0
    step: int = 0
    stage_step: int = 0
    accuracy: dict[int, float] = field(default_factory=dict)


class Trainer:
    """One run in one folder: the longer the sequences, the fewer rows a batch has."""

    def __init__(
        self,
        folder: Path,
        model: MemoryTransformer,
        tokenizer: TextTokenizer,
        books: Books,
        stages: tuple[Stage, ...],
        seed: int,
        device: torch.device | None = None,
        bf16: bool = False,
        replayed: bool = False,
    ) -> None:
        self.folder, self.tokenizer, self.books, self.stages = folder, tokenizer, books, stages
        self.device = device or weights.default_device()
        self.bf16, self.backward = bf16, replay.backward if replayed else loss.backward
        self.random = Random(seed)
        self.model = model.to(self.device)
        self.optimizers = _optimizers(self.model)
        self.progress = Progress()
        self.hard: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).exists():
            self._resume()
        self._cut_log()

    def run(self) -> None:
        """Trains to the end of the last stage, and writes the weights at each save."""
        with tqdm(total=sum(stage.steps_max for stage in self.stages), initial=self.progress.step) as bar:
            while self.progress.stage < len(self.stages):
                stage = self.stages[self.progress.stage]
                self._find_hard(stage)
                line = self._step(stage)
                self._log(line)
                shown = " ".join(f"{task}:{right:.2f}" for task, right in sorted(self.progress.accuracy.items()))
                bar.set_postfix_str(f"{stage.name} {shown}")
                bar.update()
                self._advance(stage)
                if self.progress.step % SAVE_EVERY_STEPS == 0:
                    self._save()
        self._save()

    def _step(self, stage: Stage) -> dict[str, Any]:
        began = time.monotonic()
        low, high = stage.segments
        segments = self.random.randint(low, high)
        p = self.progress
        plan = Plan(
            rows=max(4, min(64, stage.batch_tokens // (segments * stage.segment_tokens))),
            segments=segments,
            segment_tokens=stage.segment_tokens,
            fact_tokens=stage.fact_tokens,
            exams=min(4, segments),
            questions=stage.questions,
            # What is still wrong is asked more often, and nothing is never asked.
            tasks={task: 1.1 - p.accuracy.get(task, 0.0) for task in stage.tasks},
            hard=self.hard,
            hard_share=stage.hard_share,
        )
        batch = make_batch(self.random, plan, self.model.config, self.tokenizer, self.books).to(self.device)
        rate = self._learning_rate(stage)
        self.model.zero_grad(set_to_none=True)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * (MUON_RATE if isinstance(optimizer, torch.optim.Muon) else 1.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            result = self.backward(self.model, batch)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        p.step += 1
        p.stage_step += 1
        for task, asked in result.asked.items():
            known = p.accuracy.get(task, 0.0)
            p.accuracy[task] = known + (result.right[task] / asked - known) * min(1.0, asked / AVERAGE_QUESTIONS)
        return {
            "step": p.step,
            "stage": stage.name,
            "segments": segments,
            "rows": plan.rows,
            "loss": round(result.answer_loss, 5),
            "write_gate_loss": round(result.write_gate_loss, 5),
            "noise_open_rate": round(result.noise_open_rate, 8),
            "facts_shut_rate": round(result.facts_shut_rate, 6),
            "right": dict(result.right),
            "asked": dict(result.asked),
            "gradient_norm": round(float(norm), 4),
            "learning_rate": rate,
            "step_seconds": round(time.monotonic() - began, 3),
        }

    def _find_hard(self, stage: Stage) -> None:
        """At the start of a stage with hard sentences, searches the books for sentences that look like facts."""
        if stage.hard_share and not self.progress.stage_step and isinstance(self.model, DeltaTransformer):
            self.hard = hard_sentences(self.model, self.tokenizer, self.books, HARD_SENTENCES_MAX)
            (self.folder / HARD).write_text(json.dumps(self.hard, indent=0), encoding="utf-8")

    def _learning_rate(self, stage: Stage) -> float:
        done = self.progress.stage_step / stage.steps_max
        rate = stage.learning_rate + (stage.learning_rate_end - stage.learning_rate) * done
        return rate * min(1.0, (self.progress.step + 1) / WARMUP_STEPS)

    def _advance(self, stage: Stage) -> None:
        p = self.progress
        worst = min(p.accuracy.get(task, 0.0) for task in stage.tasks)
        if p.stage_step >= stage.steps_max or (p.stage_step >= stage.steps_min and worst >= stage.accuracy):
            p.stage, p.stage_step = p.stage + 1, 0

    def _log(self, line: dict[str, Any]) -> None:
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
            "random": self.random.getstate(),
        }
        torch.save(state, self.folder / (STATE + ".new"))
        os.replace(self.folder / (STATE + ".new"), self.folder / STATE)
        weights.save(self.folder / "weights", self.model, self.tokenizer, torch.float32, merged(self.model))

    def _resume(self) -> None:
        try:
            state = torch.load(self.folder / STATE, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(kept)
            self.progress = Progress(**state["progress"])
            version, numbers, gauss = state["random"]
            self.random.setstate((version, tuple(numbers), gauss))
            if self.progress.stage_step and self.stages[self.progress.stage].hard_share:
                found = self.folder / HARD
                self.hard = json.loads(found.read_text(encoding="utf-8")) if found.exists() else []
        except Exception as error:
            raise ValueError(
                f"{self.folder / STATE} cannot be resumed ({error}); move it away to begin anew"
            ) from error

    def _cut_log(self) -> None:
        """Steps that were made after the last save are made again, so their lines go."""
        path = self.folder / LOG
        if path.exists():
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
                steps = [json.loads(line)["step"] for line in lines]
            except (ValueError, KeyError, TypeError):
                steps = [0]
            if steps != list(range(1, len(steps) + 1)) or len(steps) < self.progress.step:
                raise ValueError(
                    f"{path} is no log of training up to step {self.progress.step}; move it away to go on without it"
                )
            del lines[self.progress.step :]
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


class MuonByPart(torch.optim.Muon):
    """Muon (Jordan 2024), its steps scaled to AdamW's (2502.16982): each part of a fused matrix is a matrix to it."""

    def __init__(self, matrices: Sequence[tuple[nn.Parameter, list[int]]]) -> None:
        self._parts = [
            (whole, heights, [nn.Parameter(part) for part in torch.split(whole.detach(), heights)])
            for whole, heights in matrices
        ]
        everything = [part for _, _, parts in self._parts for part in parts]
        super().__init__(everything, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for whole, heights, parts in self._parts:
            gradients = [None] * len(parts) if whole.grad is None else torch.split(whole.grad, heights)
            for part, gradient in zip(parts, gradients, strict=True):
                part.grad = gradient
        super().step()  # type: ignore[no-untyped-call]


def _optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the inner matrices, AdamW for all other weights."""
    fused = {id(module.weight): module.widths for module in model.modules() if isinstance(module, FusedLinear)}
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    matrices = [p for name, p in named if p.dim() == 2 and min(p.shape) > 1 and not _beside(name)]
    others = [p for name, p in named if not any(p is matrix for matrix in matrices)]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(MuonByPart([(p, fused.get(id(p), [len(p)])) for p in matrices]))
    if others:
        optimizers.append(torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0))
    return optimizers


def _beside(name: str) -> bool:
    return any(part in name for part in ("embedding", "taps", "bias", "memory_tokens")) or name.startswith("head")
