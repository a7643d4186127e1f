"""The counterfactual coach, on episodes whose every branch can be computed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import conf
import envs
from benchmarks.coaches.judging import sample_kinds
from benchmarks.corpus import cases as corpus
from coaches import score
from coaches.base import CoachError
from coaches.counterfactual import Counterfactual, NoReferenceError
from coaches.replay.branches import ReplayError
from conf import ConfigError
from envs.pipeline import PipelineEnv
from envs.types import Outcome
from sandbox.base import Backend, SandboxError
from tests.coaches import endpoints as e
from tests.envs.dsbench.pipelines import programs
from tests.fakes import FakeBackend, program

TASK = "penguin_mass"
ECHO = '''
"""A team that repeats what it is configured to say, and replies to a plan with the plan's program."""

from dataclasses import dataclass


class Echo:
    @dataclass(frozen=True)
    class Config:
        wrong_every: int = 2

    def __init__(self, config):
        self.config = config

    def act(self, agent, messages, seed):
        text = messages[-1].content
        if agent == "problem_solver":
            return "Compute `1 + 1`" if seed % self.config.wrong_every else "Compute `20 + 22`"
        if agent == "code_executor":
            return "done" if "Result of turn" in text else f"```python\\nprint({text.split('`')[-2]})\\n```"
        return "\\\\boxed{" + text.rsplit("### stdout\\n", 1)[-1].split()[0] + "}"
