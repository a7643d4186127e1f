"""The libraries that programs can import: those of every sandbox, those that an environment adds, and what
these require. Nothing else that is installed is visible to programs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shlex
import site
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from sandbox.base import SandboxError

STANDARD = ("numpy", "pandas", "scipy", "scikit-learn", "joblib", "sympy")
"""The libraries of every sandbox."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9])(?:==([A-Za-z0-9.+!]+))?")

_NO_PACKAGES = frozenset(("docs", "examples", "test", "tests"))
"""Folders that some libraries install beside their packages."""


def name_of(requirement: str) -> str:
    """Returns the normalized name: ``LightGBM==4.6.0`` -> ``lightgbm``. Raises ``SandboxError`` for anything
    but a name, pinned or not."""
    match = _REQUIREMENT.fullmatch(requirement)
    if not match:
        raise SandboxError(f"{requirement!r} is not a library: expected a name, or name==version")
    return re.sub(r"[-_.]+", "-", match[1]).lower()


@dataclass(frozen=True)
class Library:
    """An installed library."""

    name: str
    version: str
    root: str
    """The folder from which its modules are imported."""
    paths: tuple[str, ...]
    """Its files, and its folders that belong to it alone: what of it a sandbox shows."""


@cache
def closure(requirements: tuple[str, ...] = ()) -> tuple[Library, ...]:
    """Returns, sorted by name, the standard libraries that are installed here, ``requirements``, and all that
    these require in this environment, but no optional dependencies.

    Raises:
        SandboxError: one of ``requirements`` is missing, or installed in another version.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    todo = [(name, frozenset[str]()) for name in (*STANDARD, *map(name_of, requirements))]
    for name, extras in todo:  # grows while it is read
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # what really needs it says so when it is imported
        todo += [each for each in _required(found[name], extras) if each not in todo]
    if lacking := missing(requirements, {name: each.version for name, each in found.items()}):
        raise SandboxError(f"libraries are missing here: `pip install {shlex.join(lacking)}`")
    return tuple(_library(name, found[name]) for name in sorted(found))


def installed(requirements: Sequence[str] = ()) -> dict[str, str]:
    """Returns name -> version of the ``closure``. Raises ``SandboxError`` as that does."""
    return {library.name: library.version for library in closure(tuple(requirements))}


def paths_of(libraries: Iterable[Library]) -> list[str]:
    """Returns everything that a sandbox shows of libraries."""
    return sorted({path for library in libraries for path in library.paths})


def search_path(libraries: Iterable[Library]) -> list[str]:
    """Returns the folders of libraries in which Python does not look by itself, such as those that a ``.pth``
    file or ``PYTHONPATH`` names."""
    known = {*site.getsitepackages(), site.getusersitepackages()}
    return sorted({library.root for library in libraries if library.root not in known})


def _required(
    distribution: importlib.metadata.Distribution, extras: frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yields what a library requires in this environment when installed with ``extras``: name, extras."""
    for text in distribution.requires or ():
        try:
            each = Requirement(text)
        except InvalidRequirement:
            continue
        marker = each.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *sorted(extras))):
            yield re.sub(r"[-_.]+", "-", each.name).lower(), frozenset(each.extras)


def _library(name: str, distribution: importlib.metadata.Distribution) -> Library:
    root = Path(str(distribution.locate_file("")))
    files = [
        file.parts for file in distribution.files or () if ".." not in file.parts and file.suffix != ".pth"
    ]
    paths = {str(root.joinpath(*parts)) for parts in _owned(files)}
    if _is_editable(distribution) or not files:
        places = [place for module in _modules(name, distribution) for place in _find(module)]
        paths |= set(places)
        root = Path(places[0]).parent if places else root
    shown = tuple(sorted(path for path in paths if Path(path).exists()))
    return Library(name, distribution.version, str(root), shown)


def _owned(files: Iterable[tuple[str, ...]], depth: int = 0) -> Iterator[tuple[str, ...]]:
    """Yields the paths of ``files``, or instead the folder of a regular package or of metadata that contains
    them: other libraries may have files in any other folder."""
    folders: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for parts in files:
        if len(parts) == depth + 1:
            yield parts
        else:
            folders.setdefault(parts[: depth + 1], []).append(parts)
    for folder, inside in folders.items():
        if (*folder, "__init__.py") in inside or folder[-1].endswith((".dist-info", ".egg-info")):
            yield folder
        else:
            yield from _owned(inside, depth + 1)


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(origin.get("dir_info", {}).get("editable"))


def _modules(name: str, distribution: importlib.metadata.Distribution) -> list[str]:
    """Returns the names under which a library is imported whose files are not listed."""
    return (distribution.read_text("top_level.txt") or name.replace("-", "_")).split()


def _find(module: str) -> list[str]:
    """Returns the folders or the file of a module, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return []
    return [*spec.submodule_search_locations] if spec.submodule_search_locations else [str(spec.origin)]


def packages(requirements: Sequence[str]) -> tuple[str, ...]:
    """Returns the packages of ``requirements``, as programs import them: those of their files where they are
    installed here, and a name like the library's own."""
    return tuple(sorted({each for name in map(name_of, requirements) for each in _packages(name)}))


@cache
def _packages(name: str) -> frozenset[str]:
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}
    known = found - _NO_PACKAGES | {name.replace("-", "_")}
    return frozenset(each for each in known if each.isidentifier())


def missing(requirements: Sequence[str], versions: Mapping[str, str]) -> list[str]:
    """Returns the ``requirements`` that ``versions``, name -> version, does not satisfy."""
    pins = {each: each.partition("==")[2] for each in requirements}
    return [
        each
        for each, pin in pins.items()
        if name_of(each) not in versions or (pin and versions[name_of(each)] != pin)
    ]
