"""Which coachgym this is: its version, and the commit of the checkout that it runs from."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_TIMEOUT = 30
"""Seconds for a command of git, which can be slow on a network drive."""


@dataclass(frozen=True)
class Revision:
    """The version of the package and the state of its checkout."""

    version: str | None
    """None: it is not installed, as where its folder is on ``PYTHONPATH``."""
    commit: str | None
    """40 hexadecimal digits; None: it does not run from a git checkout, or there is no git."""
    dirty: bool | None
    """Whether files that git tracks differ from the commit; None where ``commit`` is."""

    @property
    def short(self) -> str:
        """The first 12 digits of the commit, with ``-dirty`` if files have changed; "" without a commit."""
        return f"{self.commit[:12]}{'-dirty' if self.dirty else ''}" if self.commit else ""


@cache
def revision() -> Revision:
    """Returns what this process runs, as it was when first asked."""
    try:
        installed = version("coachgym")
    except PackageNotFoundError:
        installed = None
    return Revision(installed, *checkout(_ROOT))


def checkout(root: Path) -> tuple[str | None, bool | None]:
    """Returns the commit of the checkout whose top folder is ``root``, and whether it is dirty; (None, None)
    if ``root`` is no such folder: a package installed within somebody else's repository is not of that
    commit."""
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root.resolve():
        return None, None
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return (None, None) if commit is None or changed is None else (commit, bool(changed))


def _git(root: Path, *words: str) -> str | None:
    """Returns what a command of git prints, or None if it fails. It takes no locks, and is told of ``root``
    alone, also within a hook, whose variables name another repository."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=root,
            env=own,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
