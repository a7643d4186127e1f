"""What a guest can see of this machine: a Python installation with some of its libraries, some devices, an
empty work folder, and nothing else. ``libraries`` are their files and folders, see
``sandbox.host.libraries``."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

OURS = ("sandbox", "envs", "coaches", "learners", "benchmarks", "conf", "tests")
"""Packages that no guest can see, also where they are installed: they contain answers."""
WORK = "/episode"
"""Where a guest with a root of its own works: no installation of Python lies below this name."""
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")
"""Without /dev/zero: mapping it makes memory that nothing bounds."""


def base() -> list[str]:
    """Returns the files and folders that Python needs to run, apart from ``hidden`` ones below them."""
    paths = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
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
    """Returns folders that may lie below visible ones: those of installed libraries, and our own packages."""
    roots = {*site.getsitepackages(), site.getusersitepackages(), str(Path(__file__).parents[2])}
    paths = {f"{root}/{name}" for root in roots for name in OURS}
    return sorted(filter(os.path.isdir, paths | _library_folders()))


def _library_folders() -> set[str]:
    """Returns the folders into which libraries are installed, of this Python and of others that it shows."""
    parents = {os.path.dirname(path) for path in site.getsitepackages()}
    parents |= {path for path in base() if os.path.isdir(path)}
    parents |= {str(path) for folder in ("/usr/lib", "/lib") for path in Path(folder).glob("python*")}
    found = {f"{parent}/{name}" for parent in parents for name in ("site-packages", "dist-packages")}
    return found | {*site.getsitepackages(), site.getusersitepackages()}


class View:
    """A root of a guest's own: what it has of this machine's files."""

    def __init__(self, libraries: Sequence[str] = ()) -> None:
        self.libraries = tuple(libraries)

    def shown(self) -> dict[str, str | None]:
        """Returns path -> None or, for a link, its target, which is included too. What is ``masked`` below
        these paths is not visible."""
        entries: dict[str, str | None] = {}
        for path in (*base(), *self.libraries):
            while not _covering(entries, path):
                entries[path] = os.readlink(path) if os.path.islink(path) else None
                path = os.path.normpath(os.path.join(os.path.dirname(path), entries[path] or path))
        return {path: link for path, link in entries.items() if not _covering(entries, os.path.dirname(path))}

    def masked(self) -> dict[str, list[str]]:
        """Returns the ``hidden`` folders that ``shown`` would expose, each by a path without links, and the
        libraries in it that remain visible."""
        entries, paths = self.shown(), hidden()
        places = {_place(entries, path) for path in (*paths, *map(os.path.realpath, paths))} - {None}
        inside = {path for each in self.libraries for path in (each, os.path.realpath(each))}
        return {
            place: sorted(path for path in inside if below(path, place))
            for place in sorted(filter(None, places))
            if not any(below(place, other) for other in filter(None, places))
        }

    def temporary(self) -> str:
        """Returns the folder for temporary files: /tmp, unless Python or a library is installed below it."""
        return WORK if any(path.startswith("/tmp/") for path in (*base(), *self.libraries)) else "/tmp"


def below(path: str, folder: str) -> bool:
    """Returns whether ``path`` lies below ``folder``."""
    return path.startswith(f"{folder}/")


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
