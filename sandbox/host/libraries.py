"""Which libraries code in a sandbox finds: those of every sandbox, and those that an environment adds."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
from collections.abc import Mapping, Sequence

from sandbox.base import SandboxError

STANDARD = ("numpy", "pandas", "scipy", "scikit-learn", "joblib", "sympy")
"""Of every sandbox."""
_REQUIREMENT = re.compile(r"([A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9])(?:==([A-Za-z0-9.+!]+))?")


def name_of(requirement: str) -> str:
    """``LightGBM==4.6.0`` -> ``lightgbm``. Raises ``SandboxError`` where it is no name, pinned or not."""
    found = _REQUIREMENT.fullmatch(requirement)
    if not found:
        raise SandboxError(f"{requirement!r} is no library: write its name, or name==version")
    return re.sub(r"[-_.]+", "-", found[1]).lower()


def installed(requirements: Sequence[str] = ()) -> dict[str, str]:
    """Name -> version here, of the standard ones that are here and of ``requirements``.

    Raises:
        SandboxError: one of ``requirements`` is not here, or in another version.
    """
    found = {}
    for name in (*STANDARD, *map(name_of, requirements)):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if lacking := missing(requirements, found):
        raise SandboxError(f"libraries are missing here: `pip install {shlex.join(lacking)}`")
    return found


def missing(requirements: Sequence[str], versions: Mapping[str, str]) -> list[str]:
    """Those of ``requirements`` that are not among ``versions``, name -> version."""
    pins = {each: each.partition("==")[2] for each in requirements}
    return [
        each
        for each, pin in pins.items()
        if name_of(each) not in versions or (pin and versions[name_of(each)] != pin)
    ]
