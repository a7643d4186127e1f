"""Chooses who reads a trace: by the name of its format, or by what its content begins with.

A format is a module that returns each episode as a row of our own format (``coaches.episodes``), so that what
is scored, written and shown afterwards does not depend on where it came from. What a trace does not have is
left out of the row and named in ``row["missing"]``; nothing is made up in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from coaches import episodes
from coaches.episodes import RecordedEpisode
from coaches.recording.fields import BadRowError
from coaches.traces import atif, files, inspect_logs, otlp, who_and_when
from conf import ConfigError
from conf.counts import plural
from envs.types import Role

OWN = "coachgym"
"""Our own format, also as other systems write it."""
MISSING = "missing"
"""The key of a row that lists what its trace does not have."""
Pair = tuple[dict[str, Any], RecordedEpisode]


class Format(Protocol):
    """What the module of a format has."""

    ABSENT: str
    """What no trace of this format has; "" if nothing is always absent."""

    def recognises(self, start: str) -> bool:
        """Returns whether a file that begins with ``start`` is of this format."""
        ...

    def rows(self, path: Path) -> Iterator[tuple[str, dict[str, Any] | BadRowError]]:
        """Yields the place of every episode, with the file, and its row or what is wrong with it.

        ``path``: a file or a folder of files.

        Raises:
            ConfigError: it cannot be read.
        """
        ...


FORMATS: Mapping[str, Format] = {
    "atif": atif,
    "inspect": inspect_logs,
    "otlp": otlp,
    "who_and_when": who_and_when,
}


def chosen(path: Path, name: str | None) -> str:
    """Returns the format called ``name``, or the one of ``path`` if that is None.

    Raises:
        ConfigError: there is no such format.
    """
    known = (OWN, *FORMATS)
    if name is not None and name not in known:
        raise ConfigError(f"format must be one of {', '.join(known)}, not {name!r}")
    return name or _recognised(path)


def read_all(
    path: Path, format: str, *, roles: Sequence[Role] | None, skip_bad: bool
) -> tuple[list[Pair], list[str]]:
    """Returns every episode of ``path`` with its row, and a message for each one that was left out.

    Raises:
        ConfigError: the trace cannot be read, or a part of it is invalid and ``skip_bad`` is false.
    """
    if format == OWN:
        return episodes.read_all([path], roles=roles, skip_bad=skip_bad)
    pairs, bad = list[Pair](), list[str]()
    for place, row in FORMATS[format].rows(path):
        try:
            if isinstance(row, BadRowError):
                raise row
            pairs.append((row, episodes.episode(row, roles=roles)))
        except (BadRowError, ValueError) as error:
            bad.append(f"{place}: {error}")
    if bad and not skip_bad:
        raise ConfigError(f"{bad[0]} (--skip-bad leaves out such records: {len(bad)})")
    return pairs, bad


def told(format: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields lines that say how a trace was read, and what it does not have; none for our own format."""
    if format == OWN:
        return
    absent = FORMATS[format].ABSENT
    yield f"read as format={format}" + (f", which has no {absent}" if absent else "")
    missing = Counter(what for row in rows for what in row.get(MISSING, ()))
    for what, count in missing.items():
        yield f"missing in {count} of {plural(len(rows), 'episode')}: {what}"


def _recognised(path: Path) -> str:
    if path.is_dir() and (path / episodes.FILE).is_file():
        return OWN
    first = next(iter(files.of(path, (*files.JSON, *inspect_logs.NAMES))), None)
    start = "" if first is None else files.start(first)
    return next((name for name, one in FORMATS.items() if one.recognises(start)), OWN)
