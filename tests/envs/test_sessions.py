"""``session=role``: the programs of one agent share an interpreter; nothing else of the episode changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import envs
from coaches.replay.branches import Replayer
from conf import ConfigError
from envs import contract
from envs.pipeline import PipelineEnv
from envs.types import Role, Turn
from sandbox.base import Backend
from tests.envs.test_resume import untimed
from tests.fakes import FakeBackend, FakeScenario, program
from tests.sandbox.backends import local, or_skip


class Shared(FakeScenario):
    """As ``FakeScenario``, with an interpreter for each role."""

    session = "role"

    def __init__(self, roles: int = 2, max_turns: int = 5, files: dict[str, Path] | None = None) -> None:
        super().__init__(max_turns=max_turns, files=files)
        names = [f"role_{number}" for number in range(roles)]
        self.roles = tuple(Role(name, "Work.", max_turns) for name in names)


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    built = or_skip(local)
    yield built
    built.close()


def play(env: PipelineEnv, *actions: str, seed: int = 1) -> tuple[Turn, ...]:
    env.reset(seed=seed)
    for action in actions:
        env.step(action)
    return env.turns


def outputs(turns: tuple[Turn, ...]) -> list[str]:
    return [turn.result.stdout.strip() for turn in turns if turn.result is not None]


def test_variables_stay_between_the_programs_of_a_role_and_end_with_its_part(
    backend: Backend,
) -> None:
    env = PipelineEnv(Shared(), backend)
    look = program("print('x' in globals())")
    turns = play(
        env, program("import math\nx = 20"), program("print(math.floor(x) + 1)"), "done", look, "done"
    )
    assert outputs(turns) == ["", "21", "False"]
    assert not any(turn.result.state_lost for turn in turns if turn.result)


def test_without_it_every_program_is_fresh(backend: Backend) -> None:
    scenario = Shared()
    scenario.session = "fresh"
    env = PipelineEnv(scenario, backend)
    assert outputs(play(env, program("x = 1"), program("print('x' in globals())"))) == ["", "False"]
    assert "share" not in env.observe("role_0")["messages"][0]["content"]
    env.close()


def test_more_roles_than_a_sandbox_has_sessions_play_an_episode(backend: Backend) -> None:
    env = PipelineEnv(Shared(roles=6, max_turns=1), backend)
    assert outputs(play(env, *[program(f"x = {n}; print(x)") for n in range(6)])) == list("012345")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import time\ntime.sleep(60)", "timeout"),  # stops when interrupted, which would keep the variables
        ("import os; os.kill(os.getpid(), 9)", "killed"),
        ("while True: print('y' * 10000)", "output_limit"),
        ("import os; os._exit(3)", "error"),
    ],
)
def test_a_program_that_is_ended_takes_the_variables_with_it_and_the_agent_reads_so(
    backend: Backend, code: str, status: str
) -> None:
    scenario = Shared()
    scenario.timeout = 1.0
    env = PipelineEnv(scenario, backend)
    turns = play(env, program("x = 1"), program(code), program("print('x' in globals())"))
    ended = turns[1].result
    assert ended is not None
    assert (ended.status, ended.state_lost) == (status, True)
    assert "variables" in ended.stderr.splitlines()[-1]
    assert outputs(turns)[2] == "False"
    report = env.observe("role_0")["messages"][5]["content"]
    assert "and the variables of its interpreter are lost" in report
    assert "with its variables" in report or "its variables are gone" in report
    env.close()


def test_agents_are_told_that_their_programs_share_an_interpreter(backend: Backend) -> None:
    for name, tasks in (("dsbench", ["penguin_sex"]), ("mathchat", None)):
        env = envs.make(name, sandbox=backend, session="role", tasks=tasks)
        env.reset(options={"split": "heldout"})
        for role in env.scenario.roles:
            text = env.observe(role.name)["messages"][0]["content"]
            assert ("share one interpreter" in text) == role.can_run_code
            assert "fresh interpreter" not in text
        env.close()


def test_the_compact_style_says_that_variables_are_lost(backend: Backend) -> None:
    scenario = Shared()
    scenario.style = "compact"
    env = PipelineEnv(scenario, backend)
    play(env, program("import os; os._exit(3)"))
    assert "### exit code 3, variables lost" in env.observe("role_0")["messages"][3]["content"]
    env.close()


@pytest.mark.parametrize("value", ["", "notebook", None, 1])
def test_another_value_is_one_line(backend: Backend, value: object) -> None:
    scenario = Shared()
    scenario.session = value  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"session must be fresh or role; got"):
        PipelineEnv(scenario, backend)


def test_a_backend_without_sessions_is_refused_in_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^env\.session=role needs .*, and fake has none: .*session=fresh$"
    ):
        PipelineEnv(Shared(), FakeBackend())

    class Older(FakeBackend):
        """Of a user, from before backends said whether they have sessions."""

        def __getattribute__(self, name: str) -> object:
            if name == "has_sessions":
                raise AttributeError(name)
            return super().__getattribute__(name)

    with pytest.raises(ConfigError, match="has none"):
        envs.make("mathchat", sandbox=Older(), session="role")


ACTIONS = (
    program("import random\nkept = open('log', 'a')\nx = [random.random()]\nopen('given', 'a').write('+')"),
    program("x.append(random.random()); kept.write('one '); kept.flush(); print(x)"),
    "done",
    program("open('given', 'w').write('replaced')\ny = 5"),
    program("y += 1; print(y); open('b.txt', 'w').write(str(y))"),
    program("import os; os.kill(os.getpid(), 9)"),
    program("print('y' in globals()); z = 7; 1 / 0"),
    program("print(z); open('b.txt', 'w').write('0')"),
)


Whole = tuple[PipelineEnv, list[dict[str, bytes]]]


@pytest.fixture(scope="module")
def whole(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A finished episode, and the files in its sandbox before each turn."""
    given = tmp_path_factory.mktemp("task") / "given"
    given.write_text("as given")
    env = PipelineEnv(Shared(files={"given": given}), backend)
    env.reset(seed=3, options={"task": "train-0"})
    kept = []
    for action in ACTIONS:
        kept.append({file.path: env.files.read(file.path) for file in env.files.list()})
        env.step(action)
    return env, kept


