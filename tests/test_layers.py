"""Imports go one way, without cycles, and outside packages are imported only in the files named here.

Every import counts: at any depth, in functions, and under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import envs

ROOT = Path(__file__).parents[1]
ORDER = ["sandbox", "envs", "coaches", "learners", "benchmarks"]
"""Each package may import those before it; all may import ``conf``, which imports none of them."""
LEARNERS = [
    {"types", "errors", "config", "seeds"},
    {"base"},
    {"policy"},
    {"algorithms"},
    {"models"},
    {"rollout"},
    {"update"},
    {"weights"},
    {"generators"},
    {"runtimes"},
    {"report"},
    {"traces"},
    {"run"},
    {"planning"},
]
"""The layers of ``learners``: each may import itself and those before it. Every other module directly in
``learners``, an algorithm or a command, is above all of them."""
ONLY_IN = {
    # A benchmark of updates cannot start other trainers, or make the model they share, without these.
    "torch": ("learners/", "benchmarks/update/", "benchmarks/gpu/", "benchmarks/plan/"),
    "transformers": ("learners/", "benchmarks/update/", "benchmarks/gpu/", "benchmarks/plan/"),
    "trl": ("benchmarks/update/trl.py",),
    "safetensors": ("learners/",),
    "peft": ("learners/",),
    "gguf": ("learners/models/",),
    "vllm": ("learners/generators/vllm/engine.py",),
    "ray": ("learners/runtimes/ray.py",),
    "wandb": ("learners/run/trackers/weights_and_biases.py",),
    "tensorboard": ("learners/run/trackers/event_files.py",),
    "opentelemetry": ("learners/traces/",),
    "inspect_ai": ("coaches/traces/inspect_logs.py",),
    "hydra": ("conf/commands.py",),
    "docker": ("sandbox/host/daemon.py", "sandbox/image.py"),
    "tenacity": ("coaches/client/",),
    "openai": ("coaches/client/session.py",),
    "omegaconf": ("conf/", "learners/", "envs/dsbench/spec.py"),
}
"""The files or folders in which an outside package may be imported."""
ON_DEMAND = {"docker.py", "daemon.py", "image.py", "main.py", "build_tables.py"}
"""Files imported by name when a configuration asks for them, or run as programs of their own."""


def sources() -> list[Path]:
    """Returns every Python file of ours that ships."""
    return [path for package in [*ORDER, "conf"] for path in sorted((ROOT / package).rglob("*.py"))]


def module(path: str) -> str:
    """Returns the dotted name of the module in ``path``, which is relative to the repository."""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imported(source: str) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Yields (line, module, names taken from it) of every import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield node.lineno, "." * node.level + (node.module or ""), names


def layer(name: str) -> int:
    """Returns the layer of a module of ``learners``, from 0 at the bottom."""
    part = name.split(".")[1] if "." in name else "types"  # the package's own __init__ is empty
    return next((i for i, names in enumerate(LEARNERS) if part in names), len(LEARNERS))


def complaints(path: str, source: str) -> list[str]:
    """Returns what is wrong with the imports of the file at ``path``, which is relative to the repository."""
    package, wrong = path.split("/")[0], []
    for line, name, taken in imported(source):
        target = name.split(".")[0]
        if name.startswith("."):
            wrong.append(f"{path}:{line} imports relatively, which hides the direction of the import")
        elif target in ORDER and (package == "conf" or ORDER.index(target) > ORDER.index(package)):
            wrong.append(f"{path}:{line} imports {target}, which is above {package}")
        elif target in ("tests", "setuptools"):
            wrong.append(f"{path}:{line} imports {target}, which does not ship")
        elif target in ONLY_IN and not path.startswith(ONLY_IN[target]):
            wrong.append(f"{path}:{line} imports {target}, which belongs in {' or '.join(ONLY_IN[target])}")
        elif target == package == "learners":
            for one in [f"{name}.{part}" for part in taken] if name == "learners" else [name]:
                if layer(one) > layer(module(path)):
                    wrong.append(f"{path}:{line} imports {one}, which is in a layer above")
    return wrong


def graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Returns which modules each module imports, of the sources in ``files`` by path.

    ``from package import module`` is an import of the module, not of the package's ``__init__``.
    """
    modules = {module(path): source for path, source in files.items()}
    edges: dict[str, set[str]] = {name: set() for name in modules}
    for name, source in modules.items():
        for _, target, taken in imported(source):
            submodules = {f"{target}.{part}" for part in taken} & modules.keys()
            itself = {target} & modules.keys() if len(submodules) < max(1, len(taken)) else set()
            edges[name] |= (submodules | itself) - {name}
    return edges


def cycle(files: Mapping[str, str]) -> list[str]:
    """Returns the modules of one import cycle, the first one again at the end; empty if there is none."""
    try:
        TopologicalSorter(graph(files)).prepare()
    except CycleError as error:
        names: list[str] = error.args[1]
        return names
    return []


@pytest.mark.parametrize("path", [str(path.relative_to(ROOT)) for path in sources()])
def test_imports_go_one_way_and_outside_packages_stay_in_their_files(path: str) -> None:
    assert complaints(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_no_modules_import_each_other_in_a_cycle() -> None:
    files = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sources()}
    assert cycle(files) == []


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
        ("learners/base.py", "if TYPE_CHECKING:\n    from learners.rollout.worker import LocalRolloutWorker"),
        ("learners/types.py", "from learners import base"),
        ("learners/update/updater.py", "from learners.weights.base import fingerprint"),
        ("learners/runtimes/ray.py", "def late():\n    import learners.run.build"),
        ("learners/run/trainer.py", "from learners import plan"),
        ("learners/algorithms/losses.py", "from learners.grpo import Grpo"),
    ],
)
def test_the_test_itself_sees_an_import_in_the_wrong_direction(path: str, source: str) -> None:
    assert len(complaints(path, source)) == 1


@pytest.mark.parametrize(
    "sources",
    [
        ("from envs import b", "import envs.a"),
        ("from envs.b import B", "if TYPE_CHECKING:\n    from envs.a import A"),
        ("import envs.b", "def late():\n    from envs import a"),
    ],
)
def test_the_test_itself_sees_a_cycle(sources: tuple[str, str]) -> None:
    files = dict(zip(("envs/a.py", "envs/b.py"), sources, strict=True)) | {"envs/__init__.py": ""}
    assert sorted(set(cycle(files))) == ["envs.a", "envs.b"]
    assert cycle(files | {"envs/b.py": ""}) == []


def test_a_package_that_imports_its_own_modules_is_no_cycle_unless_they_import_it_back() -> None:
    files = {
        "envs/__init__.py": "from envs.a import make",
        "envs/a.py": "from envs import b",
        "envs/b.py": "",
    }
    assert cycle(files) == []
    assert cycle(files | {"envs/b.py": "from envs import make"}) != []


def fresh(code: str, *, path: list[Path], folder: Path) -> str:
    """Returns what ``code`` prints in a fresh interpreter that looks for modules in ``path`` first."""
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
        "import learners.runtimes.ray\n"
        "from learners.runtimes.distributed import coach, engines, rollout_workers\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    assert fresh(code, path=[ROOT], folder=tmp_path) == "[]"


def test_the_envs_package_under_test_is_ours() -> None:
    assert Path(envs.__file__) == ROOT / "envs" / "__init__.py"


def test_an_installed_package_called_envs_does_not_shadow_ours(tmp_path: Path) -> None:
    """PyPI has one. It would shadow an editable install, but not ``python -m`` run in the checkout."""
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
