"""What an environment says when it is used before its first reset, after an episode, or after ``close()``."""

from __future__ import annotations

import gc
import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pettingzoo.utils import OrderEnforcingWrapper  # type: ignore[import-untyped]

import conf
import envs
from coaches.reward import CoachReward
from envs.mathchat import MathChat
from envs.pipeline import PipelineEnv
from tests.fakes import FakeBackend, FakeScenario, program


def bare() -> Any:
    return PipelineEnv(FakeScenario(max_turns=1), FakeBackend())


def coached() -> Any:
    return CoachReward(bare(), conf.build("coaches", conf.load("coach", "rules")))


WRAPPED = [bare, coached, lambda: OrderEnforcingWrapper(bare()), lambda: OrderEnforcingWrapper(coached())]
every_wrapper = pytest.mark.parametrize("make", WRAPPED)


@every_wrapper
@pytest.mark.parametrize(
    "use", [lambda env: env.last(), lambda env: env.step("done"), lambda env: env.agent_selection]
)
def test_an_environment_asks_for_a_reset_before_its_first_use(
    make: Callable[[], Any], use: Callable[[Any], object]
) -> None:
    with pytest.raises((AttributeError, AssertionError), match="reset"):
        use(make())


@pytest.mark.parametrize("use", [lambda env: env.observe("maker"), lambda env: env.render()])
def test_nothing_can_be_read_before_the_first_reset(use: Callable[[Any], object]) -> None:
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        use(bare())


@pytest.mark.parametrize("make", WRAPPED[:2])
def test_an_environment_asks_for_a_reset_after_its_episode(make: Callable[[], Any]) -> None:
    env = make()
    env.reset(seed=0)
    for _ in range(3):
        env.step("done")
    for _ in range(3):
        env.step(None)
    assert env.agents == []
    assert list(env.agent_iter()) == []
    for use in (env.last, lambda: env.step(None), lambda: env.step("done")):
        with pytest.raises(AttributeError, match=r"after the end of an episode: call reset\(\) first"):
            use()
    env.reset(seed=1)
    assert env.last()[0]["role"] == "maker"


def test_a_loop_that_never_steps_is_an_error_in_the_wrapper_of_farama() -> None:
    env: Any = OrderEnforcingWrapper(bare())
    env.reset(seed=0)
    agents = iter(env.agent_iter())
    with pytest.raises(AssertionError, match=r"need to call step\(\)"):
        list(agents)


def test_an_unknown_attribute_is_named() -> None:
    with pytest.raises(AttributeError, match="PipelineEnv has no attribute 'rewad'"):
        _ = bare().rewad


class Counting(FakeBackend):
    closed = 0

    def close(self) -> None:
        self.closed += 1
        super().close()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """The backends that ``envs.make`` builds from now on, without isolation."""
    made: list[Counting] = []
    build = conf.build

    def instead(package: str, node: Any, **parts: Any) -> Any:
        if package != "sandbox":
            return build(package, node, **parts)
        made.append(Counting())
        return made[-1]

    monkeypatch.setattr(conf, "build", instead)
    return made


def test_close_closes_the_sandbox_and_the_backend_that_make_opened(built: list[Counting]) -> None:
    env = envs.make("mathchat", sandbox="local")
    env.reset(seed=0)
    env.step("A plan.")
    env.step(program("print(1)"))
    env.close()
    env.close()
    assert built[0].closed == 1
    assert built[0].opened[0].closed
    with pytest.raises(RuntimeError, match="the environment is closed; make another one"):
        env.reset()
    with pytest.raises(RuntimeError, match="the environment is closed; make another one"):
        env.step("A plan.")


def test_an_environment_that_is_forgotten_closes_what_make_opened(built: list[Counting]) -> None:
    env = envs.make("mathchat", sandbox="local")
    gone = weakref.ref(env)
    del env
    gc.collect()
    assert gone() is None
    assert built[0].closed == 1


def test_a_backend_that_was_given_stays_open() -> None:
    backend = Counting()
    env = envs.make("mathchat", sandbox=backend)
    env.reset(seed=0)
    env.close()
    assert backend.closed == 0
    with pytest.raises(RuntimeError, match="the environment is closed"):
        env.reset(seed=0)


def test_an_environment_that_was_not_made_by_make_can_be_reset_after_close() -> None:
    env = bare()
    env.reset(seed=0)
    env.close()
    env.reset(seed=0)
    assert env.last()[0]["role"] == "maker"


def test_close_ends_the_process_that_compares_answers() -> None:
    env = envs.make("mathchat", sandbox=FakeBackend())
    task = replace(env.scenario.tasks("train")[0], answer=("x^2 + 1",))
    env.reset(seed=0, options={"task": task})
    for action in ("A plan.", "done", r"\boxed{1 + x^2}"):
        env.step(action)
    assert env.outcome.success
    assert isinstance(env.scenario, MathChat)
    assert env.scenario.checker.running
    env.close()
    assert not env.scenario.checker.running


def test_an_environment_that_cannot_be_made_leaves_nothing_open(built: list[Counting]) -> None:
    with pytest.raises(conf.ConfigError, match="render_mode"):
        envs.make("mathchat", sandbox="local", render_mode="human")
    gc.collect()
    assert built[0].closed == 1


def test_nothing_that_make_opens_is_left_to_the_garbage_collector() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)  # printed as "Exception ignored", with this hook:
        with pytest.MonkeyPatch.context() as patch:
            left: list[object] = []
            patch.setattr(sys, "unraisablehook", left.append)
            env = envs.make("mathchat", sandbox="local")
            env.reset(seed=0)
            env.step("A plan.")
            env.step(program("print(1)"))
            env.close()
            del env
            gc.collect()
    assert left == []
