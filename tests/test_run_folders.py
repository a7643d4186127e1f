"""Commands that read a run take its folder as well as its file of episodes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from benchmarks.export.__main__ import main as export
from benchmarks.report.__main__ import main as report
from benchmarks.rollout import actions
from coaches import calibrate, episodes, monitor, score
from conf import ConfigError

EPISODES = 40
Command = Callable[[Sequence[str]], object]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with as many judged turns as a map of scores needs."""
    lines = []
    for n in range(EPISODES):
        verdict = {"score": n % 11, "rationale": "r", "source": "c"}
        turn = {"agent": "a", "action": f"x{n}", "observation": "q", "verdict": verdict}
        outcome = {"success": n % 2 == 0, "score": n % 2, "failure_code": "ok", "metrics": {"fair": n % 2}}
        row = {"id": f"train-{n}", "task": f"t{n % 8}", "kind": "k", "seed": n, "phase": "train", "step": 0}
        lines.append(json.dumps(row | {"turns": [turn], "outcome": outcome}) + "\n")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / episodes.FILE).write_text("".join(lines), encoding="utf-8")
    return folder


COMMANDS: dict[str, tuple[Command, Sequence[str]]] = {
    "score": (score.main, ["coach=rules"]),
    "monitor": (monitor.main, []),
    "calibrate": (calibrate.main, ["--out", "{out}/map.json"]),
    "report": (report, ["--failed"]),
    "page": (report, ["--out", "{out}/page.html"]),
    "export": (export, ["--what", "prm", "--out", "{out}/rows.jsonl"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_the_same_of_a_folder_and_of_its_file(
    name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, words = COMMANDS[name]
    said, written = [], []
    for path in (run, run / episodes.FILE):
        out = tmp_path / "out"
        out.mkdir()
        command([str(path), *(word.format(out=out) for word in words)])
        shown = capsys.readouterr().out
        said.append(re.sub(r"\b(run|episodes)(\.jsonl)?\b", "", shown).split())  # the names of both
        written.append(sorted(file.name for file in [*out.iterdir(), *run.iterdir()]))
        shutil.rmtree(out)
        (run / "episodes.scored.jsonl").unlink(missing_ok=True)
    assert said[0] == said[1] != []
    assert written[0] == written[1]


def test_episodes_are_replayed_from_a_folder_as_from_its_file(run: Path) -> None:
    assert actions.recorded(run, 1) == actions.recorded(run / episodes.FILE, 1)


def test_another_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not the folder of a run: it has no episodes\.jsonl$"):
        list(episodes.read(tmp_path))
    assert episodes.file_of(tmp_path / "none") == tmp_path / "none"
