"""The libraries of sandboxes, and errors for missing ones."""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import pytest

import conf
import envs
from sandbox.base import Backend, SandboxError, SandboxSpec
from sandbox.host.libraries import closure, installed, missing, packages, search_path
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


def install(folder: Path, name: str, requires: Sequence[str] = (), files: Sequence[str] = ()) -> None:
    """Installs a library that has these files."""
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir()
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    listed = [*files, f"{metadata.name}/METADATA", f"{metadata.name}/RECORD", "../../../bin/tool"]
    (metadata / "RECORD").write_text("".join(f"{file},,\n" for file in listed))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder from which libraries are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    closure.cache_clear()
    yield tmp_path
    closure.cache_clear()


def test_what_a_library_requires_here_is_visible_and_nothing_else(folder: Path) -> None:
    never = "; python_version < '3'"
    install(
        folder,
        "one",
        ["Two_X[fast]>=1", f"never{never}", "option; extra == 'all'", "absent"],
        ["one/__init__.py"],
    )
    install(folder, "two-x", ["one", "three; extra == 'fast'", "option; extra == 'slow'"], ["two.py"])
    install(folder, "three", [], ["shared/three/__init__.py", "shared/three.txt"])
    install(folder, "option", [], ["option/__init__.py"])
    install(folder, "never", [], ["shared/never/answers.csv"])
    added = {each.name: each for each in closure(("one",)) if each.root == str(folder)}
    assert {*added} == {"one", "two-x", "three"}
    relative = {
        name: [path.removeprefix(f"{folder}/") for path in each.paths] for name, each in added.items()
    }
    assert relative == {
        "one": ["one", "one-1.0.dist-info"],
        "two-x": ["two.py", "two_x-1.0.dist-info"],
        "three": ["shared/three", "shared/three.txt", "three-1.0.dist-info"],
    }
    assert installed(("one",))["three"] == "1.0"
    assert "one" not in installed()


def test_a_library_that_is_installed_for_editing_is_visible_where_it_is(folder: Path) -> None:
    install(folder, "edited", [], ["__editable__.edited.pth"])
    source = folder / "src/edited"
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    (folder / "edited-1.0.dist-info/direct_url.json").write_text(
        '{"dir_info": {"editable": true}, "url": ""}'
    )
    sys.path.append(str(folder / "src"))
    try:
        [edited] = [each for each in closure(("edited",)) if each.name == "edited"]
    finally:
        sys.path.remove(str(folder / "src"))
    assert edited.root == str(folder / "src")
    assert str(source) in edited.paths
    assert not [path for path in edited.paths if path.endswith(".pth")]
    assert edited.root in search_path([edited])


def test_the_closure_is_computed_once_for_all_sandboxes() -> None:
    assert closure() is closure()


@pytest.mark.parametrize("name", ["mathchat", "dsbench"])
def test_an_environment_s_libraries_reach_its_sandboxes(name: str) -> None:
    backend = FakeBackend()
    env = envs.make(name, sandbox=backend, libraries=["lightgbm==4.6.0"])
    assert env._spec.libraries == ("lightgbm==4.6.0",)
