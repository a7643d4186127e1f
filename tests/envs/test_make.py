from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pettingzoo  # type: ignore[import-untyped]
import pytest
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]
from pettingzoo.utils import OrderEnforcingWrapper  # type: ignore[import-untyped]

import conf
import envs
from conf.commands import compose
from envs import PipelineEnv, contract, dsbench, mathchat
from sandbox.base import Limits
from tests.fakes import FakeBackend


def test_make_builds_the_configured_environment() -> None:
    backend = FakeBackend()
    env = envs.make("mathchat", sandbox=backend)
    assert env.backend is backend
    assert env.possible_agents == ["problem_solver", "code_executor", "verifier"]
    assert [role.max_turns for role in env.scenario.roles] == [1, 2, 1]


def test_make_accepts_settings_of_the_environment() -> None:
    settings: dict[str, Any] = {"context": "previous", "max_turns.code_executor": 4}
    env = envs.make("mathchat", sandbox=FakeBackend(), **settings)
    assert env.scenario.context == "previous"
    assert env.scenario.roles[1].max_turns == 4


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("nosuch", {}, "no env called 'nosuch'"),
        ("", {}, "no env called ''"),
        (None, {}, "no env called None"),
        ("..", {}, "no env called '..'"),
        (".my_parts.x", {}, "no env called '.my_parts.x'"),
        ("docs/examples/my_conf", {}, "no env called 'docs/examples/my_conf'"),
        ("os.path", {}, "os.path must define exactly one public class with a nested Config; it has none"),
        (
            "mathchat",
            {"sandbox": None},
            "sandbox must be a backend, or the name of one in conf/sandbox, alone or as the name in a "
            "mapping with its settings; got None",
        ),
        ("mathchat", {"sandbox": {"mode": "none"}}, "sandbox must be a backend"),
        ("mathchat", {"sandbox": {"name": "nosuch"}}, "no sandbox called 'nosuch'"),
        ("mathchat", {"sandbox": {"name": "local", "nosuch": 1}}, "nosuch"),
        ("mathchat", {"nosuch": 1}, "env=mathchat: there is no setting nosuch; there are: name, "),
        ("mathchat", {"sandbox": "nosuch"}, "no sandbox called 'nosuch'"),
        ("mathchat", {"timeout": "soon"}, "timeout"),
        ("mathchat", {"context": "some"}, "must be full or previous"),
        ("mathchat", {"max_turns.verifier": 0}, "max_turns.verifier must be at least 1"),
        ("mathchat", {"heldout": 1.5}, "heldout must be below 1"),
        ("mathchat", {"tasks": "nosuch.json"}, "nosuch.json: cannot be read"),
        ("mathchat", {"render_mode": "human"}, "render_mode must be ansi or None; got 'human'"),
        ("mathchat", {"output_chars": -1}, "output_chars must be at least 0, not -1"),
        ("mathchat", {"output_chars": "all"}, "output_chars must be an integer, not 'all'"),
        ("mathchat", {"limits": {"memory_mb": 0}}, "limits.memory_mb must be at least 1, not 0"),
        ("mathchat", {"limits": {"memory_mb": 0.5}}, "limits.memory_mb must be an integer"),
        ("mathchat", {"limits": {"timeout": "1 h"}}, "limits.timeout must be a number"),
        (
            "mathchat",
            {"limits": {"memory": 100}},
            "there is no setting limits.memory: did you mean limits.memory_mb\\?",
        ),
        ("mathchat", {"limits": 100}, "limits is a group of settings and cannot be 100"),
        ("mathchat", {"limits.idle": -1}, "limits.idle must be above 0"),
    ],
)
def test_a_wrong_name_or_setting_is_one_clear_line(
    name: Any, settings: dict[str, object], complaint: str
) -> None:
    with pytest.raises(conf.ConfigError, match=complaint) as raised:
        envs.make(name, **{"sandbox": FakeBackend(), **settings})  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_pettingzoo_makes_every_configured_environment() -> None:
    for name in conf.names("env"):
        assert f"coachgym/{name}-v0" in pettingzoo.aec_registry
    env = pettingzoo.make("aec", "coachgym/mathchat-v0", sandbox=FakeBackend(), context="previous")
    assert isinstance(env, OrderEnforcingWrapper)
    assert isinstance(env.unwrapped, envs.PipelineEnv)
    assert env.scenario.context == "previous"
    assert str(env) == "mathchat_v0"


@pytest.mark.parametrize("given", [{"memory_mb": 2048}, replace(Limits(), memory_mb=2048)])
def test_limits_and_output_can_be_set_when_an_environment_is_made(given: Any) -> None:
    backend = FakeBackend()
    env = envs.make("mathchat", sandbox=backend, limits=given, output_chars=100)
    env.reset(seed=0)
    env.step("A plan.")
    env.step("```python\nprint('x' * 500)\n```")
    assert backend.opened[0].spec.limits == replace(Limits(), memory_mb=2048)
    text = env.observe("code_executor")["messages"][-1]["content"]
    assert 90 < text.count("x") < 120


