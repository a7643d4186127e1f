"""The libraries of sandboxes, and errors for missing ones."""

from importlib.metadata import version

import pytest

import conf
import envs
from sandbox.base import Backend, SandboxError, SandboxSpec
from sandbox.host.libraries import installed, missing, packages
from tests.fakes import FakeBackend


def test_versions_are_compared_under_one_spelling_of_the_name() -> None:
    versions = {"scikit-learn": "1.9", "numpy": "2.3"}
    assert missing(["Scikit_Learn", "numpy==2.3"], versions) == []
    assert missing(["numpy==2.4", "lightgbm"], versions) == ["numpy==2.4", "lightgbm"]


def test_a_library_that_is_installed_is_added_and_another_is_refused_with_the_command() -> None:
    assert installed(("PyYAML",))["pyyaml"] == version("PyYAML")
    with pytest.raises(SandboxError, match=r"`pip install no-such-library numpy==0\.1`"):
        installed(("PyYAML", "no-such-library", "numpy==0.1"))


def test_the_packages_of_a_library_are_those_of_its_files() -> None:
    assert "yaml" in packages(["PyYAML==6.0"])
    assert packages(["no-such-library"]) == ("no_such_library",)
    assert "sklearn" in packages(["Scikit_Learn"])
    assert packages([]) == ()


def test_a_local_sandbox_has_the_libraries_of_its_spec_or_is_refused() -> None:
    backend: Backend = conf.build("sandbox", conf.load("sandbox", "local", allow_unisolated=True))
    try:
        with pytest.raises(SandboxError, match="pip install no-such-library"):
            backend.open(SandboxSpec(libraries=("no-such-library",)))
        box = backend.open(SandboxSpec(libraries=("PyYAML",)))
        assert box.run("import yaml; print(yaml.__version__)").stdout.strip() == backend.versions["pyyaml"]
        box.close()
    finally:
        backend.close()


@pytest.mark.parametrize("name", ["mathchat", "dsbench"])
def test_an_environment_s_libraries_reach_its_sandboxes(name: str) -> None:
    backend = FakeBackend()
    env = envs.make(name, sandbox=backend, libraries=["lightgbm==4.6.0"])
    assert env._spec.libraries == ("lightgbm==4.6.0",)