'''


@cache
def local() -> Backend:
    """Uses the fork server, so that a program takes milliseconds."""
    built: Backend = conf.build("sandbox", conf.load("sandbox", "local"))
    return built


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    try:
        local()
    except SandboxError as error:
        pytest.skip(f"no local sandbox can start here: {error}")
    yield
    local().close()
    local.cache_clear()


def coach(tmp_path: Path, *references: PipelineEnv, **settings: Any) -> Counterfactual:
    path = tmp_path / "reference.jsonl"
    path.write_text("".join(json.dumps(row(env)) + "\n" for env in references))
    node = conf.load("coach", "counterfactual", replace="reference", reference=str(path), **settings)
    built: Counterfactual = conf.build("coaches", node)
    built.__dict__["_backend"] = local()
    return built


def row(env: PipelineEnv) -> dict[str, Any]:
    return {
        "task": env.task.id,
        "kind": env.task.kind,
        "turns": [
            {
                "agent": turn.agent,
                "action": turn.action,
                "observation": [asdict(message) for message in turn.observation],
            }
            for turn in env.turns
        ],
        "outcome": asdict(env.outcome),
    }


def played(said: Sequence[str], name: str = "dsbench", task: Any = TASK) -> PipelineEnv:
    env = envs.make(name, sandbox=local())
    env.reset(seed=0, options={"task": task})
    for action in said:
        env.step(action)
    return env


def sound() -> list[str]:
    env = envs.make("dsbench", sandbox=local())
    env.reset(seed=0, options={"task": TASK})
    engineer, modeler, analyst = map(program, programs(env.task))
    return [engineer, "done", modeler, "done", analyst, "done"]


def test_only_the_culprit_loses(tmp_path: Path) -> None:
    said = sound()
    reference = played(said)
    worse = [*said]
    worse[2] = said[2].replace("model.fit(X, y)", "model.fit(X, y.sample(frac=1, random_state=1))")
    assert worse != said
    env = played(worse)
    assert env.outcome.success and env.outcome.score < reference.outcome.score - 0.05  # noqa: PT018
    verdicts = coach(tmp_path, reference).judge_episode(env.turns, env.outcome)
    losses = [10.0 - verdict.score for verdict in verdicts if verdict is not None]
    measured = 10.0 * (reference.outcome.score - env.outcome.score)
    assert losses == pytest.approx([0, 0, measured, 0, 0, 0], abs=1e-9)
    assert {verdict.blame for verdict in verdicts if verdict} == {"modeler"}
    assert verdicts[2] is not None
    assert f"{measured / 10:+.4f}" in verdicts[2].rationale


def test_a_sound_episode_has_no_culprit(tmp_path: Path) -> None:
    env = played(sound())
    verdicts = coach(tmp_path, env).judge_episode(env.turns, env.outcome)
    assert [(verdict.score, verdict.blame) for verdict in verdicts if verdict] == [(10.0, None)] * 6


def test_the_most_similar_sound_episode_is_the_reference(tmp_path: Path) -> None:
    said = sound()
    other = played([said[0] + "\nother words", *said[1:]])
    env = played([*said[:4], "nothing to do"])
    verdicts = coach(tmp_path, other, played(said)).judge_episode(env.turns, env.outcome)
    assert [verdict.score for verdict in verdicts if verdict] == pytest.approx(
        [10, 10, 10, 10, 10 * (1 - played(said).outcome.score)]
    )
    assert verdicts[-1] is not None
    assert verdicts[-1].blame == "analyst"


def test_a_turn_without_a_counterpart_has_no_verdict(tmp_path: Path) -> None:
    said = sound()
    env = played([program("print('a look first')"), *said])
    verdicts = coach(tmp_path, played(said)).judge_episode(env.turns, env.outcome)
    assert [verdict is None for verdict in verdicts] == [False, False, True, False, False, False, False]


def test_an_empty_action_measures_what_the_work_was_worth() -> None:
    env = played(sound())
    verdicts = _empty().judge_episode(env.turns, env.outcome)
    worth = 5.0 * (1.0 + env.outcome.score)
    assert [verdict.score for verdict in verdicts if verdict] == pytest.approx([worth, 5, worth, 5, worth, 5])
    assert {verdict.blame for verdict in verdicts if verdict} == {None}


def _empty(**settings: Any) -> Counterfactual:
    built: Counterfactual = conf.build("coaches", conf.load("coach", "counterfactual", **settings))
    if "sandbox" not in settings:
        built.__dict__["_backend"] = local()
    return built


def test_an_episode_that_cannot_be_replayed_is_not_measured() -> None:
    env = played(sound())
    better = Outcome(True, env.outcome.score / 2, env.outcome.metrics, "ok")
    with pytest.raises(ReplayError, match="but its replay scored"):
        _empty().judge_episode(env.turns, better)
    lost = _empty()
    lost._stages.__dict__["_backend"] = FakeBackend(broken=True)
    with pytest.raises(CoachError):
        lost.judge_episode(env.turns, env.outcome)
    turns = [replace(turn, task_id="unheard of") for turn in env.turns]
    with pytest.raises(ReplayError, match="no environment has a task"):
        _empty().judge_episode(turns, env.outcome)


def test_a_reference_needs_a_sound_episode(tmp_path: Path) -> None:
    env = played([*sound()[:5], "done"])
    with pytest.raises(NoReferenceError, match="no sound episode of penguin_mass"):
        coach(tmp_path).judge_episode(env.turns, env.outcome)


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "ownteam").mkdir()
    (tmp_path / "ownteam" / "echo.py").write_text(ECHO)
    monkeypatch.syspath_prepend(tmp_path)
    return "ownteam.echo"


def words(plan: str, task: Any) -> PipelineEnv:
    said = [f"Compute `{plan}`", program(f"print({plan})"), "done", f"\\boxed{{{eval(plan)}}}"]
    return played(said, "mathchat", task)


def test_a_team_acts_where_an_observation_has_changed(tmp_path: Path, echo: str) -> None:
    task = envs.make("mathchat", sandbox=local()).scenario.tasks("train")[0]
    right = task.answer[0]
    sound, wrong = words(f"{right} + 0", task), words(f"{right} + 1", task)
    assert sound.outcome.success and not wrong.outcome.success  # noqa: PT018
    mute = coach(tmp_path, sound).judge_episode(wrong.turns, wrong.outcome)
    assert [verdict.score for verdict in mute if verdict] == [
        10,
        10,
        10,
        0,
    ]  # no agent reacts
    verdicts = coach(tmp_path, sound, team={"name": echo}).judge_episode(wrong.turns, wrong.outcome)
    assert [verdict.score for verdict in verdicts if verdict] == [0, 10, 10, 10]
    assert {verdict.blame for verdict in verdicts if verdict} == {"problem_solver"}


def test_a_record_from_another_machine_is_compared_with_records_from_that_machine(tmp_path: Path) -> None:
    task = envs.make("mathchat", sandbox=local()).scenario.tasks("train")[0]
    env = words(f"{task.answer[0]} + 0", task)
    elsewhere = [
        replace(turn, observation=tuple(replace(m, content=f"{m.content} /opt") for m in turn.observation))
        for turn in env.turns
    ]
    built = coach(tmp_path, env, team={"name": "coaches.replay.teams.model", "endpoint": {"model": "nobody"}})
    built._references = {task.id: [tuple(elsewhere)]}
    verdicts = built.judge_episode(
        elsewhere, env.outcome
    )  # does not ask the team, which no server would answer
    assert [(verdict.score, verdict.blame) for verdict in verdicts if verdict] == [(10.0, None)] * 4


def test_resampled_actions_are_averaged(echo: str) -> None:
    task = envs.make("mathchat", sandbox=local()).scenario.tasks("train")[0]
    task = replace(task, answer=["42"])
    env = words("20 + 22", task)
    built = _empty(replace="resample", team={"name": echo}, samples=4)
    built._stages.__dict__["_tasks"] = {task.id: [(env.scenario, task)]}
    verdicts = built.judge_episode(env.turns, env.outcome)
    assert verdicts[0] is not None
    assert verdicts[0].score == pytest.approx(7.5)  # half of the plans lead to a wrong answer
    assert "4 samples" in verdicts[0].rationale and "-0.5000" in verdicts[0].rationale  # noqa: PT018


def test_invalid_settings_are_one_line_errors() -> None:
    for wrong, match in (
        ({"replace": "all"}, "replace must be one of"),
        ({"replace": "reference"}, r"coach\.reference="),
        ({"replace": "resample"}, "needs a team"),
        ({"samples": 0}, "at least 1"),
        ({"tolerance": 1.0}, "below 1"),
        ({"sandbox": "docker"}, "must have a name"),
    ):
        with pytest.raises(ConfigError, match=match):
            print(_empty(**wrong)._stages._backend)


def test_nodes_within_the_coach_get_defaults_from_their_own_groups() -> None:
    node = conf.fill_defaults("coach", {"name": "counterfactual", "sandbox": {"name": "local"}})
    assert node.sandbox.name == "local"
    assert "limits" in node.sandbox
    assert node.env[0].name == "dsbench"
    assert "max_turns" in node.env[0]


@pytest.mark.slow
def test_planted_culprits_lose_most_in_episodes_of_the_corpus() -> None:
    cases = corpus.read("public")
    coach = _empty(
        replace="reference",
        reference=str(corpus.path_of("public")),
        team={"name": "benchmarks.corpus.team"},
        env=[{"name": name, "style": "compact"} for name in ("dsbench", "mathchat")],
    )
    faulty = [case for case in cases if case.label is not None]
    for case in [
        *sample_kinds([case for case in faulty if case.env == "dsbench"], 5),
        *sample_kinds([case for case in faulty if case.env == "mathchat"], 5),
    ]:
        assert case.label is not None and case.episode.outcome is not None  # noqa: PT018
        verdicts = coach.judge_episode(case.episode.turns, case.episode.outcome)
        losses = [10.0 - verdict.score for verdict in verdicts if verdict is not None]
        culprit = losses.pop(case.label.turn)
        assert culprit > max(losses), case.episode.id
        assert {verdict.blame for verdict in verdicts if verdict} == {case.label.agent}


@pytest.mark.slow
def test_the_score_command_runs_the_counterfactual_coach(tmp_path: Path) -> None:
    env = played(sound())
    (tmp_path / "mine.jsonl").write_text(json.dumps(row(env)) + "\n")
    words = ["coach=counterfactual", "coach.replace=reference", f"coach.reference={tmp_path / 'mine.jsonl'}"]
    score.main([str(tmp_path / "mine.jsonl"), *words, "coach.sandbox.name=local", "env=dsbench"])
    [line] = (tmp_path / "mine.scored.jsonl").read_text(encoding="utf-8").splitlines()
    assert [turn["verdict"]["score"] for turn in json.loads(line)["turns"]] == [10.0] * 6


def test_a_model_behind_an_endpoint_can_be_the_team(tmp_path: Path) -> None:
    task = envs.make("mathchat", sandbox=local()).scenario.tasks("train")[0]
    right = task.answer[0]
    env = words(f"{right} + 0", task)

    def manner(handler: e.Handler) -> None:
        e.say("\\boxed{-1}" if "verifier" in handler.body["messages"][0]["content"] else "done")(handler)

    with e.serving(manner) as server:
        team = {
            "name": "coaches.replay.teams.model",
            "endpoint": {"base_url": server.url, "temperature": 1.0},
        }
        coach = _empty(replace="resample", team=team, samples=2)
        verdicts = coach.judge_episode(env.turns, env.outcome)
        asked = [request["messages"] for request in server.requests]
    assert [verdict.score for verdict in verdicts if verdict] == [10, 10, 5, 10]
    assert [{"role": m.role, "content": m.content} for m in env.turns[3].observation] in asked
    assert all("response_format" not in request for request in server.requests)
    with pytest.raises(ConfigError, match="unknown settings of the endpoint: modell"):
        _empty(replace="resample", team={"name": "coaches.replay.teams.model", "endpoint": {"modell": "x"}})
