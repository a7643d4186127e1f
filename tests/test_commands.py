"""All commands take the same settings, in Hydra's grammar, and a mistake in them is one line and exit code
2."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

import conf
from conf import ConfigError, commands
from learners.config import RunConfig

PARTS = {"coach": commands.REQUIRED, "env": None}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of YAMLs outside the project, with characters that need quoting in its name."""
    path = tmp_path / "my conf's (new)"
    (path / "coach").mkdir(parents=True)
    (path / "coach" / "mine.yaml").write_text("name: my.module\nideal: 300\n")
    (path / "env").mkdir()
    (path / "env" / "ledger.yaml").write_text("defaults: [books]\nname: my.ledger\npages: 3\n")
    (path / "env" / "books.yaml").write_text("pages: 1\nink: blue\n")
    return path


def test_parts_are_chosen_and_changed_as_on_the_command_line_of_a_run() -> None:
    words = ["coach.ran=3", "coach=rules", "~coach.partial", "+coach.words=[a, 'b c']", "env=mathchat"]
    config = commands.compose_parts(words, PARTS)
    assert (config.coach.name, config.coach.ran, config.coach.words) == ("rules", 3, ["a", "b c"])
    assert "partial" not in config.coach
    assert config.coach.delivered == conf.load("coach", "rules").delivered
    assert config.env == conf.load("env", "mathchat")


def test_a_part_that_is_optional_is_absent_and_one_with_a_default_is_there() -> None:
    assert "env" not in commands.compose_parts(["coach=rules"], PARTS)
    assert commands.compose_parts([], {"sandbox": "auto"}).sandbox.name == "auto"


def test_a_part_is_named_by_its_module_or_by_a_yaml_elsewhere(outside: Path) -> None:
    named = commands.compose_parts(["coach.ideal=3", "coach=my.module", "+coach.more={a: 1}"], PARTS)
    assert named.coach == {"name": "my.module", "ideal": 3, "more": {"a": 1}}
    composed = commands.compose_parts(["coach=mine", "coach.ideal=4"], PARTS, config_dir=outside)
    assert composed.coach == {"name": "my.module", "ideal": 4}
    assert commands.compose(["coach=mine", "seed=3"], config_dir=outside).coach.ideal == 300


def test_a_part_within_another_part_may_have_its_yaml_elsewhere(outside: Path) -> None:
    words = ["coach=counterfactual", "coach.env=[{name: ledger, pages: 4}, {name: mathchat}]"]
    whole = commands.compose(words, config_dir=outside)
    for coach in (whole.coach, commands.compose_parts(words, PARTS, config_dir=outside).coach):
        assert coach.env == [{"name": "my.ledger", "pages": 4, "ink": "blue"}, {"name": "mathchat"}]
    assert commands.compose_onto(whole, ["seed=3"]).coach == whole.coach, "without the folder"
    wrapped = ["coach=rules", "+coach.coach={name: mine, ideal: 1}"]
    inner = commands.compose_parts(wrapped, PARTS, config_dir=outside).coach
    assert inner.coach == {"name": "my.module", "ideal": 1}
    path = str(outside / "env" / "ledger.yaml")
    assert conf.fill_defaults("coach", {"name": "counterfactual", "env": [{"name": path}]}).env == [
        {"name": "my.ledger", "pages": 3, "ink": "blue"}
    ]
    with pytest.raises(ConfigError, match="there is no env called 'ledger'"):
        conf.fill_defaults("coach", commands.compose_parts(words, PARTS).coach)


