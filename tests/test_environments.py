"""Every environment keeps PettingZoo's contract, Gymnasium's and ours, in every context, style and session,
and in every wrapper."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any

import pytest
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]
from pettingzoo.utils import (  # type: ignore[import-untyped]
    OrderEnforcingWrapper,
    turn_based_aec_to_parallel,
)

import conf
import envs
from coaches.reward import CoachReward
from envs import contract
from envs.base import Scenario
from envs.pipeline import PipelineEnv
from sandbox.base import Backend
from tests.fakes import EchoBackend, FakeScenario


def coached(env: Any, name: str = "rules", *, deferred: bool = False) -> CoachReward:
    return CoachReward(env, conf.build("coaches", conf.load("coach", name)), deferred=deferred)


WRAPPERS: dict[str, Callable[[PipelineEnv], Any]] = {
    "bare": lambda env: env,
    "ordered": OrderEnforcingWrapper,
    "coach": coached,
    "deferred coach": lambda env: coached(env, deferred=True),
    "ordered coach": lambda env: OrderEnforcingWrapper(coached(env)),
    "coach of the ordered": lambda env: coached(OrderEnforcingWrapper(env)),
}
SETTINGS = list(product(["full", "previous"], ["compact", "full"], ["fresh", "role"]))


@cache
def built(name: str) -> Any:
    """Built once: to read the tables of dsbench takes a second."""
    return FakeScenario() if name == "fake" else conf.build("envs", conf.load("env", name))


def scenario(name: str, **settings: str) -> Scenario:
    changed: Scenario = copy.copy(built(name))
    for key, value in settings.items():
        setattr(changed, key, value)
    return changed


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(("context", "style", "session"), SETTINGS)
@pytest.mark.parametrize("name", ["fake", *conf.names("env")])
def test_the_environment_keeps_the_contract(
    name: str, context: str, style: str, session: str, wrapper: str
) -> None:
    played = scenario(name, context=context, style=style, session=session)
    contract.check(lambda: WRAPPERS[wrapper](PipelineEnv(played, EchoBackend())), num_cycles=20)


@pytest.mark.parametrize(("context", "style", "session"), SETTINGS)
@pytest.mark.parametrize("name", ["fake", *conf.names("env")])
def test_the_parallel_form_keeps_the_contract_of_pettingzoo(
    name: str, context: str, style: str, session: str
) -> None:
    played = scenario(name, context=context, style=style, session=session)
    env = turn_based_aec_to_parallel(OrderEnforcingWrapper(PipelineEnv(played, EchoBackend())))
    parallel_api_test(env, num_cycles=20)
    env.close()


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    opened: Backend = conf.build("sandbox", conf.load("sandbox", "local"))
    yield opened
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("session", ["fresh", "role"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", conf.names("env"))
def test_the_environment_keeps_the_contract_in_a_real_sandbox(
    name: str, wrapper: str, session: str, backend: Backend
) -> None:
    def make() -> Any:
        return WRAPPERS[wrapper](envs.make(name, sandbox=backend, preload=[], session=session))

    contract.check(make, num_cycles=40)
