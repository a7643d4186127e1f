"""Checks of artifacts need not import their libraries each time."""

from __future__ import annotations

import pytest

import conf
from envs.pipeline import PipelineEnv
from envs.preloads import preload
from envs.types import Role
from sandbox.artifacts import ArtifactSpec, Kind
from tests.fakes import FakeBackend, FakeScenario, program


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("csv", (), ("pandas",)),
        ("table", ("numpy",), ("pandas", "numpy")),
        ("vector", ("numpy", "pandas"), ("numpy", "pandas")),
        ("estimator", (), ("pandas", "joblib", "sklearn")),
        ("json", (), ()),
        ("any", ("math", "print(1)"), ("math", "print(1)")),
    ],
)
def test_what_checks_the_artifacts_is_preloaded(
    kind: Kind, given: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    scenario = FakeScenario()
    scenario.preload = given
    scenario.roles = (Role("maker", "", 1, produces=(ArtifactSpec("a", kind),)),)
    assert preload(scenario) == expected
    backend = FakeBackend()
    env = PipelineEnv(scenario, backend)
    env.reset(seed=0)
    env.step(program("print(1)"))
    assert backend.opened[0].spec.preload == expected


def test_the_preloads_of_the_bundled_environments_are_as_written() -> None:
    for name in ("dsbench", "mathchat"):
        node = conf.load("env", name)
        assert preload(conf.build("envs", node)) == tuple(node.preload)
