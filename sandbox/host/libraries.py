"""The libraries that programs can import: those of every sandbox, and those that an environment adds."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache

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


def installed(requirements: Sequence[str] = ()) -> dict[str, str]:
    """Returns name -> installed version, of ``requirements`` and of the standard libraries that are
    installed.

    Raises:
        SandboxError: one of ``requirements`` is missing, or installed in another version.
    """
    versions = {}
    for name in (*STANDARD, *map(name_of, requirements)):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if lacking := missing(requirements, versions):
        raise SandboxError(f"libraries are missing here: `pip install {shlex.join(lacking)}`")
    return versions


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
