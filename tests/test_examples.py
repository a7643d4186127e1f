"""The programs and parts in ``docs/examples`` run, train and keep the contracts; errors are as documented."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from importlib import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet
from omegaconf import OmegaConf
from safetensors.torch import load_file
from scipy import stats  # type: ignore[import-untyped]

import conf
from coaches import score
from coaches.judging.inner import build_coach
from coaches.reward import CoachReward
from envs import contract
from envs.base import Scenario
from envs.pipeline import PipelineEnv
from learners.models.tiny_policy.demonstrations import collect
from learners.runtimes.parts import build_scenario
from sandbox import contract as sandbox_contract
from tests.fakes import FakeBackend
from tests.test_docs import EXAMPLES, PAGES, ROOT, blocks, spans

NEEDS = {
    "finetune_weakest.py": "trl",
    "train_with_sb3.py": "stable_baselines3",
    "train_with_trl.py": "trl",
    "train_with_trl_tools.py": "trl",
    "play_with_verifiers.py": "verifiers",
}
"""Example -> the package of the extra ``examples`` that it needs."""


def example(program: Path) -> ParameterSet:
    """``program`` as a parameter, with the marks of what it needs."""
    package = NEEDS.get(program.name)
    if package is None:
        return pytest.param(program, id=program.name)
    missing = pytest.mark.skipif(util.find_spec(package) is None, reason=f"{package} is not installed")
    return pytest.param(program, id=program.name, marks=[pytest.mark.examples, missing])


@pytest.mark.parametrize(("name", "package"), [*NEEDS.items(), ("train_with_torch.py", "torch")])
def test_an_example_without_its_extra_is_one_line(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"trl": "datasets"}.get(package, package)  # which an example with TRL asks for first
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys, "argv", [name, "folder"])
    extra = "train" if package == "torch" else "examples"
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    wanted = f"{name} needs {package}: pip install 'coachgym[{extra}]'"
    assert ended.value.code == wanted


TRAINING = [example(program) for program in sorted(EXAMPLES.glob("train_*.py"))]
OTHERS = [
    example(program)
    for program in sorted(EXAMPLES.glob("*.py"))
    if not program.name.startswith(("train_", "finetune_"))
]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("program", TRAINING)
def test_a_training_example_learns(program: Path) -> None:
    done = run([program.name])
    assert done.returncode == 0, done.stderr
    results = re.findall(r": (\d+\.\d+), (\d+\.\d+)$", done.stdout, flags=re.MULTILINE)
    assert results, done.stdout
    assert all(float(last) > float(first) for first, last in results), done.stdout
    for line in re.findall(r" of each step: (.*)$", done.stdout, flags=re.MULTILINE):
        check_trend([float(score) for score in line.split()])


def check_trend(scores: list[float]) -> None:
    """Kendall's trend test at 1 %, one-sided; and no step of the last five falls back to the first five."""
    assert len(scores) == 20
    trend = stats.kendalltau(range(len(scores)), scores, alternative="greater")
    assert trend.pvalue < 0.01, scores
    assert min(scores[-5:]) > sum(scores[:5]) / 5, scores


@pytest.mark.slow
@pytest.mark.parametrize("program", OTHERS)
def test_an_example_program_runs_and_prints_what_the_pages_show(program: Path) -> None:
    done = run([program.name])
    assert done.returncode == 0, done.stderr
    title = f"# {program.name} prints\n"
    for block in [block for page in PAGES for block in blocks(page, "text") if block.startswith(title)]:
        assert block.removeprefix(title) == done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("program", [example(EXAMPLES / "finetune_weakest.py")])
def test_the_weakest_agent_is_fine_tuned_on_its_best_actions_and_plays_beside_the_others(
    program: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "tuning"
    done = run([program.name, str(folder), "--steps=1", "--tasks=2", "--episodes=1"])
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "best.jsonl").read_text(encoding="utf-8").splitlines()]
    [agent] = {row["provenance"]["agent"] for row in rows}
    assert f"of {agent}, which explains" in done.stdout
    assert "p on these tasks (McNemar)" in done.stdout
    old, new = (load_file(folder / name / "model.safetensors") for name in (f"exported/{agent}", "tuned"))
    assert any(not torch.equal(old[name], new[name]) for name in old)
    for name in ("before", "after"):
        team = json.loads((folder / name / "metadata.json").read_text(encoding="utf-8"))["team"]
        own = {agent: str(folder / "tuned")} if name == "after" else {}
        assert {one: played["model"] for one, played in team.items()} == dict.fromkeys(team, "tiny") | own


def test_the_example_episodes_are_scored_as_the_page_says(tmp_path: Path) -> None:
    scored = tmp_path / "scored.jsonl"
    score.main([str(EXAMPLES / "episodes.jsonl"), "coach=rules", "--out", str(scored)])
    succeeded, failed = map(json.loads, scored.read_text(encoding="utf-8").splitlines())
    assert [turn["verdict"]["blame"] for turn in succeeded["turns"]] == [None, None, None]
    assert [turn["verdict"]["blame"] for turn in failed["turns"]] == [None, "coder", "coder"]