def test_a_composed_configuration_is_changed_and_a_part_that_is_named_is_replaced(outside: Path) -> None:
    base = commands.compose(["coach=llm", "seed=3"])
    composed = commands.compose_onto(base, ["coach=rules", "coach.ran=3", "evaluation.tasks=null"])
    assert composed.coach == conf.load("coach", "rules", ran=3)
    assert (composed.seed, composed.evaluation.tasks) == (3, None)
    assert commands.compose_onto(base, ["coach.max_cost=2"]).coach == conf.load("coach", "llm", max_cost=2)
    assert commands.compose_onto(base, ["coach=mine"], config_dir=outside).coach.ideal == 300
    assert commands.compose_onto(base, []) == base


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "You must specify 'coach'"),
        (["coach=ruels"], "there is no coach called 'ruels': did you mean rules?"),
        (["coach=oracle"], "there is no coach called 'oracle'; there are: audit, "),
        (["coach"], "'coach' is not a setting: write <name>=<value>"),
        (["coach='rules"], "coach='rules"),
        (["coach=null"], "invalid settings coach=null: "),
        (["coach=[1]"], "invalid settings coach=[1]: "),
        (["~coach"], "no coach is chosen: set coach=<name>"),
        (["coach=rules,llm"], "Ambiguous value for argument 'coach=rules,llm'"),
        (["coach=rules", "coach.tusks=3"], "there is no setting coach.tusks; there are: name, "),
        (
            ["coach=rules", "coach.repared=3"],
            "there is no setting coach.repared: did you mean coach.repaired?",
        ),
        (["coach=rules", "~coach.tusks"], "Could not delete from config. 'coach.tusks' does not exist"),
        (["coach=rules", "seed=3"], "there is no setting seed; there are: coach"),
        (["coach=rules", "repaired=3"], "there is no setting repaired: did you mean coach.repaired?"),
        (["coach=rules", "env=mathcaht"], "there is no env called 'mathcaht': did you mean mathchat?"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        commands.compose_parts(words, PARTS)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "search path" not in str(caught.value)


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("record.token=all", "there is no setting record.token: did you mean record.tokens?"),
        ("+record.token=all", "there is no setting record.token: did you mean record.tokens?"),
        ("coahc=rules", "there is no setting coahc: did you mean coach?"),
        ("lr=0.1", "there is no setting lr: did you mean model.optimizer.lr?"),
        (
            "episodes=3",
            "there is no setting episodes: did you mean rollout.episodes or evaluation.episodes?",
        ),
        ("rollout.walrus=3", "there is no setting rollout.walrus; there are: tasks, episodes, "),
        ("model.chat.date=today", "there is no setting model.chat.date; +model.chat.date=… adds one"),
        (
            "team.analyst.modle=toy",
            "there is no setting team.analyst.modle: did you mean team.analyst.model?",
        ),
    ],
)
def test_a_misspelt_setting_of_a_run_is_one_line_with_the_nearest_one(word: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.read(commands.compose([word]))
    assert str(caught.value).startswith(complaint)
    assert "\n" not in str(caught.value)


def test_a_part_that_a_yaml_names_and_is_not_there_is_named_with_the_yaml(outside: Path) -> None:
    (outside / "experiment").mkdir()
    (outside / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n- override /coach: ruels\n"
    )
    with pytest.raises(ConfigError, match="there is no coach called 'ruels': did you mean rules"):
        commands.compose(["experiment=mine"], config_dir=outside)
    (outside / "experiment" / "mine.yaml").write_text("defaults: [{/model@team.analyst.model: toyy}]\n")
    with pytest.raises(
        ConfigError, match=r"In 'experiment/mine': there is no model called 'toyy': did you mean toy\?"
    ):
        commands.compose(["experiment=mine"], config_dir=outside)


def test_a_folder_of_yamls_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config-dir .*nowhere is not a folder"):
        commands.compose(["seed=3"], config_dir=tmp_path / "nowhere")


COMMANDS = {
    "coaches.score": ["episodes.jsonl"],
    "coaches.calibrate": ["episodes.jsonl", "--out", "map.json"],
    "coaches.monitor": ["episodes.jsonl"],
    "benchmarks.attribution.__main__": ["who_and_when=episodes.jsonl", "coach=rules"],
    "benchmarks.coaches.__main__": ["coach=rules"],
    "benchmarks.coaches.cpu": ["coach=rules"],
    "benchmarks.corpus.__main__": ["verify"],
    "benchmarks.evaluate.__main__": ["env=mathchat"],
    "benchmarks.mismatch": ["env=mathchat"],
    "benchmarks.soak": ["sandbox=local"],
}
"""Every command that takes settings, with arguments that it cannot do without; ``tests/learners`` has the
others."""


@pytest.mark.parametrize(
    "words", [["tusks.walrus=3"], ["env='open"], ["~"], ["--config-dir", "nowhere"], ["=3"]]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_on_any_command_line_is_one_line_and_exit_code_2(
    command: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "episodes.jsonl").write_text(json.dumps({"turns": [{"agent": "a", "action": "b"}]}) + "\n")
    if command == "coaches.score":
        words = ["coach=rules", *words]
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(command).main([*COMMANDS[command], *words])
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["episodes.jsonl"]


RESULTS = {
    "coaches.score": ["episodes.jsonl", "coach=rules", "--out", "result"],
    "coaches.calibrate": ["episodes.jsonl", "--out", "result"],
    "benchmarks.attribution.__main__": ["who_and_when=folder", "coach=rules", "--out", "result"],
    "benchmarks.coaches.cpu": ["coach=rules", "--out", "result"],
    "benchmarks.corpus.__main__": ["build", "--folder", "folder"],
    "benchmarks.envs.__main__": ["--out", "result"],
    "benchmarks.evaluate.__main__": ["env=mathchat", "--out", "result"],
    "benchmarks.learning": ["--out", "folder"],
    "benchmarks.mismatch": ["folder"],
    "benchmarks.rollout.__main__": ["--out", "result"],
    "benchmarks.sandbox.__main__": ["--out", "result"],
    "benchmarks.soak": ["--out", "result"],
    "benchmarks.update.__main__": ["--out", "result"],
}
"""Every command with a result of hours or minutes in one file; ``benchmarks.coaches`` writes two."""


@pytest.mark.parametrize("command", RESULTS)
def test_an_earlier_result_is_neither_overwritten_nor_made_again_in_vain(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "episodes.jsonl").write_text(json.dumps({"turns": [{"agent": "a", "action": "b"}]}) + "\n")
    (tmp_path / "folder").mkdir()
    results = [tmp_path / "result", *(tmp_path / "folder" / name for name in WRITTEN)]
    for path in results:
        path.write_text("hours of work")
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(command).main(RESULTS[command])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert " exists: name another place with --" in error
    assert error.endswith("or replace it with --overwrite\n")
    assert {path.read_text() for path in results} == {"hours of work"}


@pytest.mark.parametrize("command", [*RESULTS, "coaches.fit"])
def test_a_place_that_cannot_be_written_is_named_before_the_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "episodes.jsonl").write_text(json.dumps({"turns": [{"agent": "a", "action": "b"}]}) + "\n")
    (tmp_path / "file").touch()
    there = {"result": "file/result", "folder": "file/folder"}
    given = RESULTS.get(command, RESULTS["coaches.calibrate"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(command).main([there.get(word, word) for word in given])
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert error.endswith("file is not a folder\n")


WRITTEN = ("public.jsonl.xz", "heldout.jsonl.xz", "learning.json", "mismatch.json")
"""Names that commands choose themselves in a folder."""


def test_a_mistake_is_raised_where_a_traceback_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "COACHGYM_TRACEBACK", "1")
    with pytest.raises(ConfigError, match="such"), commands.one_line_errors():
        raise ConfigError("no\nsuch")


def test_other_errors_are_never_hidden() -> None:
    with pytest.raises(ZeroDivisionError), commands.one_line_errors():
        raise ZeroDivisionError
