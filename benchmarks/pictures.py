"""Pictures of the report of `python -m benchmarks`, as SVG; the same report gives the same bytes."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

OURS: dict[str, Any] = {"marker": "o", "color": "#1f77b4"}
THEIRS: dict[str, Any] = {"marker": "s", "color": "0.5", "linestyle": "--"}
SHADES = ("#7fb8dd", "#1f77b4", "#0b3a5e", "#04131f")
OBJECTIVE_MILLISECONDS = 200
SIZE_INCHES = (5.4, 3.4)

Points = dict[int, float]


class MissingFigures(LookupError):
    """Figures that a picture needs are not in the report; the message names them."""


class Report:
    """The figures of a report, by section and by patterns of names."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._sections = {
            section: {name: float(figure["value"]) for name, figure in measured["figures"].items()}
            for section, measured in content["sections"].items()
        }
        self._failed = content.get("failed", ())
        machine, quick = content["machine"], content.get("quick", False)
        device = machine["processor"] if machine["device"] == "cpu" else machine["device"]
        where = f"{device}, model on {machine['threads']} of {machine['cores']} cores, {content['date'][:10]}"
        self.origin = where + (", smoke-test sizes (--quick)" if quick else "")

    def figures(self, section: str) -> dict[str, float]:
        if section not in self._sections:
            why = "failed in that run" if section in self._failed else "is not in the report"
            raise MissingFigures(f"section {section} {why}: python -m benchmarks --only {section} measures it")
        return self._sections[section]

    def value(self, section: str, name: str) -> float:
        if name not in self.figures(section):
            raise MissingFigures(f"section {section} has no figure {name}: the report is of another version")
        return self.figures(section)[name]

    def points(self, section: str, pattern: str) -> Points:
        """The values of all figures that match a pattern with one number, by that number, sorted."""
        found = ((re.fullmatch(pattern, name), value) for name, value in self.figures(section).items())
        points = {int(match[1]): value for match, value in found if match}
        if not points:
            raise MissingFigures(f"section {section} has no figure {pattern}: the report is of another version")
        return dict(sorted(points.items()))


