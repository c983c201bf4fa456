"""`python -m reliability`: runs checks, shows their progress, and writes the ledger."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from reliability import ledger
from reliability.check import Check
from reliability.checks import CHECKS

LEDGER = Path("reliability/ledger.jsonl")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m reliability",
        description="Inject faults and check what they broke; each run adds a line to the ledger.",
        epilog="checks:\n" + "\n".join(f"  {check.name:16} {check.what}" for check in CHECKS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="checks to run (default: all)")
    parser.add_argument("--cases", type=int, help="cases of each check (default: those of its long run)")
    parser.add_argument(
        "--batch",
        type=int,
        default=0,
        help="cases per ledger line, which an interrupted run keeps (default: all in one line)",
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="seed of the random faults (default: the time)"
    )
    parser.add_argument("--ledger", type=Path, default=LEDGER, help=f"file for the results (default: {LEDGER})")
    parser.add_argument(
        "--table", action="store_true", help="print the table of all runs in the ledger, and run nothing"
    )
    arguments = parser.parse_args()
    if arguments.table:
        print(ledger.table(ledger.load(arguments.ledger), CHECKS))
        return 0
    known = {check.name: check for check in CHECKS}
    if unknown := set(arguments.checks) - set(known):
        parser.error(f"unknown check: {', '.join(sorted(unknown))}; the checks are {', '.join(known)}")
    violations = 0
    for check in [known[name] for name in arguments.checks] or CHECKS:
        violations += _run(
            check, arguments.cases or check.long_cases, arguments.batch, arguments.seed, arguments.ledger
        )
    return 1 if violations else 0


def _run(check: Check, cases: int, batch: int, seed: int, path: Path) -> int:
    """Runs the cases, with a ledger line per batch; returns the number of violations."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    violations = done = 0
    with tqdm(total=cases, desc=check.name, unit="case") as bar:
        while done < cases:
            part = min(batch or cases, cases - done)
            began = time.monotonic()
            counts = check.run(part, seed + done, lambda cases: tick(bar, cases))
            line = ledger.entry(check.name, seed + done, commit.stdout.strip(), time.monotonic() - began, counts)
            ledger.append(path, line)
            for violation in counts.violations[:10]:
                tqdm.write(f"{check.name}, seed {seed + done}: {violation}", file=sys.stderr)
            violations += len(counts.violations)
            done += part
    return violations


def tick(bar: tqdm[NoReturn], cases: int) -> None:
    bar.update(cases)


if __name__ == "__main__":
    sys.exit(main())
