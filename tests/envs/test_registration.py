"""Ids of PettingZoo and Gymnasium, for bundled environments and for those of users."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pettingzoo  # type: ignore[import-untyped]
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import conf
import envs
from envs.single_agent import SingleAgentEnv
from tests.fakes import EchoBackend, program

LEDGER = '''
"""A clerk says the sum; nobody checks."""

from dataclasses import dataclass

from envs.types import Outcome, Role, Task


class Ledger:
    @dataclass
    class Config:
        pairs: int
        context: str = "full"

    name = "ledger"
    preload = ()
    libraries = ()
    timeout = 1.0
    closed = 0

    def __init__(self, config):
        self.context = config.context
        self.roles = (Role("clerk", "Add.", 1), Role("the auditor", "Check.", 2))
        self.pairs = config.pairs

    def tasks(self, split):
        return [Task(f"{split}-{n}", f"## Task: {n} + {n}", "sum", str(2 * n)) for n in range(self.pairs)]

    def check(self, task, role, files, sandbox):
        return ()

    def grade(self, task, turns, sandbox):
        right = task.answer in turns[-1].action
        return Outcome(right, float(right), {"fair": float(right)}, "ok" if right else "wrong")

    def close(self):
        self.closed += 1
'''
ACTORS = """
def count(observation):
    return f"{len(observation['messages'])} messages"