def draw(report: Report, folder: Path) -> tuple[list[Path], list[str]]:
    """Draws each picture whose figures the report has; returns the files, and a line for each picture left out."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise RuntimeError("pictures need matplotlib: pip install '.[train]'") from None
    written, left_out = [], []
    folder.mkdir(parents=True, exist_ok=True)
    # Names inside an SVG are random otherwise.
    with matplotlib.rc_context({"svg.hashsalt": "onceread", "font.size": 9}):
        for name, picture in PICTURES.items():
            figure = Figure(figsize=SIZE_INCHES, layout="constrained")
            axes = figure.add_subplot()
            axes.grid(alpha=0.3)
            try:
                left_out += [f"left out of {name}.svg: {what}" for what in picture(report, axes)]
            except MissingFigures as missing:
                left_out.append(f"left out: {name}.svg: {missing}")
                continue
            axes.set_title(report.origin, fontsize="x-small", color="0.4")
            figure.savefig(path := folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
            written.append(path)
    return written, left_out


# Each function draws one picture into axes, and returns what had to be left out of it.


def _time_per_token(report: Report, axes: Any) -> list[str]:
    pattern = r"_at_(\d+)_tokens_reading_per_token_microseconds"
    both = [report.points("compared", way + pattern) for way in ("full_attention", "onceread")]
    _lines(axes, both, ["full attention", "Onceread"])
    _by_length(axes, both, "tokens of a text", "reading it, µs per token")
    return []


def _bytes_kept(report: Report, axes: Any) -> list[str]:
    both = [report.points("compared", rf"{way}_at_(\d+)_tokens_kept_bytes") for way in ("full_attention", "onceread")]
    _lines(axes, both, ["full attention: keys and values", "Onceread: memory"])
    _by_length(axes, both, "tokens read", "kept for a session, bytes")
    return []


def _question(report: Report, axes: Any) -> list[str]:
    names = ("full_attention", "rereading_"), ("full_attention", "caching_"), ("onceread", "")
    ways = [report.points("compared", rf"{way}_at_(\d+)_tokens_{how}question_seconds") for way, how in names]
    axes.plot(*_columns(ways[0]), label="full attention, reading again", **THEIRS | {"linestyle": ":"})
    _lines(axes, ways[1:], ["full attention, its cache kept", "Onceread"])
    _by_length(axes, ways, "tokens read before", "a question and its answer, s")
    return []


def _throughput(report: Report, axes: Any) -> list[str]:
    numbers = (re.match(r"\d+_sessions_of_(\d+)_segments_", name) for name in report.figures("wavefront"))
    longest = max((int(match[1]) for match in numbers if match), default=0)
    pattern = rf"(\d+)_sessions_of_{longest}_segments_"
    names = ("batch", "wavefront", "segment_after_segment")
    ways = [report.points("wavefront", pattern + f"{way}_tokens_per_second") for way in names]
    sessions = list(ways[0])
    labels = ("batches of several segments", "wavefront", "segment after segment")
    for way, label, marker, shade in zip(ways, labels, "os^", (SHADES[1], SHADES[2], SHADES[0]), strict=True):
        axes.plot(*_columns(way), label=label, **OURS | {"marker": marker, "color": shade})
    highest, left_out = max(max(way.values()) for way in ways), []
    try:
        bound = report.value("floor", "floor_by_operations_tokens_per_second")
        highest = max(highest, bound)
        axes.axhline(bound, color="0.3", linestyle="--", label="floor: operations at the products' rate")
    except MissingFigures as missing:
        left_out.append(f"the floor: {missing}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sessions, [str(n) for n in sessions])
    axes.set_ylim(0, 1.3 * highest)
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.set(xlabel=f"sessions that are read at once, {longest} segments each", ylabel="tokens per second")
    axes.legend(loc="center left", fontsize="small")
    return left_out


def _first_token(report: Report, axes: Any) -> list[str]:
    pattern = r"active_(\d+)_percent_at_\d+_per_second_first_token_p99_milliseconds"
    lines, rates = [], set()
    for shade, percent in zip(SHADES, report.points("load", pattern), strict=False):
        name = rf"active_{percent}_percent_at_(\d+)_per_second_first_token_"
        for p, linestyle in (("p99", "-"), ("p50", ":")):
            try:
                points = report.points("load", f"{name}{p}_milliseconds")
            except MissingFigures:
                # The median is reported for one share of active sessions only.
                continue
            label = f"{p}, {percent} % of sessions active"
            axes.plot(*_columns(points), label=label, marker="o", color=shade, linestyle=linestyle)
            lines.append(points)
            rates |= set(points)
    axes.axhline(OBJECTIVE_MILLISECONDS, color="0.3", linestyle="--", label="objective for p99, on a GPU")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(rates), [str(rate) for rate in sorted(rates)])
    _decades(axes, [*lines, {0: OBJECTIVE_MILLISECONDS}])
    axes.set(xlabel="requests offered per second", ylabel="TTFT, ms")
    axes.legend(loc="upper left", fontsize="small")
    return []


PICTURES: dict[str, Callable[[Report, Any], list[str]]] = {
    "time_per_token": _time_per_token,
    "bytes_kept": _bytes_kept,
    "question": _question,
    "throughput": _throughput,
    "first_token": _first_token,
}


def _lines(axes: Any, ways: list[Points], labels: list[str]) -> None:
    """Full attention's, then ours."""
    for points, label, style in zip(ways, labels, (THEIRS, OURS), strict=True):
        axes.plot(*_columns(points), label=label, **style)


def _by_length(axes: Any, ways: list[Points], below: str, beside: str) -> None:
    lengths = sorted({length for points in ways for length in points})
    axes.set(xscale="log", xlabel=below, ylabel=beside)
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths])
    _decades(axes, ways)
    axes.legend(loc="upper left", fontsize="small")


def _decades(axes: Any, ways: Iterable[Points]) -> None:
    """A vertical axis of whole decades, with one more at the top for the legend."""
    values = [value for points in ways for value in points.values()]
    lowest, highest = floor(log10(min(values))), ceil(log10(max(values)))
    ticks = [10.0**power for power in range(lowest, highest + 2)]
    axes.set(yscale="log", ylim=(ticks[0], ticks[-1]))
    axes.set_yticks(ticks, [_short(tick) for tick in ticks])
    axes.minorticks_off()


def _columns(points: Points) -> tuple[list[int], list[float]]:
    return list(points), list(points.values())


def _short(value: float) -> str:
    """A thousand as 1k, a million as 1M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.2g}{name}" if value < 100 * unit else f"{value / unit:.0f}{name}"
    return f"{value:g}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures", description="Draw the report of python -m benchmarks as SVG pictures."
    )
    parser.add_argument("report", type=Path, help="JSON file of python -m benchmarks")
    parser.add_argument("folder", type=Path, help="folder for the pictures")
    options = parser.parse_args(arguments)
    try:
        report = Report(json.loads(options.report.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
        print(f"pictures: {options.report} is not a report of python -m benchmarks ({problem})", file=sys.stderr)
        return 2
    try:
        written, left_out = draw(report, options.folder)
    except (RuntimeError, OSError) as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 2
    print("\n".join([*(f"written: {path}" for path in written), *left_out]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
