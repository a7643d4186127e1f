"""The README tells the truth: its programs run, its commands compose, its paths exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conf import ROOT

REPOSITORY = ROOT.parent
TEXT = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SMALL = ("experiment=smoke", "model.warm_start.steps=30", "steps=1", "evaluation.every=0")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Every command line of the README, comments left out."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY}:{folder}"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture
def newcomer(tmp_path: Path) -> Path:
    """A folder with the files that the README tells a newcomer to write."""
    for block in [*blocks("python"), *blocks("yaml")]:
        first = block.splitlines()[0]
        if re.fullmatch(r"# [\w/]+\.(py|yaml)", first):
            path = tmp_path / first.removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("words", [w for w in commands() if w[:2] == ["python", "-m"]], ids=" ".join)
def test_a_command_of_the_readme_is_understood(words: list[str], newcomer: Path) -> None:
    if words[2].startswith("learners.") and words[2] != "learners.export":
        extra = [word for word in words[3:] if word != "--multirun"]  # Hydra shows no configuration of many
        if "--multirun" in words:
            extra = [word.split(",")[0] for word in extra]
        done = run(["-m", words[2], *extra, "--cfg", "job"], newcomer)
    else:
        done = run(["-m", words[2], "--help"], newcomer)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_environment_example_runs(newcomer: Path) -> None:
    [program] = [block for block in blocks("python") if "import envs" in block]
    done = run(["-c", program], newcomer)
    assert done.returncode == 0, done.stderr
    assert "Outcome(" in done.stdout


@pytest.mark.slow
def test_the_plug_in_example_trains(newcomer: Path) -> None:
    [words] = [words for words in commands() if "coach=brevity" in words]
    done = run(["-m", words[2], *words[3:], *SMALL, f"run_dir={newcomer}/run"], newcomer)
    assert done.returncode == 0, done.stderr
    assert (newcomer / "run" / "curves.png").exists()


def test_make_targets_of_the_readme_exist() -> None:
    rules = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = {words[1] for words in commands() if words[0] == "make"}
    assert targets == {"train", "test", "scale"}
    assert all(re.search(rf"^{target}:", rules, flags=re.MULTILINE) for target in targets)


def test_paths_of_the_readme_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("http")]
    tree = TEXT.partition("## File map\n\n```\n")[2].partition("```")[0]
    named = []
    for line in tree.splitlines():
        folder, *words = line.split()
        named += [folder, *(folder + word for word in words if re.fullmatch(r"[\w/]+(\.py|\.yaml|/)", word))]
    assert len(named) > 15
    for path in [*links, *named]:
        assert (REPOSITORY / path).exists(), path