number = 3
"""


@pytest.fixture
def own_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on Python's path with a scenario, actors and a YAML; what they register is forgotten again."""
    (tmp_path / "own_parts").mkdir()
    (tmp_path / "own_parts" / "ledger.py").write_text(LEDGER)
    (tmp_path / "own_parts" / "actors.py").write_text(ACTORS)
    (tmp_path / "ledger.yaml").write_text("name: own_parts.ledger\npairs: 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for registry in (gymnasium.registry, pettingzoo.aec_registry, pettingzoo.parallel_registry):
        for id in [id for id in registry if id.startswith("own/")]:
            del registry[id]


ROLES = [(name, role) for name in conf.names("env") for role in conf.load("env", name).max_turns]


@pytest.mark.parametrize(("name", "role"), ROLES)
def test_every_role_of_every_environment_is_a_gymnasium_environment(name: str, role: str) -> None:
    env = gymnasium.make(
        f"coachgym/{name}-{role}-v0", sandbox=EchoBackend(), others="random", render_mode="ansi"
    )
    inner = env.unwrapped
    assert isinstance(inner, SingleAgentEnv)
    assert [name for name, _ in ROLES].count(name) == len(inner.env.possible_agents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about texts, which are no arrays
        check_env(inner, skip_render_check=name == "dsbench", skip_close_check=name == "dsbench")
    observation, _ = env.reset(seed=1)
    assert observation["role"] == role
    assert isinstance(env.render(), str)
    env.close()


def test_an_id_can_import_the_package_itself() -> None:
    env = gymnasium.make("envs:coachgym/mathchat-verifier-v0", sandbox=EchoBackend(), style="compact")
    assert env.reset(seed=0)[0]["messages"][0]["content"].startswith("## Role: verifier (3 of 3)")


def test_the_team_may_be_played_by_names_functions_and_dotted_paths(own_parts: Path) -> None:
    team: Any = {"problem_solver": "own_parts.actors:count", "code_executor": lambda _: program("6 * 7")}
    env: Any = gymnasium.make("coachgym/mathchat-verifier-v0", sandbox=EchoBackend(), others=team)
    env.reset(seed=0)
    said = [turn.action for turn in env.unwrapped.env.turns]
    assert said == ["2 messages", program("6 * 7"), program("6 * 7")]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ("nobody", r"must be a function of the observation, silent, random or module:function; got 'nobody'"),
        (3, "must be a function of the observation"),
        ("own_parts.actors:number", "must be a function of the observation"),
        ("own_parts.actors:nosuch", "'own_parts.actors:nosuch' cannot be imported: .*nosuch"),
        ("nosuch.actors:count", "'nosuch.actors:count' cannot be imported: No module named 'nosuch'"),
        (":", "cannot be imported"),
        ({"problem_solver": "silent"}, "others lacks an actor for code_executor"),
        ({"problem_solver": "silent", "code_executor": ""}, r"others\['code_executor'\] must be"),
    ],
)
def test_a_colleague_that_cannot_play_is_one_clear_line(own_parts: Path, others: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        gymnasium.make("coachgym/mathchat-verifier-v0", sandbox=EchoBackend(), others=others)
    assert "\n" not in str(raised.value)


def test_a_role_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(ValueError, match="there is no agent 'boss'; the agents are problem_solver"):
        gymnasium.make("coachgym/mathchat-verifier-v0", sandbox=EchoBackend(), role="boss")


def test_equal_seeds_give_equal_colleagues() -> None:
    def said(seed: int) -> list[str]:
        env: Any = gymnasium.make("coachgym/mathchat-verifier-v0", sandbox=EchoBackend(), others="random")
        env.reset(seed=seed)
        return [turn.action for turn in env.unwrapped.env.turns]

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_one_call_registers_an_environment_of_a_users_module(own_parts: Path) -> None:
    envs.register("own/ledger-v2", "own_parts.ledger", pairs=3)
    team = pettingzoo.make("aec", "own/ledger-v2", sandbox=EchoBackend())
    assert team.possible_agents == ["clerk", "the auditor"]
    parallel = pettingzoo.make("parallel", "own/ledger-v2", sandbox=EchoBackend(), pairs=1)
    assert len(parallel.unwrapped.scenario.tasks("train")) == 1
    env: Any = gymnasium.make("own/ledger-the_auditor-v2", sandbox=EchoBackend())
    env.reset(seed=0, options={"task": "train-2"})
    assert env.step("4")[1:3] == (1.0, True)
    env.close()
    assert env.unwrapped.env.scenario.closed == 1


def test_the_sandbox_and_the_colleagues_can_be_registered_too(own_parts: Path) -> None:
    backend = EchoBackend()
    envs.register("own/b-v0", str(own_parts / "ledger.yaml"), sandbox="local", others="random")
    spec = gymnasium.spec("own/b-the_auditor-v0")
    assert (spec.kwargs["sandbox"], spec.kwargs["others"]) == ("local", "random")
    assert "others" not in pettingzoo.spec("aec", "own/b-v0").kwargs
    env = pettingzoo.make("aec", "own/b-v0", sandbox=backend)
    assert env.backend is backend


def test_a_scenario_takes_the_settings_of_every_environment_without_having_them(own_parts: Path) -> None:
    backend = EchoBackend()
    envs.register("own/c-v0", "own_parts.ledger", pairs=2, session="role")
    shared: Any = {"limits": {"memory_mb": 99}, "output_chars": 7, "style": "compact", "reply_tokens": 5}
    env = pettingzoo.make("aec", "own/c-v0", sandbox=backend, render_mode="ansi", **shared)
    env.reset(seed=0)
    assert env.last()[0]["messages"][0]["content"].startswith("## Role: clerk (1 of 2)")
    env.step(program("print(1)"))
    assert "[" in env.observe("clerk")["messages"][-1]["content"]  # characters were left out
    assert backend.opened[0].spec.limits == replace(backend.limits, memory_mb=99)
    scenario = env.scenario
    assert (scenario.session, scenario.reply_tokens, scenario.output_chars) == ("role", 5, 7)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limits": {"memory": 1}}, "there is no setting limits.memory"),
        ({"limits": 3}, "limits is a group of settings and cannot be 3"),
        ({"output_chars": -1}, "output_chars must be at least 0, not -1"),
        ({"style": "loud"}, "style must be compact or full; got 'loud'"),
        ({"session": "all"}, "session must be fresh or role; got 'all'"),
        ({"reply_tokens": 0}, "reply_tokens must be at least 1, not 0"),
        ({"limit": 3}, "there is no setting limit; there are: pairs, context"),
    ],
)
def test_a_wrong_shared_setting_is_one_clear_line(
    own_parts: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(conf.ConfigError, match=said) as raised:
        envs.make("own_parts.ledger", sandbox=EchoBackend(), pairs=1, **settings)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("id", "name", "settings", "said"),
    [
        ("ledger", "own_parts.ledger", {"pairs": 1}, "id must be namespace/name-v0, like acme/ledger-v0"),
        ("own/a b-v0", "own_parts.ledger", {"pairs": 1}, "id must be namespace/name-v0"),
        ("own/a-v0", "own_parts.ledger", {}, "pairs must be set"),
        ("own/a-v0", "own_parts.ledger", {"pairs": "x"}, "pairs must be an integer, not 'x'"),
        ("own/a-v0", "own_parts.ledger", {"pair": 1}, "there is no setting pair: did you mean pairs\\?"),
        ("own/a-v0", "own_parts.ledgr", {}, "there is no module 'own_parts.ledgr'"),
        ("own/a-v0", "own_parts.actors", {}, "must define exactly one public class"),
        ("own/a-v0", "nosuch.yaml", {}, "nosuch.yaml: cannot be read: No such file"),
        ("own/a-v0", "nosuch", {}, "there is no env called 'nosuch'"),
        ("own/a-v0", "own_parts.ledger", {"pairs": 0}, "tasks must return at least one Task"),
    ],
)
def test_what_cannot_be_registered_is_one_clear_line(
    own_parts: Path, id: str, name: str, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(conf.ConfigError, match=said) as raised:
        envs.register(id, name, **settings)
    assert "\n" not in str(raised.value)
    assert id not in pettingzoo.aec_registry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pairs: 3\n", "must have a name, the module of the part"),
        ("name: [1\n", "not a YAML file"),
        ("- 1\n", "must be a mapping of settings"),
        ("name: own_parts.ledger\n", "pairs must be set"),
    ],
)
def test_a_yaml_that_makes_no_environment_is_one_clear_line(own_parts: Path, text: str, said: str) -> None:
    path = own_parts / "broken.yaml"
    path.write_text(text)
    with pytest.raises(conf.ConfigError, match=said) as raised:
        envs.make(str(path), sandbox=EchoBackend())
    assert "\n" not in str(raised.value)