@pytest.mark.parametrize("place", range(1, len(ACTIONS)))
def test_an_episode_continues_from_any_turn_with_the_variables_of_that_turn(
    whole: Whole, backend: Backend, place: int
) -> None:
    env, kept = whole
    other = PipelineEnv(env.scenario, backend)
    other.reset(seed=3, options={"task": "train-0", "turns": env.turns[:place], "files": kept[place]})
    for action in ACTIONS[place:]:
        other.step(action)
    assert untimed(other.turns) == untimed(env.turns)
    assert other.outcome == env.outcome
    assert outputs(env.turns)[3] == "6"


def test_a_continuation_whose_files_at_the_time_are_gone_repeats_the_episode(backend: Backend) -> None:
    """``a`` was replaced within the part: what the programs read first is neither given nor left."""
    env = PipelineEnv(Shared(), backend)
    turns = play(
        env,
        program("open('a', 'w').write('first'); x = 1"),
        "done",
        program("x = open('a').read(); open('a', 'w').write('second')"),
        program("print(x)"),
    )
    files = {"a": env.files.read("a")}
    env.close()
    other = PipelineEnv(env.scenario, backend)
    other.reset(seed=1, options={"task": env.task, "turns": turns[:3], "files": files})
    other.step(program("print(x, open('a').read())"))
    assert outputs(other.turns)[-1] == "first second"
    other.close()


def test_a_branch_of_a_replay_has_the_variables_of_its_place(whole: Whole, backend: Backend) -> None:
    env, _ = whole
    replayer = Replayer(env.scenario, backend, env.task, team=None, seed=3)
    replay = replayer.again(env.turns)
    assert untimed(replay.turns) == untimed(env.turns)
    correct = replayer.branch(replay, 7, program("open('b.txt', 'w').write(str(z - 7))"))
    wrong = replayer.branch(replay, 7, program("open('b.txt', 'w').write(str(z))"))
    assert (correct.failure_code, wrong.failure_code) == ("ok", "wrong")


def test_two_episodes_with_equal_seeds_and_actions_are_equal(backend: Backend) -> None:
    def act(_: object, index: int) -> str:
        return program("import random; n = globals().get('n', 0) + 1; print(n, random.random())")

    contract.check_deterministic(lambda: PipelineEnv(Shared(), backend), act)


def test_an_environment_with_sessions_cannot_be_copied(backend: Backend) -> None:
    env = PipelineEnv(Shared(), backend)
    play(env, program("x = 1"))
    with pytest.raises(TypeError, match="neither copied nor pickled"):
        copy.deepcopy(env)
    env.close()


def test_a_new_episode_starts_without_the_variables_of_an_abandoned_one(backend: Backend) -> None:
    env = PipelineEnv(Shared(), backend)
    play(env, program("x = 1"))
    assert outputs(play(env, program("print('x' in globals())"))) == ["False"]
    env.close()


def test_a_lost_sandbox_is_restored_with_its_variables(backend: Backend) -> None:
    env = PipelineEnv(Shared(), backend)
    play(env, program("import random; x = random.random(); print(x)"))
    env.files._sandbox._box.close()  # type: ignore[attr-defined]
    box = env.files._sandbox  # type: ignore[attr-defined]
    box._restore(box._history)
    env.step(program("print(x)"))
    first, second = outputs(env.turns)
    assert first == second
    env.close()


def test_names_and_files_of_a_hostile_session_do_not_reach_the_next_role(backend: Backend) -> None:
    env = PipelineEnv(Shared(), backend)
    patch = "import builtins, sys, threading, os\nbuiltins.print = None\nsys.modules['json'] = None\n"
    stay = "if os.fork() == 0:\n    import time\n    while True: open('beat', 'a').write('x')"
    play(env, program(patch + stay), "done")
    env.step(program("import json; print(json.dumps(1))"))
    assert outputs(env.turns)[-1] == "1"
    before = env.files.list()
    env.step(program("import time; time.sleep(0.1)"))
    assert env.files.list() == before
    env.close()


def test_a_turn_that_cannot_be_read_keeps_the_variables(backend: Backend) -> None:
    env = PipelineEnv(Shared(), backend)
    turns = play(env, program("x = 1"), "<think>never", program("print(x)"))
    assert outputs(turns) == ["", "1"]
    other = PipelineEnv(env.scenario, backend)
    files = {file.path: env.files.read(file.path) for file in env.files.list()}
    other.reset(seed=1, options={"task": env.task, "turns": turns[:2], "files": files})
    other.step(program("print(x)"))
    assert untimed(other.turns) == untimed(turns)
    env.close()
    other.close()


def test_seeds_of_records_and_times_apart_a_turn_is_as_it_would_be_alone(backend: Backend) -> None:
    """The first program of a part runs with the seed that it has when programs are fresh."""
    results = []
    for session in ("role", "fresh"):
        scenario = Shared()
        scenario.session = session
        env = PipelineEnv(scenario, backend)
        [turn] = play(env, program("import random; print(random.random())"))
        assert turn.result
        results.append(replace(turn.result, wall_s=0.0, cpu_s=0.0))
        env.close()
    assert results[0] == results[1]
