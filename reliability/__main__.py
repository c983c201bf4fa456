"""`python -m reliability`: runs checks for as long as wanted, shows how far they are, and writes the ledger.

It knows the checks by name, and nothing of what they do.
"""

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
        description="Makes faults and looks for what they broke; every run is a line of the ledger.",
        epilog="checks: " + "; ".join(f"{check.name}: {check.what}" for check in CHECKS),
    )
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="which checks; all when none is named")
    parser.add_argument("--cases", type=int, help="cases of each check; left out: the long run's")
    parser.add_argument("--batch", type=int, default=0, help="cases a ledger line: what a run that is ended leaves")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what the faults are drawn from")
    parser.add_argument("--ledger", type=Path, default=LEDGER, help=f"where the counts go ({LEDGER})")
    parser.add_argument("--table", action="store_true", help="only print the table that is summed from the ledger")
    arguments = parser.parse_args()
    if arguments.table:
        print(ledger.table(ledger.load(arguments.ledger), CHECKS))
        return 0
    known = {check.name: check for check in CHECKS}
    if unknown := set(arguments.checks) - set(known):
        parser.error(f"no check is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    wrong = 0
    for check in [known[name] for name in arguments.checks] or CHECKS:
        wrong += _run(check, arguments.cases or check.long_cases, arguments.batch, arguments.seed, arguments.ledger)
    return 1 if wrong else 0


def _run(check: Check, cases: int, batch: int, seed: int, path: Path) -> int:
    """Goes through the cases, a batch a line of the ledger; returns how much was found wrong."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    wrong = done = 0
    with tqdm(total=cases, desc=check.name, unit="case") as bar:
        while done < cases:
            part = min(batch or cases, cases - done)
            began = time.monotonic()
            counts = check.run(part, seed + done, lambda cases: tick(bar, cases))
            line = ledger.entry(check.name, seed + done, commit.stdout.strip(), time.monotonic() - began, counts)
            ledger.append(path, line)
            for violation in counts.violations[:10]:
                tqdm.write(f"{check.name}, seed {seed + done}: {violation}", file=sys.stderr)
            wrong += len(counts.violations)
            done += part
    return wrong


def tick(bar: tqdm[NoReturn], cases: int) -> None:
    bar.update(cases)


if __name__ == "__main__":
    sys.exit(main())
