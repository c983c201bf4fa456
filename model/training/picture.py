"""The plot of a run: loss, accuracy of each task and the share that the write gate lets through, over the steps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from model.training.samples import STEPS

AVERAGE_STEPS = 25


def draw(log: Path, path: Path) -> None:
    """Three panels above each other, the stages named; the suffix says the format."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise RuntimeError("pictures need matplotlib: pip install '.[train]'") from None
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    if not lines:
        raise ValueError(f"{log} holds no step yet")
    steps = [line["step"] for line in lines]
    figure, (losses, right, writing) = pyplot.subplots(3, 1, figsize=(8, 7), sharex=True)
    losses.plot(steps, smoothed([line["loss"] for line in lines]), color="0.3")
    losses.set(ylabel="loss of the answers", yscale="log")
    for task in sorted({task for line in lines for task in line["asked"]}, key=int):
        asked = smoothed([line["asked"].get(task, 0) for line in lines])
        found = smoothed([line["right"].get(task, 0) for line in lines])
        shares = [100 * f / a if a else float("nan") for f, a in zip(found, asked, strict=True)]
        right.plot(steps, shares, label="steps" if int(task) == STEPS else f"QA{task}")
    right.set(ylabel="right answers, %", ylim=(0, 101))
    right.legend(loc="lower right", ncol=3, fontsize="small")
    writing.plot(steps, smoothed([100 * line["noise_open_rate"] for line in lines]), label="noise let through")
    writing.plot(steps, smoothed([100 * line["facts_shut_rate"] for line in lines]), label="facts shut out")
    writing.set(ylabel="tokens, %", xlabel="steps")
    writing.set_yscale("symlog", linthresh=1e-3)
    writing.legend(fontsize="small")
    for line, after in pairwise(lines):
        if line["stage"] != after["stage"]:
            for panel in (losses, right, writing):
                panel.axvline(after["step"], color="0.8", zorder=0)
    first = {line["stage"]: line["step"] for line in reversed(lines)}
    for stage, step in first.items():
        losses.annotate(stage, (step, 1.0), xycoords=("data", "axes fraction"), fontsize="small", va="bottom")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def smoothed(values: Sequence[float]) -> list[float]:
    """Each value's mean with those before it, `AVERAGE_STEPS` of them at most."""
    return [
        sum(part) / len(part)
        for index in range(len(values))
        if (part := values[max(0, index + 1 - AVERAGE_STEPS) : index + 1])
    ]
