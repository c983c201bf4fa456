"""What memory replay back-propagation saves: the process's growth for one rollout, three ways.

It knows the ways by name; the rollout runs elsewhere.
"""

from __future__ import annotations

import json
import subprocess
import sys

from tqdm import tqdm

from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from benchmarks.rollout import ROWS, SEGMENT_TOKENS, SEGMENTS, WAYS

NAME = "replay"
CLAIM = (
    f"gradients of {ROWS} rows of {SEGMENTS} segments of {SEGMENT_TOKENS} tokens: replayed, they need the activations "
    "of one segment (Memformer's paper: 16,177 MB through time, 9,885 checkpointed, 7,229 replayed)"
)


def measure(plan: Plan) -> Section:
    """Each way in a process of its own."""
    figures: list[Figure] = []
    for way in tqdm(WAYS, desc="one rollout, three ways"):
        command = [sys.executable, "-m", "benchmarks.rollout", way, str(plan.weights)]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        figures += [
            Figure(f"{way}_growth_megabytes", told["bytes"] / 1e6),
            Figure(f"{way}_seconds", told["seconds"]),
        ]
    return Section(NAME, CLAIM, tuple(figures))
