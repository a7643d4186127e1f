"""Reads what a report shows: the folder of a run, or a file of recorded episodes from any system."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from coaches import episodes
from coaches.episodes import RecordedEpisode
from coaches.recording import compressed
from conf import ConfigError
from envs.types import Role

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What a report reads of a run. Of a file of episodes alone, everything but the episodes is empty."""

    name: str
    path: Path
    """Of the file of episodes."""
    config: Mapping[str, Any]
    """Settings by their dotted names."""
    metadata: Mapping[str, Any]
    metrics: Sequence[Row]
    timings: Sequence[Row]
    bias: Mapping[str, Any]
    roles: Sequence[Role] | None = None
    """Of episodes that were recorded without."""
    tokens: Path | None = None
    """The file of its tokens, which need not exist."""

    @property
    def title(self) -> str:
        """The name, with the algorithm and the models that played where that is recorded."""
        models = dict.fromkeys(str(one["model"]) for one in self.metadata.get("team", {}).values())
        about = [*filter(None, [self.metadata.get("algorithm")]), *filter(None, [" + ".join(models)])]
        return f"{self.name} ({', '.join(about)})" if about else self.name


def read(path: Path, *, roles: Sequence[Role] | None = None) -> Run:
    """Reads a run folder, or a file of recorded episodes.

    Raises:
        ConfigError: there are no recorded episodes, or a file of the run is not valid.
    """
    if path.is_dir():
        episodes.file_of(path)
        return folder(path, roles=roles)
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such run or file")
    return Run(compressed.stem(path), path, {}, {}, [], [], {}, roles)


def folder(path: Path, *, roles: Sequence[Role] | None = None) -> Run:
    """Reads a run folder, in which no episode need have been recorded yet.

    Raises:
        ConfigError: a file of the run is not valid.
    """
    return Run(
        name=path.resolve().name,
        path=path / "episodes.jsonl",
        config=dict(_flat(_yaml(path / "config.yaml"))),
        metadata=_json(path / "metadata.json"),
        metrics=list(_lines(path / "metrics.jsonl")),
        timings=list(_lines(path / "timings.jsonl")),
        bias=_json(path / "bias.json"),
        roles=roles,
        tokens=path / "tokens.jsonl",
    )


def episodes_of(run: Run, *, skipped: list[str] | None = None) -> Iterator[tuple[Row, RecordedEpisode]]:
    """Yields the episodes of a run, as JSON and as records; ``skipped`` is that of ``coaches.episodes.read``.

    Raises:
        ConfigError: as ``coaches.episodes.read``.
    """
    return episodes.read(run.path, roles=run.roles, skipped=skipped)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value) of every setting; lists count as values."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, value


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


def _json(path: Path) -> dict[str, Any]:
    found = next(_parsed(path, path.read_text(encoding="utf-8")), None) if path.is_file() else None
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield from _parsed(path, line, f", line {number}")


def _parsed(path: Path, text: str, where: str = "") -> Iterator[dict[str, Any]]:
    try:
        yield json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}{where} is not valid JSON: {error}") from None
