"""Whether our packages are ours: Python looks in the current folder first, and their names are common."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("conf", "sandbox", "envs", "coaches", "learners", "benchmarks")
"""Each may import those to its left."""


def require_siblings(package: str) -> None:
    """Checks that what ``package`` may import are our packages.

    Raises:
        ImportError: another module of that name is found first. ``name`` is ``package``: then ``python -m``
            prints one line.
    """
    root = Path(__file__).resolve().parents[1]
    for name in PACKAGES[: PACKAGES.index(package)]:
        spec = find_spec(name)
        for place in (spec and (spec.submodule_search_locations or [spec.origin or ""])) or ():
            if Path(place).resolve().parent != root:
                raise ImportError(
                    f"{place} is found before coachgym's own {name}, in {root}:"
                    " rename it, or run the command in another folder",
                    name=package,
                )
