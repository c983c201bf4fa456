"""The ledger of all runs, one line of JSON each, and the table of their sums."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reliability.check import Check, Counts


def entry(check: str, seed: int, commit: str, seconds: float, counts: Counts) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "check": check,
        "seed": seed,
        "seconds": round(seconds, 1),
        "cases": counts.cases,
        "violations": len(counts.violations),
        "first_violation": counts.violations[0] if counts.violations else None,
        "amounts": dict(sorted(counts.amounts.items())),
    }


def append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def load(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(lines: Iterable[dict[str, Any]], checks: Sequence[Check]) -> str:
    """Each check's cases and violations over all runs, in Markdown."""
    kept = list(lines)
    rows = ["| check | cases | wrong | runs | goal |", "| --- | --- | --- | --- | --- |"]
    for check in checks:
        runs = [line for line in kept if line["check"] == check.name]
        cases, wrong = (sum(line[name] for line in runs) for name in ("cases", "violations"))
        rows.append(f"| {check.what} | {cases:,} | {wrong:,} | {len(runs)} | {check.long_cases:,} |")
    return "\n".join(rows)
