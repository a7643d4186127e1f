"""The worked example of every role is a real reply: it runs in a sandbox and leaves its files in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import conf
import envs
from envs.actions.parsing import read_action
from envs.pipeline import PipelineEnv
from envs.types import Outcome, Task
from sandbox.base import Backend
from tests.envs.dsbench.tables import write_table

FLATS = [("Mitte", 52.0, 910), ("Nord", None, 640), ("Mitte", 71.5, 1190), ("Süd", 38.0, 520)]


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    built: Backend = conf.build("sandbox", conf.load("sandbox", "local", allow_unisolated=True))
    yield built
    built.close()


def played(env: PipelineEnv, task: str | Task) -> Outcome:
    """The outcome of an episode in which every agent sends its example and then ends its part."""
    env.reset(seed=0, options={"task": task})
    while not all(env.terminations.values()):
        role = next(role for role in env.scenario.roles if role.name == env.agent_selection)
        done = bool(env.turns) and env.turns[-1].agent == role.name
        env.step("That is all." if done else role.example)
    return env.outcome


def flats(root: Path) -> None:
    """A task folder as the examples describe it."""
    rows = [(n, *FLATS[n % 4]) for n in range(40)]
    folder = root / "flats"
    folder.mkdir()
    write_table(folder, rows=["1,1,1.5", "2,2,2.5"], targets=("rent",), id="flats")
    texts = {
        "train": "id,area,district,rent\n" + "\n".join(f"{n},{a or ''},{d},{r}" for n, d, a, r in rows[:30]),
        "test": "id,area,district\n" + "\n".join(f"{n},{a or ''},{d}" for n, d, a, _ in rows[30:]),
        "sample_submission": "id,rent\n" + "\n".join(f"{n},0" for n, *_ in rows[30:]),
        "answer": "id,rent\n" + "\n".join(f"{n},{r}" for n, _, _, r in rows[30:]),
    }
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(f"{text}\n", encoding="utf-8")


def test_the_examples_solve_the_table_task_that_they_describe(tmp_path: Path, backend: Backend) -> None:
    flats(tmp_path)
    env = envs.make("dsbench", sandbox=backend, source="local", root=str(tmp_path), heldout=[])
    outcome = played(env, "flats")
    assert [turn.result.status for turn in env.turns if turn.result] == ["ok"] * 3
    states = {check.name: check.code for turn in env.turns if turn.last for check in turn.checks}
    files = ("X_train.pkl", "y_train.pkl", "X_test.pkl", "model.pkl", "submission.csv")
    assert states == dict.fromkeys(files, "ok")
    assert [turn.last for turn in env.turns] == [False, True] * 3
    assert (outcome.success, outcome.score > 0.9) == (True, True)


def test_the_examples_solve_the_problem_that_they_describe(backend: Backend) -> None:
    env = envs.make("mathchat", sandbox=backend)
    problem = Task("rare", "## Problem: how many integers from 1 to 999 …?", "count", answer=("466",))
    assert played(env, problem).success
    assert [turn.result.stdout for turn in env.turns if turn.result] == ["466\n"]


@pytest.mark.parametrize("name", conf.names("env"))
def test_every_role_has_a_short_example_of_the_right_form(name: str, backend: Backend) -> None:
    for role in envs.make(name, sandbox=backend).scenario.roles:
        form = read_action(role.example, runs_code=role.can_run_code).form
        assert form == ("fenced" if role.can_run_code else "prose"), role.name
        assert 0 < len(role.example) < 1200
