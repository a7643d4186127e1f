"""Both bundled environments satisfy PettingZoo's contract and ours, with and without coach, in a real
sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import conf
import envs
from coaches.reward import CoachReward
from envs import contract
from sandbox.base import Backend


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    built: Backend = conf.build("sandbox", conf.load("sandbox", "local"))
    yield built
    built.close()


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", ["bare", "blocking", "deferred"])
@pytest.mark.parametrize("name", ["dsbench", "mathchat"])
def test_the_environment_satisfies_the_contract(name: str, wrapped: str, backend: Backend) -> None:
    def make() -> Any:
        env = envs.make(name, sandbox=backend, preload=[])
        if wrapped == "bare":
            return env
        coach = conf.build("coaches", conf.load("coach", "rules"))
        return CoachReward(env, coach, deferred=wrapped == "deferred")

    contract.check(make, num_cycles=40)