def test_without_changes_the_limits_are_those_of_the_backend() -> None:
    backend = FakeBackend()
    env = envs.make("mathchat", sandbox=backend)
    env.reset(seed=0)
    env.step("A plan.")
    env.step("```python\n1\n```")
    assert backend.opened[0].spec.limits is None


def test_pettingzoo_sets_the_render_mode_limits_and_output() -> None:
    for name in conf.names("env"):
        env = pettingzoo.make(
            "aec",
            f"coachgym/{name}-v0",
            render_mode="ansi",
            sandbox=FakeBackend(),
            output_chars=10,
            limits={"disk_mb": 100},
        )
        assert env.render_mode == "ansi"
        env.reset(seed=0)
        assert isinstance(env.render(), str)
    parallel = mathchat.parallel_env(sandbox=FakeBackend(), render_mode="ansi")
    assert parallel.render_mode == "ansi"


def test_the_same_settings_come_from_the_command_line() -> None:
    config = compose(["env=mathchat", "env.output_chars=12", "env.limits.memory_mb=2048"])
    env = PipelineEnv(conf.build("envs", config.env), backend := FakeBackend())
    env.reset(seed=0)
    env.step("A plan.")
    env.step("```python\nprint('x' * 500)\n```")
    assert backend.opened[0].spec.limits == replace(Limits(), memory_mb=2048)
    assert env.observe("code_executor")["messages"][-1]["content"].count("x") < 30


def test_a_yaml_of_the_user_is_named_by_its_path() -> None:
    path = Path(__file__).parents[2] / "docs" / "examples" / "my_conf" / "env" / "median.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parents[2])
        env = envs.make(path, sandbox=FakeBackend(), max_turns=3)
        assert [role.max_turns for role in env.scenario.roles] == [3, 3]
        settings = conf.to_dict(conf.load("env", str(path))) | {"max_turns": 1}
        del settings["name"]
        module = envs.make("my_parts.median", sandbox=FakeBackend(), **settings)
        assert [role.max_turns for role in module.scenario.roles] == [1, 1]


def test_registering_again_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(envs)


@pytest.mark.parametrize("module", [mathchat, dsbench])
def test_the_modules_of_environments_follow_pettingzoos_convention(module: Any) -> None:
    raw, ordered = module.raw_env(sandbox=FakeBackend()), module.env(sandbox=FakeBackend())
    assert (type(raw), type(ordered)) == (PipelineEnv, OrderEnforcingWrapper)
    assert str(raw) == str(ordered) == f"{raw.scenario.name}_v0"
    observations, _ = module.parallel_env(sandbox=FakeBackend()).reset(seed=0)
    assert list(observations) == raw.possible_agents


def test_the_parallel_form_passes_pettingzoos_test_and_takes_the_action_of_the_active_agent() -> None:
    parallel_api_test(mathchat.parallel_env(sandbox=FakeBackend()), num_cycles=20)
    env: Any = pettingzoo.make("parallel", "coachgym/mathchat-v0", sandbox=FakeBackend())
    env.reset(seed=0)
    rewards: dict[str, float] = {}
    for agent in ("problem_solver", "code_executor", "verifier"):
        assert env.aec_env.agent_selection == agent
        answer = f"\\boxed{{{env.unwrapped.task.answer[0]}}}"
        others = dict.fromkeys(env.possible_agents, "ignored")
        _, rewards, ended, _, infos = env.step(others | {agent: answer})
        assert infos[agent]["turn"].action == answer
    assert env.agents == []
    assert all(ended.values())
    assert rewards == dict.fromkeys(env.possible_agents, 1.0)
    assert len(env.unwrapped.turns) == 3


def test_no_other_package_called_envs_shadows_ours() -> None:
    assert Path(envs.__file__) == Path(__file__).parents[2] / "envs" / "__init__.py"


@pytest.mark.parametrize("context", ["full", "previous"])
def test_mathchat_satisfies_the_contract(context: str) -> None:
    contract.check(lambda: envs.make("mathchat", sandbox=FakeBackend(), context=context))


ALONE = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"{{name}} is not installed")

sys.meta_path.insert(0, Blocker())
import pettingzoo
import envs
from tests.fakes import FakeBackend

for name in ("mathchat", "dsbench"):
    env = envs.make(name, sandbox=FakeBackend())
    env.reset(seed=0)
    assert env.observe(env.agent_selection)["messages"]
    assert pettingzoo.make("aec", f"coachgym/{{name}}-v0", sandbox=FakeBackend()).possible_agents
"""


def test_environments_need_no_package_of_learners_coaches_or_containers() -> None:
    blocked = ("torch", "transformers", "peft", "docker", "wandb", "hydra", "vllm", "ray", "openai")
    code = ALONE.format(blocked=set(blocked))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
