from __future__ import annotations

import pickle
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

import conf
import envs
from conf import ConfigError
from envs.dsbench import DSBench
from envs.dsbench.spec import TABLES
from envs.types import Task
from sandbox.base import SandboxError, SandboxSpec
from tests.envs.dsbench.pipelines import FolderSandbox, programs
from tests.sandbox.backends import local, or_skip


def scenario(**settings: object) -> DSBench:
    built = conf.build("envs", conf.load("env", "dsbench", **settings))
    assert isinstance(built, DSBench)
    return built


def find(built: DSBench, name: str) -> Task:
    return next(task for split in ("train", "heldout") for task in built.tasks(split) if task.id == name)


def test_the_roles_hand_over_features_then_a_model_then_a_submission() -> None:
    roles = scenario(max_turns={"data_engineer": 2, "modeler": 3, "analyst": 1}).roles
    assert [(role.name, role.max_turns) for role in roles] == [
        ("data_engineer", 2),
        ("modeler", 3),
        ("analyst", 1),
    ]
    assert [[spec.name for spec in role.produces] for role in roles] == [
        ["X_train.pkl", "y_train.pkl", "X_test.pkl"],
        ["model.pkl"],
        ["submission.csv"],
    ]
    for before, after in pairwise(roles):
        known = {spec.name for role in roles[: roles.index(after)] for spec in role.produces}
        assert {spec.name for spec in after.requires} <= known
        assert {spec.name for spec in before.produces} & {spec.name for spec in after.requires}
    for role in roles:
        assert all(spec.name in role.instructions for spec in role.produces)
        assert "##" not in role.instructions


def test_the_submission_is_checked_for_form_and_never_for_its_score(tmp_path: Path) -> None:
    built = scenario()
    task = find(built, "penguin_sex")
    sandbox, analyst = FolderSandbox(tmp_path, task), built.roles[2]

    def state() -> tuple[str, str]:
        files = {file.path: file for file in sandbox.list()}
        check = built.check(task, analyst, files, sandbox)[-1]
        assert check.name == "submission.csv"
        return check.code, check.detail

    assert state()[0] == "missing"
    rows = (tmp_path / "sample_submission.csv").read_text().replace(",0.5", ",0.25")
    sandbox.write("submission.csv", rows.encode())
    worst = state()
    sandbox.write("submission.csv", task.answer.answer.read_bytes())
    assert worst == state() == ("ok", "103 rows")
    sandbox.write("submission.csv", (tmp_path / "sample_submission.csv").read_bytes())
    assert state()[0] == "copied"
    sandbox.write("submission.csv", rows.replace("male", "female").encode())
    assert state()[0] == "columns"


def test_a_lost_sandbox_gives_no_outcome(tmp_path: Path) -> None:
    class Lost(FolderSandbox):
        def read(self, path: str) -> bytes:
            raise SandboxError("gone")

    class Full(FolderSandbox):
        def read(self, path: str) -> bytes:
            raise ValueError("larger than 16 MB")

    built = scenario()
    task = find(built, "penguin_sex")
    with pytest.raises(SandboxError):
        built.grade(task, (), Lost(tmp_path, task))
    assert built.grade(task, (), Full(tmp_path, task)).failure_code == "unreadable"


def test_what_is_too_large_is_called_so_with_its_size_and_the_limit(tmp_path: Path) -> None:
    backend = or_skip(local)
    built = scenario(artifact_mb=1)
    task = find(built, "penguin_sex")
    box = backend.open(SandboxSpec())
    try:
        box.run("open('submission.csv', 'wb').truncate(17 << 20); open('model.pkl', 'wb').truncate(2 << 20)")
        checks = {
            check.name: check
            for check in built.check(task, built.roles[2], {file.path: file for file in box.list()}, box)
        }
        assert (checks["submission.csv"].code, checks["model.pkl"].code) == ("unreadable", "size")
        assert checks["submission.csv"].detail.startswith(
            "too large: 'submission.csv' has 17825792 bytes, more than"
        )
        assert "env.limits.file_mb" in checks["submission.csv"].detail
        assert checks["model.pkl"].detail == "too large: 2097152 bytes; at most 1048576 are read"
        assert built.grade(task, (), box).failure_code == "unreadable"
        box.write("submission.csv", b"x" * (3 << 20))
        [check] = [
            c
            for c in built.check(task, built.roles[2], {f.path: f for f in box.list()}, box)
            if c.name == "submission.csv"
        ]
        assert check.detail == "too large: 3145728 bytes; 103 rows may have 479232"
    finally:
        box.close()
        backend.close()


def test_tasks_can_be_sent_to_another_process(tmp_path: Path) -> None:
    built = pickle.loads(pickle.dumps(scenario()))
    task = pickle.loads(pickle.dumps(find(built, "penguin_mass")))
    sandbox = FolderSandbox(tmp_path, task)
    for part in programs(task):
        assert sandbox.run(part).status == "ok"
    assert built.grade(task, (), sandbox).success


def test_tasks_and_heldout_select_tables() -> None:
    built = scenario(tasks=["titanic_survival", "penguin_sex", "auto_mpg"], heldout=["titanic_survival"])
    assert [task.id for task in built.tasks("train")] == ["auto_mpg", "penguin_sex"]
    assert [task.id for task in built.tasks("heldout")] == ["titanic_survival"]
    assert built.tasks("train") is built.tasks("train")


