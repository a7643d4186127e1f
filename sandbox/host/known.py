"""What is known of the files of a sandbox, by the hashes of their contents: nothing that did not change is
looked at again.

The hashes are those of listings, which the guest computes; no program can forge them. What the probe reports
is kept under the hash of what it read, and only if the listing has the same: a process may still run that
changes the file in between. A file without a hash, because it is too large or locked, is never known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sandbox.base import Sandbox


class Key(NamedTuple):
    """What the facts of a file depend on."""

    sha256: str
    name: str
    format: str
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a probe reports of one file.

    ``Report({"type": "Series", "rows": 30}, "9f86d0…", 240, 4096)``
    """

    facts: Mapping[str, Any]
    sha256: str = ""
    """Of what it read; "" if it did not say."""
    size: int = 0
    """Characters of its line with all names of columns."""
    limit: int = 0
    """Most characters of a line: a longer one came without these names."""

    def within(self, limit: int) -> Report | None:
        """Returns what a line of at most ``limit`` characters reports; None if this one left out more."""
        if self.limit < self.size <= limit:
            return None
        if self.size <= limit:
            return self
        facts = {name: value for name, value in self.facts.items() if name != "columns"}
        return Report(facts, self.sha256, self.size, limit)


@dataclass
class Known:
    """What is known of the files of one sandbox."""

    imports: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Hash of a pickle -> the names that it lists."""
    reports: dict[Key, Report] = field(default_factory=dict)
    has_probe: bool = True
    """Whether its guest has imported the probe, as far as is known."""

    def report(self, key: Key, limit: int) -> Report | None:
        """Returns what a line of at most ``limit`` characters reports of a file, if that is known."""
        report = self.reports.get(key)
        return report and report.within(limit)

    def keep(self, key: Key, report: Report) -> None:
        """Keeps a report, if it is about the content that ``key`` names."""
        if key.sha256 == report.sha256 != "":
            self.reports[key] = report


_KNOWN: WeakKeyDictionary[Sandbox, Known] = WeakKeyDictionary()


def known_of(sandbox: Sandbox) -> Known:
    """Returns what is known of the files of ``sandbox``; it is forgotten together with the sandbox."""
    return _KNOWN.setdefault(sandbox, Known())
