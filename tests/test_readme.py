"""The README's sixty seconds, exactly as written, on a real server that is killed in between."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testing.models import prose
from testing.serving import ROOT, Server

ADDRESS = "http://127.0.0.1:8000"
WEIGHTS = ROOT / "model" / "babilong"


def commands(section: str, document: str = "README.md") -> list[str]:
    """The shell blocks of a section."""
    text = (ROOT / document).read_text().split(f"## {section}")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def run(block: str, server: Server, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.replace(ADDRESS, server.url)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def book() -> str:
    """A generated text of some hundred kilobytes, with a fact in the middle."""
    fact = "\n\nLouisa fell on the pavement of the Lower Cobb, and was taken up lifeless.\n\n"
    return prose(8, 60_000) + fact + prose(9, 60_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "novel.txt").write_text(prose(7, 120_000))
    (tmp_path / "book.txt").write_text(book())
    return tmp_path


def test_the_sixty_seconds_of_the_readme(folder: Path, default_weights: Path) -> None:
    serve, read, ask, _ = commands("Sixty seconds")
    assert serve == "make serve\n"
    # Measured anew at every start, the fastest precision may be another one after the kill.
    server = Server(default_weights, f"sqlite:///{folder}/data", precision="float32")
    with server:
        run(read, server, folder)
        before = json.loads(run(ask, server, folder))
        assert "Lower Cobb" in before["sources"][0]["text"]
        assert "Cobb" in before["answer"]
        server.kill()
        server.start()
        after = json.loads(run(ask, server, folder))
    for same in ("answer", "sources", "usage"):
        assert after[same] == before[same]
    assert after["memory"]["offset"] == before["memory"]["offset"]
    # From the store, or already resident again, depending on the time of the question.
    assert after["memory"]["restored_from"] in ("store", "device")


def test_the_client_in_the_shell_and_in_python(folder: Path, default_weights: Path) -> None:
    _, create_and_read, _, by_client = commands("Sixty seconds")
    install, read, ask = by_client.splitlines()
    assert install == "pip install ./clients/python"
    python = re.search(r"```python\n(from pathlib.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert python
    with Server(default_weights, f"sqlite:///{folder}/data") as server:
        run(create_and_read, server, folder)
        # The command of the tree, in place of the installed wheel's.
        installed = (
            f"export ONCEREAD_URL={server.url} PYTHONPATH={ROOT}/clients/python/src\n"
            f'onceread() {{ {sys.executable} -m onceread "$@"; }}\n'
        )
        output = run(f"{installed}{read} --json", server, folder)
        session = json.loads(output)["session"]
        answered = run(installed + ask.replace("SESSION", session), server, folder)
        assert "Lower Cobb" in answered
        (folder / "example.py").write_text(python.group(1))
        assert "Cobb" in run(f"{installed}{sys.executable} example.py", server, folder)
    assert (folder / "book.safetensors").stat().st_size > 100_000


def test_the_babi_weights_find_a_fact_in_a_book(folder: Path) -> None:
    serve, story = commands("Try it", "docs/recall.md")
    assert serve == "ONCEREAD_WEIGHTS=model/babilong make serve\n"
    with Server(ROOT / "model" / "babilong", f"sqlite:///{folder}/data") as server:
        assert '"answer":"kitchen"' in run(story, server, folder)


def test_the_documented_make_targets_and_links_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("serve", "weights", "test", "check", "bench"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert link.startswith("http") or (ROOT / link).exists(), link
