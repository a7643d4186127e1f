"""Every episode of a run as OpenTelemetry spans, in a file or at an endpoint (``trace.otlp``)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from coaches import episodes
from conf import ConfigError
from conf.counts import plural
from conf.errors import reason
from conf.extras import require
from conf.text import loads
from learners.config import RunConfig
from learners.report import reading
from learners.report.reading import Row, Run
from learners.run import files
from learners.run.folder import CONFIG, GROWING, located, settled
from learners.traces.origin import Origin

if TYPE_CHECKING:
    from learners.traces.endpoint import Endpoint

PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
"""They are imported when the first span is made: most runs make none."""


class Traces(Protocol):
    """Where the episodes of a run go as spans."""

    def add(self, row: Row) -> None:
        """Takes an episode that has just been recorded, without short forms."""
        ...

    def finish(self) -> None:
        """Is called when all episodes have been recorded."""
        ...

    def close(self) -> str:
        """Is called at the end, however the run ends. Returns a line that says where the spans are."""
        ...


class FileTraces:
    """Appends a line of OTLP JSON for every episode to a file, which may hold those of other runs.

    Before the first one, the file is brought into line with ``episodes.jsonl``: a killed run may have left
    lines of episodes that are played again, and an earlier part of the run may have written none.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._agrees = False

    def add(self, row: Row) -> None:
        if not self._agrees:
            self.finish()  # writes this one too: it has been recorded
            return
        from learners.traces.lines import line

        with files.writing(self._path):
            files.append(self._path, line(_spans(self._origin, row)))

    def finish(self) -> None:
        if not self._agrees:
            self._agree()
            self._agrees = True

    def close(self) -> str:
        return f"traces: {self._path}"

    @cached_property
    def _origin(self) -> Origin:
        return origin(reading.folder(self._folder))

    def _agree(self) -> None:
        """Replaces the run's own lines by those of its recorded episodes."""
        from learners.traces.lines import line, owner
        from learners.traces.spans import spans

        run = reading.folder(self._folder)
        with files.writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with files.draft(self._path) as draft, draft.open("w", encoding="utf-8") as file:
                file.writelines(one for one in self._lines() if owner(one) != self._origin.id)
                if run.path.exists():
                    recorded = reading.episodes_of(run)
                    file.writelines(line(spans(self._origin, row, one)) for row, one in recorded)

    def _lines(self) -> Iterator[str]:
        """Yields the lines of the file that were written to their end."""
        if self._path.exists():
            with self._path.open(encoding="utf-8", newline="\n") as file:
                yield from (one for one in file if one.endswith("\n"))


class EndpointTraces:
    """Sends every episode to an endpoint; what does not arrive is counted, and the run goes on."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self._endpoint, self._folder = endpoint, folder
        self._origin = origin(reading.folder(folder))

    def add(self, row: Row) -> None:
        self._endpoint.add(lambda: _spans(self._origin, row))

    def finish(self) -> None:
        """There is nothing to be brought into line."""

    def close(self) -> str:
        self._endpoint.close()
        given, sent, why = self._endpoint.given, self._endpoint.sent, self._endpoint.sender.reason
        line = f"traces: {sent} of {plural(given, 'episode')} at {self._endpoint.sender.address}"
        if sent == given:
            return line
        again = f"python -m benchmarks.export {self._folder} --what otlp"
        return f"{line}; {given - sent} were lost{f' ({why})' if why else ''}: {again} writes them to a file"


def check(config: RunConfig) -> None:
    """Checks ``trace.otlp`` before anything is loaded or written.

    Raises:
        ConfigError: OpenTelemetry is not installed, it is neither a file nor an address, or the file is one
        of something else.
    """
    place = config.trace.otlp
    if place is None:
        return
    require(f"trace.otlp={place}", *PACKAGES)
    if is_address(place):
        return
    if re.match(r"[\w+.-]+:(//|\d+(/|$))", place):
        raise ConfigError(f"trace.otlp must be a file or an address as http://localhost:4318, not {place!r}")
    path = located(place)
    try:
        if path.is_dir():
            raise ConfigError(f"trace.otlp={place} is a folder: name a file in it")
        with path.open(encoding="utf-8") as file:
            if (start := file.read(64)) and '"resourceSpans"' not in start:
                raise ConfigError(f"trace.otlp={place} is a file of something else: name another one")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise ConfigError(f"trace.otlp={place} cannot be read: {reason(error)}") from None


def is_address(place: str) -> bool:
    """Whether ``place`` is the address of an endpoint, and not a file."""
    return re.match(r"https?://[^/?#]", place) is not None


@contextmanager
def tracing(config: RunConfig, folder: Path, console: Console) -> Iterator[Traces | None]:
    """Yields where the episodes of a run go; None without ``trace.otlp``. Says at the end where they are.

    Raises:
        ConfigError: it is a file that the run itself writes.
    """
    if config.trace.otlp is None:
        yield None
        return
    traces = _open(config.trace.otlp, folder)
    try:
        yield traces
        traces.finish()
    finally:
        console.print(traces.close(), highlight=False, soft_wrap=True)


def _open(place: str, folder: Path) -> Traces:
    if is_address(place):
        from learners.traces.endpoint import Endpoint

        return EndpointTraces(Endpoint(place), folder)
    path = located(place)
    own = ("episodes", "shared", "tokens", "metrics", "timings")
    if path.resolve().parent == folder.resolve() and path.name in [f"{name}.jsonl" for name in own]:
        raise ConfigError(f"trace.otlp={place} is what the run itself writes: name another file")
    return FileTraces(path, folder)


def origin(run: Run) -> Origin:
    """Returns what the spans of a run's episodes have in common."""
    config, team, code = run.config, run.metadata.get("team", {}), run.metadata.get("coachgym", {})
    own = {key: value for key, value in config.items() if settled(key) and key != GROWING}
    identity = json.dumps([run.name, own], sort_keys=True, default=str)
    kept = {name: config.get(f"{name}.name") for name in ("coach", "algorithm", "model", "sandbox")}
    described = run.path.with_name(CONFIG) if config else run.path
    sampling = {"train": "rollout.temperature", "eval": "evaluation.temperature"}
    return Origin(
        id=hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()[:32],
        run=run.name,
        environment=str(config.get("env.name", "")),
        settings={
            "service.version": code.get("version"),
            "coachgym.commit": code.get("commit"),
            "coachgym.run.seed": config.get("seed"),
            **{f"coachgym.{name}": value for name, value in kept.items()},
        },
        models={agent: str(one["model"]) for agent, one in team.items()},
        hosted=frozenset(agent for agent, one in team.items() if one.get("generator") == "api"),
        temperatures={phase: float(config[key]) for phase, key in sampling.items() if key in config},
        recorded=described.stat().st_mtime if described.exists() else 0.0,
    )


def _spans(origin: Origin, row: Row) -> list[Any]:
    """Returns the spans of an episode as they are of its line in ``episodes.jsonl``."""
    from learners.traces.spans import spans

    read: dict[str, Any] = loads(json.dumps(row, ensure_ascii=False))
    return spans(origin, read, episodes.episode(read))
