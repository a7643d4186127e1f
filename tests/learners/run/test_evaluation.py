"""Runs without training steps: they evaluate once, and write no checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from conf import ConfigError
from conf.commands import compose
from learners.config import RunConfig
from learners.run.evaluation import evaluation_of, replaced_weights
from learners.run.run import train
from tests.learners.doubles import saved_model
from tests.learners.run.test_trainer import FilesCoach, LikesOdd, settings, trained

TINY = ["env=mathchat", "experiment=smoke", "evaluation.episodes=1"]


def test_without_steps_there_is_one_evaluation_and_no_checkpoint(tmp_path: Path) -> None:
    rows, parts, folder = trained(settings(tmp_path / "run", steps=0))
    assert [(row["phase"], row["step"]) for row in rows] == [("eval", 0)]
    assert "masked" not in rows[0]
    assert not (folder.path / "checkpoints").exists()
    policies: Any = parts.policies
    assert not any(policy.updates or policy.published for policy in policies.values())


def test_the_coach_judges_an_evaluation_on_request(tmp_path: Path) -> None:
    coached = {"coached": True}
    rows, _, folder = trained(
        settings(tmp_path / "run", steps=0, evaluation=coached), coach=FilesCoach(("teller",))
    )
    assert rows[0]["masked"] == rows[0]["masked/CoachError"] == 2
    assert 0.0 < rows[0]["score/maker"] <= 10.0
    assert "score/teller" not in rows[0]
    turns = [turn for row in folder.rows("episodes") for turn in row["turns"]]
    assert all((turn["verdict"] is None) == (turn["agent"] == "teller") for turn in turns)
    rows, _, _ = trained(settings(tmp_path / "other", steps=0, evaluation=coached), coach=LikesOdd())
    assert rows[0]["coach/kind/odd"] > rows[0]["coach/kind/even"] + 1.9, "the coach's bias is recorded"


def test_a_coach_does_not_learn_from_evaluations_and_training_does_not_change(tmp_path: Path) -> None:
    plain, _, _ = trained(settings(tmp_path / "plain", steps=1), coach=LikesOdd())
    judged, _, _ = trained(
        settings(tmp_path / "judged", steps=1, evaluation={"coached": True}), coach=LikesOdd()
    )
    assert [row for row in judged if row["phase"] == "train"] == [
        row for row in plain if row["phase"] == "train"
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as an older version might have written it, with an empty checkpoint."""
    config = compose([*TINY, "coach=outcome", "seed=3"])
    del config.evaluation.run
    config.trace.otlp = "traces.jsonl"
    OmegaConf.save(config, tmp_path / "config.yaml")
    state = tmp_path / "checkpoints" / "step-000002" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"step": 2, "sizes": {}, "coach": {}, "monitor": {}}))
    return tmp_path


def test_a_run_is_evaluated_with_its_own_settings_and_the_given_overrides(run: Path) -> None:
    plain = evaluation_of(run)
    assert (plain.steps, plain.seed, plain.env.name, plain.coach.name) == (0, 3, "mathchat", "outcome")
    assert (plain.evaluation.run, plain.evaluation.every, plain.run_dir) == (str(run), 1, None)
    assert plain.trace.otlp is None
    asked = evaluation_of(
        run, ["coach.ran=3", "coach=rules", "evaluation.tasks=null", "rollout.concurrency=2", "trace.otlp=x"]
    )
    assert asked.trace.otlp == "x"
    assert (asked.coach.name, asked.coach.ran, asked.coach.failed_best) == ("rules", 3, 4.0)
    assert (asked.evaluation.tasks, asked.rollout.concurrency) == (None, 2)
    for word in ("evaluation.tusks=3", "coach.ran=3"):
        with pytest.raises(ConfigError, match=f"there is no setting {word.split('=')[0]}"):
            evaluation_of(run, [word])
    with pytest.raises(ConfigError, match="there is no coach called 'oracle'"):
        evaluation_of(run, ["coach=oracle"])


def test_a_folder_that_is_not_a_run_or_has_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a run folder"):
        evaluation_of(tmp_path)
    OmegaConf.save(compose(TINY), tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match="has no checkpoint to evaluate"):
        evaluation_of(tmp_path)


def test_evaluating_a_trained_run_plays_its_final_weights_and_an_agents_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same weights, tasks and seeds. At this learning rate, the weights before the step write other
    actions."""
    learn = ["steps=1", "evaluation.every=1", "evaluation.tasks=2", "model.optimizer.lr=0.1"]
    run = train(compose([*saved_model(tmp_path / "base"), *learn, f"run_dir={tmp_path}/run"]))
    again = train(evaluation_of(run, [f"run_dir={tmp_path}/again"]))
    assert _lines(again / "metrics.jsonl") == _lines(run / "metrics.jsonl")[-1:]
    assert _actions(again) == _actions(run) != []
    assert {version for _, _, version in _actions(again)} == {1}
    shutil.copytree(tmp_path / "base", tmp_path / "tuned")
    own = [f"team.problem_solver.model.path={tmp_path}/tuned", f"run_dir={tmp_path}/own"]
    replaced = train(evaluation_of(run, own))
    assert f"team: problem_solver: {tmp_path}/tuned, code_executor: {tmp_path}/base, verifier" in (
        capsys.readouterr().out
    ), "nobody learns in an evaluation"
    versions = {agent: version for agent, _, version in _actions(replaced)}
    assert versions == {"problem_solver": 0, "code_executor": 1, "verifier": 1}


def test_only_a_path_that_the_run_did_not_have_replaces_its_weights(run: Path) -> None:
    def replaced(*words: str) -> dict[str, str]:
        return replaced_weights(run, RunConfig.read(evaluation_of(run, words)))

    assert replaced() == replaced("team.verifier.model.max_new_tokens=9") == {}
    assert replaced("model.path=moved", "team.verifier.model.max_new_tokens=9") == {}
    assert replaced("team.verifier.model.path=tuned") == {"verifier": "tuned"}
    config: Any = OmegaConf.load(run / "config.yaml")
    config.team = {"verifier": {"model": {"path": "tuned"}}}
    OmegaConf.save(config, run / "config.yaml")
    assert replaced() == {}
    assert replaced("team.verifier.model.path=newer") == {"verifier": "newer"}


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _actions(run: Path) -> list[tuple[str, str, int]]:
    """Returns agent, action and weight version of each turn in the evaluation after the step."""
    return [
        (turn["agent"], turn["action"], turn["weight_version"])
        for row in _lines(run / "episodes.jsonl")
        if (row["phase"], row["step"]) == ("eval", 1)
        for turn in row["turns"]
    ]
