"""The training loop: steps through the curriculum, can be killed at any moment, and goes on with the same result.

It knows files and the clock only to save, log and show progress; what is learned is in the stages.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from model import weights
from model.config import ModelConfig
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training.curriculum import Stage
from model.training.loss import outcome
from model.training.samples import Batch, Exam, Plan, make_batch
from model.transformer import MemoryTransformer

STATE, LOG = "training.pt", "log.jsonl"
SAVE_EVERY_STEPS = 50
WARMUP_STEPS = 30
AVERAGE_STEPS = 50


@dataclass
class Progress:
    """Where a run stands: everything that the next step depends on beside weights and optimiser."""

    stage: int = 0
    step: int = 0
    stage_step: int = 0
    accuracy: float = 0.0


class Trainer:
    """One run in one folder: the longer the sequences, the fewer rows a batch has."""

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        tokenizer: TextTokenizer,
        books: Books,
        stages: tuple[Stage, ...],
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self.folder, self.config, self.tokenizer, self.books, self.stages = (
            folder,
            config,
            tokenizer,
            books,
            stages,
        )
        self.device = device or weights.default_device()
        torch.manual_seed(seed)
        self.random = Random(seed)
        self.model = MemoryTransformer(config).to(self.device)
        self.optimizer = torch.optim.AdamW(_groups(self.model), betas=(0.9, 0.98))
        self.progress = Progress()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).exists():
            self._resume()

    def run(self) -> None:
        """Trains to the end of the last stage, and writes the weights at each save."""
        with tqdm(total=sum(stage.steps_max for stage in self.stages), initial=self.progress.step) as bar:
            while self.progress.stage < len(self.stages):
                stage = self.stages[self.progress.stage]
                line = self._step(stage)
                self._log(line)
                bar.set_postfix_str(f"{stage.name} {line['accuracy_mean']:.3f} β {line['write_rate']:.4f}")
                bar.update()
                self._advance(stage)
                if self.progress.step % SAVE_EVERY_STEPS == 0:
                    self._save()
        self._save()

    def _step(self, stage: Stage) -> dict[str, Any]:
        began = time.monotonic()
        _set_threshold(self.model, stage.write_threshold)
        low, high = stage.segments
        segments = self.random.randint(low, high)
        rows = max(4, min(64, stage.batch_tokens // (segments * stage.segment_tokens)))
        facts = stage.facts
        plan = Plan(rows, segments, stage.segment_tokens, facts, exams=min(4, segments), questions=4)
        batch = _to(make_batch(self.random, plan, self.config, self.tokenizer, self.books), self.device)
        rate = self._learning_rate(stage)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        result = outcome(self.model, batch, stage.write_price)
        self.optimizer.zero_grad(set_to_none=True)
        result.loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        p = self.progress
        p.step += 1
        p.stage_step += 1
        p.accuracy += (result.accuracy - p.accuracy) / min(p.stage_step, AVERAGE_STEPS)
        return {
            "step": p.step,
            "stage": stage.name,
            "segments": segments,
            "rows": rows,
            "loss": round(result.answer_loss, 5),
            "accuracy": round(result.accuracy, 5),
            "accuracy_mean": round(p.accuracy, 5),
            "write_rate": round(result.write_rate, 6),
            "gradient_norm": round(float(norm), 4),
            "learning_rate": rate,
            "step_seconds": round(time.monotonic() - began, 3),
        }

    def _learning_rate(self, stage: Stage) -> float:
        done = self.progress.stage_step / stage.steps_max
        rate = stage.learning_rate + (stage.learning_rate_end - stage.learning_rate) * done
        return rate * min(1.0, (self.progress.step + 1) / WARMUP_STEPS)

    def _advance(self, stage: Stage) -> None:
        p = self.progress
        learned = p.stage_step >= stage.steps_min and p.accuracy >= stage.accuracy
        if learned or p.stage_step >= stage.steps_max:
            p.stage, p.stage_step, p.accuracy = p.stage + 1, 0, 0.0

    def _log(self, line: dict[str, Any]) -> None:
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": vars(self.progress),
            "random": self.random.getstate(),
        }
        torch.save(state, self.folder / (STATE + ".new"))
        os.replace(self.folder / (STATE + ".new"), self.folder / STATE)
        threshold = self.stages[min(self.progress.stage, len(self.stages) - 1)].write_threshold
        self.model.config = replace(self.config, write_threshold=threshold)
        weights.save(self.folder / "weights", self.model, self.tokenizer, torch.float32)

    def _resume(self) -> None:
        try:
            state = torch.load(self.folder / STATE, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.progress = Progress(**state["progress"])
            version, numbers, gauss = state["random"]
            self.random.setstate((version, tuple(numbers), gauss))
        except Exception as error:
            raise ValueError(
                f"{self.folder / STATE} can not be resumed ({error}); move it away to begin anew"
            ) from error
        self._cut_log()

    def _cut_log(self) -> None:
        """Steps that were made after the last save are made again, so their lines go."""
        path = self.folder / LOG
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()[: self.progress.step]
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices decay, vectors and embeddings do not."""
    decayed = [p for name, p in model.named_parameters() if p.dim() >= 2 and "embedding" not in name]
    kept = [p for name, p in model.named_parameters() if p.dim() < 2 or "embedding" in name]
    return [{"params": decayed, "weight_decay": 0.01}, {"params": kept, "weight_decay": 0.0}]


def _set_threshold(model: MemoryTransformer, threshold: float) -> None:
    for mechanism in model.memories:
        mechanism.threshold = threshold  # type: ignore[assignment]


def _to(batch: Batch, device: torch.device) -> Batch:
    exams = [Exam(e.after_segments, e.tail.to(device), e.tokens.to(device), e.labels.to(device)) for e in batch.exams]
    return Batch(batch.segments.to(device), exams)