def test_a_users_yaml_inherits_from_its_own_base_or_ours(own_parts: Path) -> None:
    path = own_parts / "two.yaml"
    path.write_text("defaults: [ledger]\ncontext: previous\nname: own_parts.ledger\n")
    env = envs.make(str(path), sandbox=EchoBackend())
    assert (env.scenario.context, len(env.scenario.tasks("train"))) == ("previous", 3)
    path.write_text("defaults: [base]\nname: own_parts.ledger\npairs: 1\n")
    with pytest.raises(conf.ConfigError, match="there is no setting output_chars; there are: pairs, context"):
        envs.make(str(path), sandbox=EchoBackend())


def verifier() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("coachgym/mathchat-code_executor-v0", sandbox=EchoBackend(), others="random")


def played(vector: Any) -> list[tuple[list[float], list[bool]]]:
    try:
        observations, _ = vector.reset(seed=5)
        assert observations["role"] == ("code_executor", "code_executor")
        assert [len(chat) for chat in observations["messages"]] == [2, 2]
        steps = []
        for _ in range(4):
            _, rewards, ended, _, _ = vector.step((program("1"), "done"))
            steps.append((list(rewards), list(ended)))
        return steps
    finally:
        vector.close()


def test_vector_environments_of_gymnasium_play_side_by_side_and_in_processes() -> None:
    steps = played(SyncVectorEnv([verifier, verifier]))
    assert [ended for _, ended in steps] == [[False, True], [True, False], [False, True], [False, False]]
    assert played(AsyncVectorEnv([verifier, verifier], shared_memory=False)) == steps


def test_shared_memory_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="shared_memory=False") as raised:
        AsyncVectorEnv([verifier, verifier], shared_memory=True)
    assert "has no place in shared memory" in str(raised.value.__cause__)
