"""Programs see the libraries of their sandbox and what these require, and nothing else that is installed."""

import importlib.metadata
import json
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.base import Limits, SandboxSpec
from sandbox.host.libraries import closure
from sandbox.local import MODES, Local
from tests.sandbox.backends import local, or_skip

ROOT = Path(__file__).parents[3]
READABLE = """
import json, sys
def is_readable(path):
    try: return bool(open(path, "rb").read(1)) or True
    except OSError: return False
print(json.dumps([path for path in json.loads(open("paths").read()) if is_readable(path)]))
"""


@pytest.fixture(
    scope="module", params=[pytest.param(mode, marks=getattr(pytest.mark, mode)) for mode in MODES]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Local]:
    built = or_skip(lambda: local(mode=request.param))
    yield built
    built.close()


def some_files(names: set[str]) -> list[str]:
    """Returns some files of the installed distributions, with or without those called ``names``."""
    paths: list[str] = []
    for each in importlib.metadata.distributions():
        if each.name.lower().replace("_", "-") in names:
            paths += [str(each.locate_file(file)) for file in (each.files or ())[-3:]]
    return [path for path in map(str, map(Path.resolve, map(Path, paths))) if Path(path).is_file()]


def test_no_file_of_any_other_library_is_readable(backend: Local) -> None:
    shown = {library.name for library in closure()}
    every = {each.name.lower().replace("_", "-") for each in importlib.metadata.distributions()}
    box = backend.open(SandboxSpec())
    box.write("paths", json.dumps(some_files(every - shown)).encode())
    assert box.run(READABLE).stdout == "[]\n"
    wanted = [path for path in some_files(shown) if "site-packages" in path]
    box.write("paths", json.dumps(wanted).encode())
    assert json.loads(box.run(READABLE).stdout) == wanted
    box.close()


def test_another_library_is_missing_unless_the_environment_adds_it(backend: Local) -> None:
    code = "import yaml; print(yaml.safe_load('1'))"
    box = backend.open(SandboxSpec())
    result = box.run(code)
    assert "ModuleNotFoundError: No module named 'yaml'" in result.stderr, result
    box.close()
    added = backend.open(SandboxSpec(libraries=("PyYAML",)))
    assert added.run(code).stdout == "1\n"
    added.close()


@pytest.mark.slow
def test_every_library_can_be_imported_also_by_another_interpreter(backend: Local) -> None:
    names = ["numpy", "pandas", "scipy.stats", "sklearn.ensemble", "joblib", "sympy"]
    code = f"import {', '.join(names)}; print('all')"
    box = backend.open(SandboxSpec(limits=Limits(timeout=240)))
    assert box.run(code).stdout == "all\n"
    again = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {code!r}])"
    assert box.run(again).stdout == "all\n"
    box.close()


SCRIPT = """
import json, sys
import conf
from sandbox.base import SandboxError, SandboxSpec
for mode in ("namespaces", "bwrap", "landlock"):
    try:
        backend = conf.build("sandbox", conf.load("sandbox", "local", mode=mode))
    except SandboxError as error:
        print(mode, "refused", error)
        continue
    box = backend.open(SandboxSpec(("numpy",)))
    tried = box.run(f"import numpy, sklearn\\nopen({sys.argv[1]!r})")
    print(mode, tried.stderr.strip().splitlines()[-1].split(":")[0])
    backend.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("by", [".pth", "PYTHONPATH"])
def test_libraries_beside_the_interpreter_s_own_are_found_and_others_data_is_not(
    tmp_path: Path, by: str
) -> None:
    """An interpreter that reaches its libraries through a .pth file or PYTHONPATH, and has one more library,
    with data."""
    tmp_path.chmod(0o755)
    venv.create(tmp_path / "venv")
    [packages] = (tmp_path / "venv").glob("lib/python*/site-packages")
    [real] = {str(Path(library.root)) for library in closure() if library.name == "numpy"}
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    if by == ".pth":
        (packages / "more.pth").write_text(f"{real}\n")
    else:
        environment["PYTHONPATH"] += f":{real}"
    (packages / "thirdparty").mkdir()
    (packages / "thirdparty/__init__.py").touch()
    (packages / "thirdparty/answers.csv").write_text("id,answer\n1,42\n")
    (packages / "thirdparty-1.0.dist-info").mkdir()
    (packages / "thirdparty-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\n")
    answers = packages / "thirdparty/answers.csv"
    python = tmp_path / "venv/bin/python"
    done = subprocess.run(
        [python, "-c", SCRIPT, answers], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    outcomes = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(outcomes) == 3, done
    refused = {mode for mode, outcome in outcomes.items() if outcome.startswith("refused")}
    assert not [mode for mode in outcomes if mode not in refused and outcomes[mode] not in ERRORS], outcomes
    if refused:
        pytest.skip(f"not tried: {outcomes}")


ERRORS = ("FileNotFoundError", "PermissionError")


def test_the_folders_of_the_standard_library_can_be_listed(backend: Local) -> None:
    box = backend.open(SandboxSpec())
    code = "import os, pkgutil; print(len(os.listdir(os.path.dirname(os.__file__))) > 100)"
    assert box.run(code + "\nprint('json' in {each.name for each in pkgutil.iter_modules()})").stdout == (
        "True\nTrue\n"
    )
    box.close()
