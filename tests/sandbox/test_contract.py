"""Every backend against the contract. CI starts a Docker daemon, so that there nothing may be missing."""

from collections.abc import Iterator

import pytest

import conf
from sandbox import contract
from sandbox.base import Backend
from tests.sandbox.backends import or_skip

SETTINGS = {
    "namespaces": ("local", {"mode": "namespaces"}),
    "bwrap": ("local", {"mode": "bwrap"}),
    "landlock": ("local", {"mode": "landlock"}),
    "docker": ("docker", {}),
}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=getattr(pytest.mark, name)) for name in SETTINGS]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    name, settings = SETTINGS[request.param]
    built: Backend = or_skip(lambda: conf.build("sandbox", conf.load("sandbox", name, **settings)))
    yield built
    built.close()


@pytest.mark.parametrize("name", contract.CHECKS)
def test_it_holds(backend: Backend, name: str) -> None:
    contract.verify(name, backend)
