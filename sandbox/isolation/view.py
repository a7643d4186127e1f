"""What a guest can see of this machine: a Python installation, some devices, an empty work folder, and
nothing else."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

OURS = ("sandbox", "envs", "coaches", "learners", "benchmarks", "conf", "tests")
"""Packages that no guest can see, also where they are installed: they contain answers."""
WORK = "/episode"
"""Where a guest with a root of its own works: no installation of Python lies below this name."""
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")
"""Without /dev/zero: mapping it makes memory that nothing bounds."""


def visible() -> list[str]:
    """Returns the files and folders that Python needs to run and to import what is installed."""
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
    paths |= {path for path in sys.path if path == site.getusersitepackages()}
    paths |= {sys.executable, os.path.realpath(sys.executable), f"{sys.prefix}/pyvenv.cfg"}
    paths |= {str(path) for path in Path(sys.base_prefix, "lib").glob("libpython*")}
    paths |= {
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
        "/etc/localtime",
        "/etc/ld.so.cache",
    }
    return sorted(path for path in paths if os.path.exists(path))


def hidden() -> list[str]:
    """Returns the folders of our own packages, which may lie below ``visible`` ones."""
    roots = {*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[2])}
    return sorted(path for root in roots for name in OURS if os.path.isdir(path := f"{root}/{name}"))


def shown() -> dict[str, str | None]:
    """Returns the content of a guest's own root: path -> None or, for a link, its target, which is included
    too."""
    entries: dict[str, str | None] = {}
    for path in visible():
        while not _covering(entries, path):
            entries[path] = os.readlink(path) if os.path.islink(path) else None
            path = os.path.normpath(os.path.join(os.path.dirname(path), entries[path] or path))
    return {path: link for path, link in entries.items() if not _covering(entries, os.path.dirname(path))}


def masked() -> list[str]:
    """Returns the ``hidden`` folders that ``shown`` would expose, each by a path without links."""
    entries, paths = shown(), hidden()
    places = {_place(entries, path) for path in (*paths, *map(os.path.realpath, paths))}
    return sorted(place for place in places if place)


def _covering(entries: Mapping[str, str | None], path: str) -> str | None:
    """Returns the entry that exposes ``path``: itself, or a folder above it."""
    return next((part for part in (path, *map(str, Path(path).parents)) if part in entries), None)


def _place(entries: Mapping[str, str | None], path: str) -> str | None:
    """Returns where ``path`` lies in a root with ``entries``; None where it does not, or behind another
    link."""
    covering = _covering(entries, path)
    if covering is None:
        return None
    link, rest = entries[covering], path[len(covering) :]
    if link is not None:
        return _place(entries, os.path.normpath(os.path.join(os.path.dirname(covering), link)) + rest)
    return path if os.path.realpath(path) == os.path.realpath(covering) + rest else None


def without(path: str, excluded: list[str]) -> Iterator[str]:
    """Yields ``path``, or instead its contents, so that nothing in ``excluded`` lies below a yielded path."""
    if path in excluded:
        return
    if any(other.startswith(path + "/") for other in excluded):
        for name in os.listdir(path):
            yield from without(f"{path}/{name}", excluded)
    else:
        yield path


def temporary() -> str:
    """Returns the guest's folder for temporary files: /tmp, unless Python itself is installed below it."""
    return WORK if any(path.startswith("/tmp/") for path in visible()) else "/tmp"
