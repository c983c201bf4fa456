"""Host memory for one rollout's gradients: through time, with gradient checkpointing, and with memory replay.

Each way runs in its own process (`benchmarks/rollout.py`).
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
    f"gradients of {ROWS} rows of {SEGMENTS} segments of {SEGMENT_TOKENS} tokens: replay holds the activations of one "
    "segment only (Memformer's paper: 16,177 MB through time, 9,885 checkpointed, 7,229 replayed)"
)


def measure(plan: Plan) -> Section:
    """The growth of the process and the duration, of each way."""
    figures: list[Figure] = []
    for way in tqdm(WAYS, desc="one rollout, three ways"):
        command = [sys.executable, "-m", "benchmarks.rollout", way, str(plan.weights)]
        growth = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        figures += [
            Figure(f"{way}_growth_megabytes", growth["bytes"] / 1e6),
            Figure(f"{way}_seconds", growth["seconds"]),
        ]
    return Section(NAME, CLAIM, tuple(figures))
