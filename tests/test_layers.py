"""The house of DESIGN §2: arrows never turn back, and heavy or outside things stay in their one room."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import envs

ROOT = Path(__file__).parents[1]
ORDER = ["sandbox", "envs", "coaches", "learners", "benchmarks"]
"""Each may import those before it; all may import ``conf``, which imports none of them."""
ONLY_IN = {
    # A benchmark of updates cannot start other trainers, or make the model they share, without these.
    "torch": ("learners/", "benchmarks/update/"),
    "transformers": ("learners/", "benchmarks/update/"),
    "trl": ("benchmarks/update/trl.py",),
    "safetensors": ("learners/",),
    "peft": ("learners/",),
    "gguf": ("learners/models/",),
    "vllm": ("learners/generators/vllm/__init__.py",),
    "ray": ("learners/runtimes/ray.py",),
    "wandb": ("learners/run/report.py",),
    "hydra": ("conf/commands.py",),
    "docker": ("sandbox/host/daemon.py", "sandbox/image.py"),
    "openai": ("coaches/client/openai_client.py", "learners/generators/api.py"),
    "omegaconf": ("conf/", "learners/", "envs/dsbench/spec.py", "envs/dsbench/build_tables.py"),
}
"""Outside packages that have one room, by file or folder."""
ON_DEMAND = {"docker.py", "daemon.py", "image.py", "main.py", "build_tables.py"}
"""Files imported by name when a configuration asks for them, or run as programs of their own."""


def sources() -> list[Path]:
    """Every Python file of ours that ships."""
    return [path for package in [*ORDER, "conf"] for path in sorted((ROOT / package).rglob("*.py"))]


def imported(source: str) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that is imported, at any depth and under ``TYPE_CHECKING`` too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def complaints(path: str, source: str) -> list[str]:
    """What is wrong with the imports of the file at ``path``, a path within the repository."""
    package, found = path.split("/")[0], []
    for line, name in imported(source):
        target = name.split(".")[0]
        if name.startswith("."):
            found.append(f"{path}:{line} imports relatively, which hides where the arrow points")
        elif target in ORDER and (package == "conf" or ORDER.index(target) > ORDER.index(package)):
            found.append(f"{path}:{line} imports {target}: the arrow turns back")
        elif target in ("tests", "setuptools"):
            found.append(f"{path}:{line} imports {target}, which does not ship")
        elif target in ONLY_IN and not path.startswith(ONLY_IN[target]):
            found.append(f"{path}:{line} imports {target}, which belongs in {' or '.join(ONLY_IN[target])}")
    return found


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in sources()])
def test_no_arrow_turns_back_and_outside_packages_stay_in_their_rooms(path: str) -> None:
    assert complaints(path, (ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("sandbox/base.py", "import envs.types"),
        ("envs/types.py", "def late():\n    from coaches.base import Verdict"),
        ("coaches/rules.py", "if TYPE_CHECKING:\n    from learners import base"),
        ("conf/__init__.py", "import sandbox"),
        ("coaches/llm.py", "import torch.nn as nn"),
        ("learners/run/trainer.py", "from hydra import main"),
        ("envs/pipeline.py", "from . import actions"),
        ("benchmarks/report.py", "from tests.fakes import program"),
    ],
)
def test_the_test_itself_sees_an_arrow_that_turns(path: str, source: str) -> None:
    assert len(complaints(path, source)) == 1


def fresh(code: str, *, path: list[Path], folder: Path) -> str:
    """What ``code`` prints in a fresh interpreter that finds modules in ``path`` before all else."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {[str(p) for p in path]!r}\n{code}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_sandbox_envs_and_coaches_loads_no_torch(tmp_path: Path) -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources()
        if path.relative_to(ROOT).parts[0] in ("sandbox", "envs", "coaches") and path.name not in ON_DEMAND
    ]
    code = (
        f"import importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted({'torch', 'transformers', 'learners', 'hydra', 'docker', 'openai'} & set(sys.modules)))"
    )
    assert fresh(code, path=[ROOT], folder=tmp_path) == "[]"


def test_making_an_environment_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import envs\nfrom tests.fakes import FakeBackend\n"
        "envs.make('mathchat', sandbox=FakeBackend()).reset()\nprint('torch' in sys.modules)"
    )
    assert fresh(code, path=[ROOT], folder=tmp_path) == "False"


def test_a_process_that_plays_or_judges_for_a_run_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import learners.runtimes.ray, learners.runtimes.distributed.players, learners.runtimes.distributed.engines\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert fresh(code, path=[ROOT], folder=tmp_path) == "[]"


def test_the_envs_package_under_test_is_ours() -> None:
    assert Path(envs.__file__) == ROOT / "envs" / "__init__.py"


def test_an_installed_package_called_envs_does_not_shadow_ours(tmp_path: Path) -> None:
    """PyPI has one. An editable install alone would lose to it; ``python -m`` in the checkout does not."""
    site = tmp_path / "site-packages"
    (site / "envs").mkdir(parents=True)
    (site / "envs" / "__init__.py").write_text("raise ImportError('not this one')\n")
    show = "import envs; print(envs.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", show],
        cwd=ROOT,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == str(ROOT / "envs" / "__init__.py"), done.stderr
