"""Landlock rules of guests. In mode ``landlock`` they are the only isolation of files and need no privilege:
they name what Python reads, and deny everything else. In the other modes they come on top."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from sandbox.guest.landlock import CHANGE, DEVICE, LIST, LOAD, READ, ruleset
from sandbox.isolation.view import DEVICES, WORK, base, below, hidden, without


def rules_in_root(temporary: str, processes: int) -> int:
    """Returns the Landlock ruleset of a guest in a root of its own, after ``mount_guest``. ``processes``: its
    rights to /proc.

    A program that could write there could make itself the last that the OOM killer takes.
    """
    return ruleset(
        {
            "/": LOAD,
            WORK: CHANGE,
            temporary: CHANGE,
            "/proc": processes,
            **dict.fromkeys(DEVICES, DEVICE),
        }
    )


def rules_on_host(work: str, libraries: tuple[str, ...], processes: bool) -> int:
    """Returns the Landlock ruleset of a guest that sees the machine's own files. ``processes``: it may read
    /proc."""
    rules = _installed(libraries) | {work: CHANGE, **dict.fromkeys(DEVICES, DEVICE)}
    return ruleset(rules | ({"/proc": READ | DEVICE} if processes else {}))


def hide_others(libraries: Sequence[str]) -> None:
    """Makes installed libraries other than ``libraries`` missing for imports in this process and its forks:
    Landlock does not hide that they exist, and a failing ``open`` is no ``ImportError``."""
    hiding = _Hiding(libraries)
    sys.meta_path[:] = [hiding if finder is PathFinder else finder for finder in sys.meta_path]


def shelve(libraries: Sequence[str], shelf: str) -> None:
    """Links ``libraries`` into the folder ``shelf``, from which other interpreters can import them: they may
    not list the folders in which these lie beside others, and search the shelf instead."""
    roots = set()
    for path in libraries:
        root = next((folder for folder in map(str, Path(path).parents) if folder in sys.path), None)
        if root is not None:
            roots.add(root)
            link = Path(shelf, os.path.relpath(path, root))
            link.parent.mkdir(exist_ok=True, parents=True)
            link.symlink_to(path)
    hide = f"import sys\nsys.path[:] = [path for path in sys.path if path not in {sorted(roots)}]\n"
    Path(shelf, "sitecustomize.py").write_text(hide, encoding="utf-8")


@cache
def _installed(libraries: tuple[str, ...]) -> dict[str, int]:
    """Returns the rights to Python and ``libraries``: what is hidden below a folder can be listed only."""
    places, excluded = [*map(os.path.realpath, base())], [*hidden(), *map(os.path.realpath, hidden())]
    parts = [part for path in places for part in without(path, excluded)]
    folders = filter(os.path.isdir, places)
    return dict.fromkeys(folders, LIST) | dict.fromkeys((*parts, *map(os.path.realpath, libraries)), LOAD)


class _Hiding:
    """Takes the place of ``PathFinder``: finds what it finds, except for modules that lie in a folder of
    libraries and belong to none of ``libraries``."""

    def __init__(self, libraries: Sequence[str]) -> None:
        self._visible, self._folders = tuple(libraries), hidden()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        places = (spec.submodule_search_locations or [spec.origin or ""]) if spec and path is None else ()
        return None if any(map(self._hides, places)) else spec

    def __getattr__(self, name: str) -> Any:
        return getattr(PathFinder, name)  # as importlib.metadata asks it for distributions

    def _hides(self, place: str) -> bool:
        if any(below(f"{place}/", path) or below(path, place) for path in self._visible):
            return False
        return any(below(place, folder) for folder in self._folders)
