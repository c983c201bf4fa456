"""Pictures follow from the report alone; those without figures are left out with a line."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.pictures import PICTURES, Report, draw, main
from benchmarks.report import Figure, Section, as_json

LENGTHS = (4096, 16_384, 65_536)
LARGEST_BYTES = 60_000


def report() -> dict[str, Any]:
    """A report of `python -m benchmarks`, with a processor whose name has characters that XML must escape."""
    compared = [Figure(f"onceread_at_{n}_tokens_kept_bytes", 262_208) for n in (*LENGTHS, 262_144, 1_048_576)]
    compared += [Figure(f.name.replace("kept_bytes", "question_seconds"), 0.04) for f in compared]
    compared += [Figure(f"onceread_at_{n}_tokens_reading_per_token_microseconds", 60.0) for n in (*LENGTHS, 262_144)]
    for n in LENGTHS:
        name = f"full_attention_at_{n}_tokens"
        compared += [
            Figure(f"{name}_reading_per_token_microseconds", n / 50),
            Figure(f"{name}_rereading_question_seconds", n * n / 5e7),
            Figure(f"{name}_caching_question_seconds", n / 1e5),
            Figure(f"{name}_kept_bytes", 4096 * n),
        ]
    wavefront = [
        Figure(f"{sessions}_sessions_of_{segments}_segments_{way}_tokens_per_second", 9000.0 * sessions**0.5)
        for sessions in (1, 2, 4, 8)
        for segments in (1, 16)
        for way in ("batch", "wavefront", "segment_after_segment")
    ]
    load = [
        Figure(f"active_{percent}_percent_at_{rate}_per_second_first_token_p99_milliseconds", percent + 2.5 * rate)
        for percent in (1, 10, 50)
        for rate in (10, 20, 40, 80, 160)
    ]
    load += [Figure(f.name.replace("p99", "p50"), 0.3 * f.value) for f in load if "active_10_" in f.name]
    floor = [Figure("floor_by_operations_tokens_per_second", 73_000.0)]
    figures = {"compared": compared, "wavefront": wavefront, "load": load, "floor": floor}
    header = {
        "date": "2026-11-22T10:30:27+00:00",
        "machine": {"processor": "A & B <fast>", "device": "cpu", "cores": 2, "threads": 1},
        "failed": ["rate"],
    }
    sections = [Section(name, "", tuple(values)) for name, values in figures.items()]
    content: dict[str, Any] = json.loads(as_json(header, sections))
    return content


def texts(path: Path) -> list[str]:
    """The comment that matplotlib writes before each text drawn as outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text(encoding="utf-8"))


def test_every_picture_is_small_and_names_the_machine(tmp_path: Path) -> None:
    written, left_out = draw(Report(report()), tmp_path)
    assert [path.stem for path in written] == list(PICTURES)
    assert left_out == []
    for path in written:
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert path.stat().st_size < LARGEST_BYTES
        assert any("model on 1 of 2 cores, 2026-11-22" in text for text in texts(path))


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (draw(Report(report()), tmp_path / name)[0] for name in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_other_figures_give_another_picture(tmp_path: Path) -> None:
    other = report()
    other["sections"]["compared"]["figures"]["full_attention_at_4096_tokens_kept_bytes"]["value"] /= 8
    first, second = (draw(Report(each), tmp_path / str(n))[0] for n, each in enumerate((report(), other)))
    changed = [a.stem for a, b in zip(first, second, strict=True) if a.read_bytes() != b.read_bytes()]
    assert changed == ["bytes_kept"]


@pytest.mark.parametrize(
    ("section", "pictures"),
    [
        ("compared", ["time_per_token", "bytes_kept", "question"]),
        ("wavefront", ["throughput"]),
        ("load", ["first_token"]),
    ],
)
def test_pictures_of_a_missing_section_are_left_out_with_a_line_each(
    section: str, pictures: list[str], tmp_path: Path
) -> None:
    content = report()
    del content["sections"][section]
    written, left_out = draw(Report(content), tmp_path)
    assert [path.stem for path in written] == [name for name in PICTURES if name not in pictures]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    assert left_out == [
        f"left out: {name}.svg: section {section} is not in the report: "
        f"python -m benchmarks --only {section} measures it"
        for name in pictures
    ]


def test_the_throughput_is_drawn_without_its_floor(tmp_path: Path) -> None:
    content = report()
    del content["sections"]["floor"]
    content["failed"] = ["floor"]
    written, left_out = draw(Report(content), tmp_path)
    assert [path.stem for path in written] == list(PICTURES)
    assert left_out == [
        "left out of throughput.svg: the floor: section floor failed in that run: "
        "python -m benchmarks --only floor measures it"
    ]


def test_figures_of_another_version_are_left_out(tmp_path: Path) -> None:
    content = report()
    for section in ("floor", "load"):
        figures = content["sections"][section]["figures"]
        content["sections"][section]["figures"] = {f"other_{name}": figure for name, figure in figures.items()}
    written, left_out = draw(Report(content), tmp_path)
    assert [path.stem for path in written] == [name for name in PICTURES if name != "first_token"]
    assert [line.partition(": section ")[0] for line in left_out] == [
        "left out of throughput.svg: the floor",
        "left out: first_token.svg",
    ]
    assert all(line.endswith("the report is of another version") for line in left_out)


def test_the_command_names_the_extra_with_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    (tmp_path / "bench.json").write_text(json.dumps(report()), encoding="utf-8")
    assert main([str(tmp_path / "bench.json"), str(tmp_path / "pictures")]) == 2
    assert "pip install '.[train]'" in capsys.readouterr().err


def test_the_command_lists_written_and_left_out_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = report()
    del content["sections"]["load"]
    (tmp_path / "bench.json").write_text(json.dumps(content), encoding="utf-8")
    assert main([str(tmp_path / "bench.json"), str(tmp_path / "new" / "folder")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == [f"written: {tmp_path / 'new' / 'folder' / name}.svg" for name in list(PICTURES)[:-1]]
    assert lines[-1].startswith("left out: first_token.svg")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"sections": {"load": 3}}', '{"sections": {}, "machine": {}}'])
def test_a_file_that_is_not_a_report_is_refused(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench.json").write_text(content, encoding="utf-8")
    assert main([str(tmp_path / "bench.json"), str(tmp_path / "pictures")]) == 2
    assert "is not a report of python -m benchmarks" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere.json"), str(tmp_path / "pictures")]) == 2
    assert not (tmp_path / "pictures").exists()