def test_the_episode_on_the_page_is_one_of_the_examples() -> None:
    written = [
        json.loads(line) for line in (EXAMPLES / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    [shown] = blocks(ROOT / "docs" / "coaches.md", "json")
    assert json.loads(shown) in written


@pytest.mark.slow
def test_the_example_environment_coach_algorithm_and_sandbox_train(tmp_path: Path) -> None:
    parts = [
        "env=median",
        "coach=brevity",
        "algorithm=vanilla",
        "sandbox=logged",
        "experiment=smoke",
        "model=toy",
    ]
    here = [f"run_dir={tmp_path / 'run'}", f"sandbox.path={tmp_path / 'programs.jsonl'}"]
    done = run(["-m", "learners.train", "--config-dir", "my_conf", *parts, *here])
    assert done.returncode == 0, done.stderr
    assert "vanilla_loss/sorter" in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    assert "logged-local" in (tmp_path / "run" / "metadata.json").read_text(encoding="utf-8")


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs Python in the folder of the examples."""
    path = os.pathsep.join([str(EXAMPLES), str(ROOT)])
    return subprocess.run(
        [sys.executable, *words],
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture
def median(monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """The environment that ``docs/extending.md`` shows."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    scenario: Scenario = conf.build("envs", settings("env/median"))
    return scenario


def settings(name: str) -> Any:
    return OmegaConf.load(EXAMPLES / "my_conf" / f"{name}.yaml")


def test_the_example_environment_keeps_the_contract(median: Scenario) -> None:
    contract.check(lambda: PipelineEnv(median, FakeBackend()), num_cycles=20)


@pytest.mark.parametrize(
    ("wrote", "said", "check", "outcome"),
    [
        ("9 2 11", "Answer: 9", "rows", "ok"),
        ("2 9 11", "The answer is 9", "ok", "no_answer"),
        ("2 9 11", "<think>Answer: 9</think>Answer: 2", "ok", "wrong"),
        (None, "Answer: 9.0", "missing", "ok"),
    ],
)
def test_the_example_environment_checks_and_grades(
    median: Scenario, wrote: str | None, said: str, check: str, outcome: str
) -> None:
    env = PipelineEnv(median, FakeBackend())
    env.reset(seed=0, options={"task": "median-9-2-11"})
    code = f"```python\nopen('sorted.txt', 'w').write({wrote!r})\n```"
    for action in [*([] if wrote is None else [code]), "Done.", said]:
        env.step(action)
    assert env.turns[-1].checks[0].code == check
    assert env.outcome.failure_code == outcome


def test_the_example_hindsight_coach_blames_the_turn_whose_program_failed_last(
    median: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = CoachReward(PipelineEnv(median, FakeBackend()), conf.build("coaches", settings("coach/last_error")))
    env.reset(seed=0)
    for action in ["```python\n1/0\n```", "Done.", "I give up."]:
        env.step(action)
    assert [(verdict.score, verdict.blame) for verdict in env.verdicts if verdict is not None] == [
        (0.0, "sorter"), (5.0, "sorter"), (5.0, "sorter"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("check", ["each program is fresh and seeded", "files are written read and listed"])
def test_the_example_backend_keeps_the_contract(
    check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    backend = conf.build("sandbox", {**settings("sandbox/logged"), "path": str(tmp_path / "programs.jsonl")})
    try:
        sandbox_contract.verify(check, backend)
    finally:
        backend.close()
    assert '"status": "ok"' in (tmp_path / "programs.jsonl").read_text(encoding="utf-8")


MISTAKES: list[tuple[str, dict[str, Any]]] = [
    ("coaches", {"name": "my_parts.brevty", "limit": 1}),
    ("coaches", {"name": "my_parts.none", "limit": 1}),
    ("coaches", {"name": "my_parts.brevity"}),
    ("coaches", {"name": "my_parts.brevity", "limit": 1, "limt": 2}),
    ("coaches", {"name": "my_parts.brevity", "limit": "short"}),
    ("coaches", {"name": "my_parts.mute"}),
    ("envs", {"context": "all"}),
    ("envs", {"heldout": []}),
]


MUTE = """
from dataclasses import dataclass
class Mute:
    @dataclass
    class Config: pass
    def __init__(self, config): pass
"""


@pytest.mark.parametrize(("package", "node"), MISTAKES, ids=str)
def test_the_line_for_a_common_mistake_is_the_one_on_the_page(
    package: str, node: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_parts").mkdir()
    (tmp_path / "my_parts" / "none.py").touch()
    (tmp_path / "my_parts" / "mute.py").write_text(MUTE, encoding="utf-8")
    build = build_environment if package == "envs" else build_coach
    with pytest.raises(conf.ConfigError) as caught:
        build(node)
    assert str(caught.value) in spans(ROOT / "docs" / "extending.md")


def build_environment(changes: dict[str, Any]) -> Scenario:
    config: Any = SimpleNamespace(env={**settings("env/median"), **changes})
    return build_scenario(config)


def test_the_line_for_the_default_model_in_another_environment_is_the_one_on_the_page() -> None:
    with pytest.raises(conf.ConfigError) as caught:
        collect("median", 1, 0)
    assert str(caught.value) in spans(ROOT / "docs" / "extending.md")
