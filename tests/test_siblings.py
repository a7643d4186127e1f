"""A folder of the user's own with the name of one of our packages is named in one line."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from conf import siblings

ROOT = Path(__file__).parents[1]


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in ``folder``, which Python searches for modules first."""
    code = f"import runpy, sys\nsys.path.insert(1, {str(ROOT)!r})\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("made", "command"),
    [
        ("envs/__init__.py", "learners.reinforcepp"),
        ("conf/__init__.py", "coaches.score"),
        ("conf.py", "benchmarks.sandbox"),
        ("sandbox/__init__.py", "learners.train"),
        ("coaches/__init__.py", "learners.export"),
    ],
)
def test_a_module_of_the_user_s_in_place_of_ours_is_one_line(tmp_path: Path, made: str, command: str) -> None:
    path = tmp_path / made
    path.parent.mkdir(exist_ok=True)
    path.touch()
    done = run(tmp_path, f"runpy._run_module_as_main({command!r})")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"{tmp_path}/{made.split('/')[0]}" in line
    assert "is found before coachgym's own" in line


def test_packages_that_are_not_needed_are_not_checked(tmp_path: Path) -> None:
    (tmp_path / "learners").mkdir()
    done = run(tmp_path, "import coaches\nprint(coaches.__file__)")
    assert done.stdout.strip() == str(ROOT / "coaches/__init__.py"), done


def test_a_folder_that_is_no_regular_package_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ours is installed for editing, such a folder comes first."""
    theirs = ModuleSpec("envs", None, is_package=True)
    theirs.submodule_search_locations = ["/home/someone/envs"]
    monkeypatch.setattr(siblings, "find_spec", lambda name: theirs if name == "envs" else None)
    siblings.require_siblings("envs")
    with pytest.raises(ImportError, match="/home/someone/envs is found before") as caught:
        siblings.require_siblings("coaches")
    assert caught.value.name == "coaches"
