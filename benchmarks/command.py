"""The command `python -m benchmarks`: runs the measurements, prints a table and writes JSON."""

from __future__ import annotations

import argparse
import sys
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import (
    acknowledge,
    answering,
    compared,
    event_loop,
    fairness,
    first_token,
    floor,
    host_memory,
    length,
    llama_cpp,
    load,
    long_memory,
    machine,
    matrix_rate,
    mechanisms,
    overhead,
    questions,
    rate,
    redis_bytes,
    replaying,
    restart,
    sizes,
    slow_clients,
    stores,
    wavefront,
)
from benchmarks.plan import Plan, Sizes, quick
from benchmarks.report import Section, as_json, as_table, unmet
from model import weights
from server.settings import Settings

MEASUREMENTS = {
    module.NAME: module.measure
    for module in (
        sizes,
        matrix_rate,
        floor,
        wavefront,
        answering,
        mechanisms,
        compared,
        llama_cpp,
        questions,
        replaying,
        length,
        rate,
        overhead,
        first_token,
        fairness,
        restart,
        acknowledge,
        slow_clients,
        load,
        event_loop,
        host_memory,
        stores,
        redis_bytes,
        long_memory,
    )
}
BUSY_LOAD = 0.5


def main() -> int:
    options = _parser().parse_args()
    try:
        loaded = weights.load(options.weights)
    except weights.WeightsError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    settings = Settings.from_environment({})
    # The bare model gets as many threads as the server.
    torch.set_num_threads(settings.threads_for(loaded.model.config.mechanism))
    size = quick(options.tokens_short) if options.quick else Sizes(options.tokens_short, options.tokens_long)
    if options.question_tokens:
        size = replace(size, question_tokens=tuple(options.question_tokens))
    plan = Plan(options.weights, loaded, settings, size, options.pretrained)
    host = machine.description()
    if host["load_average"] > BUSY_LOAD:
        print(f"the machine is busy (load {host['load_average']}): the figures will be worse than on an idle one")
    sections: list[Section] = []
    failed: list[str] = []
    for name in options.only or MEASUREMENTS:
        try:
            sections.append(MEASUREMENTS[name](plan))
        except Exception:
            traceback.print_exc()
            failed.append(name)
    header = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": host,
        "weights": {"name": loaded.name, "fingerprint": loaded.fingerprint},
        "quick": options.quick,
        "short_tokens": size.short_tokens,
        "long_tokens": size.long_tokens,
        "failed": failed,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(as_json(header, sections), encoding="utf-8")
    print(
        "\n".join(["", as_table(sections), "", *(unmet(sections) or ["every goal is met"]), f"written: {options.out}"])
    )
    for name in failed:
        print(f"not measured: {name}")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the speed and the sizes of Onceread; print a table and write JSON.",
    )
    parser.add_argument(
        "--weights", type=Path, default=Path("model/babilong"), help="folder of weights (default: %(default)s)"
    )
    parser.add_argument(
        "--pretrained",
        type=Path,
        default=Path("model/smollm2"),
        help="folder of a pretrained model with the general memory (default: %(default)s)",
    )
    parser.add_argument(
        "--tokens-long", type=int, default=250_000, help="tokens of the long text (default: %(default)s)"
    )
    parser.add_argument(
        "--tokens-short", type=int, default=10_000, help="tokens of the short text (default: %(default)s)"
    )
    parser.add_argument(
        "--question-tokens",
        type=int,
        action="append",
        metavar="TOKENS",
        help="a length after which `questions` asks; repeatable (default: 10,000, 1,000,000 and 10,000,000)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("build/bench.json"), help="JSON file to write (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, for a smoke test of some minutes")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(MEASUREMENTS),
        metavar="NAME",
        help=f"run only this measurement; repeatable: {', '.join(MEASUREMENTS)}",
    )
    return parser