def test_a_task_folder_of_the_user_is_read_like_a_bundled_one(tmp_path: Path) -> None:
    shutil.copytree(TABLES / "titanic_survival", tmp_path / "mine")
    for root in (tmp_path, tmp_path / "mine"):
        built = scenario(source="local", root=str(root))
        assert [task.id for task in built.tasks("train")] == ["titanic_survival"]
        assert built.tasks("heldout") == ()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("metric: roc_auc", "metric: auc", "metric must be one of .*; got 'auc'"),
        ("prediction: proba", "prediction: label", "metric roc_auc needs prediction proba"),
        ("task_type: binary", "task_type: yes_no", "task_type must be one of .*; got 'yes_no'"),
        ("- survived", "- died", "has no column died"),
        ("split: train", "split: test", "split must be train or heldout"),
        ("id: titanic_survival\n", "", "Missing mandatory value|Structured config"),
        ("licence:", "license:", "license"),
        ("task_type", "{", "task.yaml"),
    ],
)
def test_a_malformed_task_file_is_one_clear_line(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    shutil.copytree(TABLES / "titanic_survival", tmp_path / "mine")
    path = tmp_path / "mine" / "task.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint) as error:
        scenario(source="local", root=str(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"context": "none"}, "context"),
        ({"source": "kaggle", "root": "/"}, "source"),
        ({"source": "local", "root": "/nowhere"}, "there is no folder /nowhere"),
        ({"max_turns": {"modeler": 0}}, "max_turns"),
        ({"tasks": ["nothing"]}, "tasks has unknown task ids: nothing"),
        ({"heldout": ["nothing"]}, "heldout has unknown task ids: nothing"),
        ({"timeout": "soon"}, "timeout"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(settings: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as error:
        scenario(**settings)
    assert "\n" not in str(error.value)


def states(built: DSBench, task: Task, sandbox: FolderSandbox, role: int) -> dict[str, str]:
    files = {file.path: file for file in sandbox.list()}
    return {check.name: check.code for check in built.check(task, built.roles[role], files, sandbox)}


def test_every_role_sees_the_state_of_the_artifacts_it_requires_and_produces(tmp_path: Path) -> None:
    built = scenario()
    task = find(built, "titanic_survival")
    sandbox = FolderSandbox(tmp_path, task)
    features = ["X_train.pkl", "y_train.pkl", "X_test.pkl"]
    assert states(built, task, sandbox, 0) == dict.fromkeys(features, "missing")
    for part in programs(task):
        sandbox.run(part)
    assert states(built, task, sandbox, 0) == dict.fromkeys(features, "ok")
    assert states(built, task, sandbox, 1) == dict.fromkeys([*features[:2], "model.pkl"], "ok")
    assert states(built, task, sandbox, 2) == dict.fromkeys(
        ["X_test.pkl", "model.pkl", "submission.csv"], "ok"
    )


def test_features_that_models_do_not_accept_are_reported(tmp_path: Path) -> None:
    built = scenario()
    task = find(built, "titanic_survival")
    sandbox = FolderSandbox(tmp_path, task)
    engineer = programs(task)[0]
    for old, new, expected in (
        ('.to_pickle("X_train.pkl")', '.iloc[1:].to_pickle("X_train.pkl")', {"X_train.pkl": "rows"}),
        ("T.to_pickle", "T.iloc[:, 1:].to_pickle", {"X_test.pkl": "columns"}),
        ("X[numbers], T[numbers] =", "_ =", {"X_train.pkl": "nan", "X_test.pkl": "nan"}),
        (
            "pd.get_dummies(pd.concat([X, T]), dtype=float)",
            "pd.concat([X, T])",
            {"X_train.pkl": "text", "X_test.pkl": "text"},
        ),
        ("y.to_pickle", "y.dropna().iloc[5:].to_pickle", {"y_train.pkl": "rows"}),
    ):
        assert old in engineer
        assert sandbox.run(engineer.replace(old, new)).status == "ok"
        wrong = {name: code for name, code in states(built, task, sandbox, 0).items() if code != "ok"}
        assert wrong == expected


def test_rows_are_compared_with_the_original_file(tmp_path: Path) -> None:
    built = scenario()
    task = find(built, "titanic_survival")
    sandbox = FolderSandbox(tmp_path, task)
    shorten = 'import pandas as pd\npd.read_csv("test.csv").dropna().to_csv("test.csv", index=False)\n'
    assert sandbox.run(shorten + programs(task)[0]).status == "ok"
    assert states(built, task, sandbox, 0) == {"X_train.pkl": "ok", "y_train.pkl": "ok", "X_test.pkl": "rows"}


def test_a_team_plays_a_table_from_prompt_to_outcome_in_an_isolated_sandbox() -> None:
    try:
        env = envs.make("dsbench", sandbox="local")
        env.reset(seed=1, options={"task": "penguin_mass"})
    except SandboxError as error:
        pytest.skip(f"no isolated local sandbox here: {error}")
    for code in programs(env.task):
        for action in (f"```python\n{code}\n```", "Done."):
            env.step(action)
    assert env.outcome.success
    assert env.outcome.metrics["quality"] > 0.8
    assert [turn.last for turn in env.turns] == [False, True] * 3
    assert all(check.code == "ok" for turn in env.turns for check in turn.checks)
    prompt = env.turns[-1].observation[1].content
    assert "## From modeler\n" in prompt
    assert "- model.pkl is in order." in prompt
    env.close()
