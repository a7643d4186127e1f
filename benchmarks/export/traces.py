"""``--what otlp``: writes recorded episodes as OpenTelemetry spans, or sends them to an endpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.command import print_path, write_lines
from benchmarks.export.rows import in_phase
from conf import ConfigError
from conf.arguments import require_new
from conf.counts import plural
from conf.extras import require
from conf.tables import make_console
from learners.report.reading import Run, episodes_of
from learners.run.trackers import tracing

_ROWS = {"agent": None, "balance": False, "most": None, "min_score": None}
"""Options that choose rows, with what they are unless somebody gives them."""


def check(given: argparse.Namespace) -> None:
    """Checks the options that ``--what otlp`` has alone, and those that it does not have.

    Raises:
        ConfigError: one is wrong, or OpenTelemetry is not installed.
    """
    if given.what != "otlp":
        if given.endpoint is not None:
            raise ConfigError("--endpoint takes spans: add --what otlp")
        return
    if wrong := [name for name, default in _ROWS.items() if getattr(given, name) != default]:
        option = "--" + wrong[0].replace("_", "-")
        raise ConfigError(f"{option} chooses rows, and --what otlp has whole episodes: leave it out")
    if given.endpoint is not None and not tracing.is_address(given.endpoint):
        raise ConfigError(f"--endpoint must be an address as http://localhost:6006, not {given.endpoint!r}")
    require("--what otlp", *tracing.PACKAGES)


def export(given: argparse.Namespace, runs: Sequence[Run], path: Path) -> None:
    """Writes or sends the episodes that ``given`` asks for, and says how many.

    Raises:
        ConfigError: there are none, one is invalid, or they cannot be written or sent.
    """
    console, skipped = make_console(), list[str]()
    episodes = _Counted(given, runs, skipped if given.skip_bad else None)
    if given.endpoint is not None:
        where = _sent(given.endpoint, episodes)
    else:
        require_new(given.overwrite, path)
        write_lines(path, episodes.lines())
        where = "as OpenTelemetry spans"
    for line in skipped:
        print(f"left out: {line}", file=sys.stderr)
    console.print(f"{plural(episodes.count, 'episode')} {where}", highlight=False, soft_wrap=True)
    if given.endpoint is None:
        print_path(console, path)


class _Counted:
    """The spans of the episodes of some runs, one episode after the other."""

    def __init__(self, given: argparse.Namespace, runs: Sequence[Run], skipped: list[str] | None) -> None:
        self._given, self._runs, self._skipped = given, runs, skipped
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        from learners.traces.spans import spans

        for run in self._runs:
            origin = tracing.origin(run)
            for row, episode in episodes_of(run, skipped=self._skipped):
                succeeded = episode.outcome is not None and episode.outcome.success
                if in_phase(self._given.phase or "all", episode) and (succeeded or not self._given.succeeded):
                    self.count += 1
                    yield spans(origin, row, episode)
        if not self.count:
            raise ConfigError("there is nothing to export: no episode is left")

    def lines(self) -> Iterator[str]:
        from learners.traces.lines import line

        return map(line, self)


def _sent(endpoint: str, episodes: _Counted) -> str:
    """Sends the episodes one after the other, and returns where they are."""
    from learners.traces.endpoint import Sender

    sender = Sender(endpoint)
    try:
        for spans in episodes:
            if not sender.send(partial(list, spans)):
                taken = plural(episodes.count - 1, "episode")
                raise ConfigError(f"{sender.address} took {taken} and not the next: {sender.reason}")
    finally:
        sender.stop()
        sender.close()
    return f"at {sender.address}"
