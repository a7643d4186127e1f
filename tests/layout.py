"""Prints the size and shape of a checkout: ``python -m tests.layout [FOLDER]``, by default of this
checkout."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("sandbox", "envs", "coaches", "learners", "benchmarks", "conf")


def modules(root: Path) -> dict[str, Path]:
    """Every module of the packages in ``root``, by dotted name."""
    paths = (path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def imports(name: str, tree: ast.Module, known: Iterable[str]) -> set[str]:
    """The modules in ``known`` that module ``name`` imports, at any depth and under ``TYPE_CHECKING`` too."""
    names = set(known)
    targets: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names} & names
        elif isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & names
            from_package = len(submodules) < len(node.names) and node.module in names
            targets |= submodules | ({node.module} if from_package else set())
    return targets - {name}


def cycle(graph: Mapping[str, Iterable[str]]) -> Sequence[str]:
    """The modules of one import cycle, first and last the same; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        path: list[str] = error.args[1]
        return path
    return ()


def function_lengths(trees: Iterable[ast.Module]) -> list[int]:
    """Lines of every function and method, ascending; decorators not counted."""
    return sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def lines(paths: Iterable[Path]) -> int:
    """Lines of all files together, blank lines and comments included."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def report(root: Path) -> Iterator[tuple[str, str]]:
    """(what, value) of everything that is measured of the checkout at ``root``."""
    paths = modules(root)
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in paths.items()}
    folders = [path.parent for path in paths.values() if path.name != "__init__.py"]
    fullest = max(sorted(set(folders)), key=folders.count)
    lengths = function_lengths(trees.values())
    found = cycle({name: imports(name, tree, trees) for name, tree in trees.items()})
    yield "modules", str(len(paths))
    yield "modules in the fullest folder", f"{folders.count(fullest)} ({fullest.relative_to(root)})"
    yield "import cycle", " -> ".join(found) or "none"
    yield "functions", str(len(lengths))
    yield (
        "lines of a function: median, p90, max",
        ", ".join(str(lengths[round(share * (len(lengths) - 1))]) for share in (0.5, 0.9, 1.0)),
    )
    yield "lines of the longest file", str(max(lines([path]) for path in paths.values()))
    yield "lines of code", str(lines(paths.values()))
    yield "lines of tests", str(lines((root / "tests").rglob("*.py")))
    yield "words of the README", str(len((root / "README.md").read_text(encoding="utf-8").split()))


def main() -> None:
    """Prints the report of the folder that the command line names."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    for what, value in report(root.resolve()):
        print(f"{what:40} {value}")


if __name__ == "__main__":
    main()
