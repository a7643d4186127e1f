"""An episode that continues after turns played elsewhere equals the unbroken one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

import conf
import envs
from coaches.replay.branches import Replayer
from coaches.reward import CoachReward
from envs.pipeline import PipelineEnv
from envs.types import Turn
from sandbox.base import Backend, SandboxError
from tests.envs.dsbench.pipelines import programs
from tests.fakes import program

LOOK = program(
    "import os, random; print(sorted(os.listdir('.')), random.random()); open('note', 'a').write('x')"
)
SPOIL = program(
    "import os; os.remove('test.csv') if os.path.exists('test.csv') else print(open('note').read())"
)


def actions(env: PipelineEnv) -> list[str]:
    engineer, modeler, analyst = map(program, programs(env.task))
    return [LOOK, engineer, "done", modeler, LOOK, "done", analyst, SPOIL, SPOIL, "done"]


def play(env: PipelineEnv, chosen: list[str]) -> None:
    for action in chosen:
        env.step(action)


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    try:
        built: Backend = conf.build("sandbox", conf.load("sandbox", "local"))
    except SandboxError as error:
        pytest.skip(f"no local sandbox can start here: {error}")
    yield built
    built.close()


@dataclass(frozen=True)
class Whole:
    """An unbroken episode, with the files in its sandbox before each turn."""

    env: PipelineEnv
    actions: list[str]
    kept: list[dict[str, bytes]]


@pytest.fixture(scope="module")
def whole(backend: Backend) -> Whole:
    env = envs.make("dsbench", sandbox=backend)
    env.reset(seed=3, options={"task": "penguin_sex"})
    chosen, kept = actions(env), []
    for action in chosen:
        kept.append({file.path: env.files.read(file.path) for file in env.files.list()})
        env.step(action)
    return Whole(env, chosen, kept)


def untimed(turns: Sequence[Turn]) -> list[Turn]:
    """Turns without their times."""
    return [
        turn if turn.result is None else replace(turn, result=replace(turn.result, wall_s=0.0, cpu_s=0.0))
        for turn in turns
    ]


@pytest.mark.parametrize("position", range(1, 10))
def test_a_continuation_from_any_turn_gives_the_same_episode(
    whole: Whole, backend: Backend, position: int
) -> None:
    other = envs.make("dsbench", sandbox=backend)
    start = {"task": "penguin_sex", "turns": whole.env.turns[:position], "files": whole.kept[position]}
    other.reset(seed=3, options=start)
    play(other, whole.actions[position:])
    assert untimed(other.turns) == untimed(whole.env.turns)
    assert other.outcome == whole.env.outcome
    assert other.outcome.success


def test_the_next_agent_is_selected_and_infos_have_the_earlier_turns(whole: Whole, backend: Backend) -> None:
    other = envs.make("dsbench", sandbox=backend)
    other.reset(options={"task": "penguin_sex", "turns": whole.env.turns[:4], "files": {}})
    assert other.agent_selection == "modeler"
    assert other.infos["data_engineer"]["turn"] == whole.env.turns[2]
    assert other.infos["modeler"]["turn"] == whole.env.turns[3]
    assert other.infos["analyst"] == {}
    assert other.files.list() == ()


def test_a_coach_judges_only_turns_played_here(whole: Whole, backend: Backend) -> None:
    coach = conf.build("coaches", conf.load("coach", "rules"))
    other = CoachReward(envs.make("dsbench", sandbox=backend), coach)
    other.reset(seed=3, options={"task": "penguin_sex", "turns": whole.env.turns[:9], "files": whole.kept[9]})
    other.step(whole.actions[9])
    assert [verdict is None for verdict in other.verdicts] == [True] * 9 + [False]


def test_a_replay_stores_the_files_before_each_turn(whole: Whole, backend: Backend) -> None:
    env = whole.env
    replay = Replayer(env.scenario, backend, env.task, team=None, seed=3).again(env.turns)
    assert untimed(replay.turns) == untimed(env.turns)
    assert replay.outcome == env.outcome
    for listing, kept in zip(replay.files, whole.kept, strict=True):
        assert {file.path: replay.store.get(file.sha256) for file in listing} == kept


def test_turns_that_are_not_the_beginning_of_an_episode_are_rejected(whole: Whole, backend: Backend) -> None:
    fresh = envs.make("dsbench", sandbox=backend)
    turns = whole.env.turns
    for wrong in (turns[1:2], turns[:1] + turns[3:4], turns):
        with pytest.raises(ValueError, match="turn"):
            fresh.reset(seed=3, options={"task": "penguin_sex", "turns": wrong, "files": {}})


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ([1], TypeError, "options must be a mapping"),
        ("task", TypeError, "options must be a mapping"),
        ({"turns": "x"}, TypeError, "must be a sequence of envs.types.Turn, not 'x'"),
        ({"turns": [1], "files": {}}, TypeError, "must be a sequence of envs.types.Turn"),
        ({"turns": None}, TypeError, "must be a sequence of envs.types.Turn, not None"),
        ({"turns": {}}, TypeError, "must be a sequence of envs.types.Turn"),
        ({"files": {"a": b""}}, ValueError, "files.* needs options.*turns"),
        ({"turns": [], "files": {"a": b""}}, ValueError, "files.* needs options.*turns"),
        ({"files": ["a"]}, TypeError, "must map paths to bytes"),
        ({"files": {"a": "text"}}, TypeError, "must map paths to bytes, not 'a' to 'text'"),
        ({"files": {1: b""}}, TypeError, "must map paths to bytes"),
    ],
)
def test_options_that_cannot_be_are_named(
    whole: Whole, options: Any, kind: type[Exception], complaint: str
) -> None:
    with pytest.raises(kind, match=complaint):
        whole.env.reset(options=options)


def test_turns_without_their_files_are_refused(whole: Whole) -> None:
    turns = whole.env.turns[:2]
    with pytest.raises(ValueError, match="needs"):
        whole.env.reset(options={"task": "penguin_sex", "turns": turns})
