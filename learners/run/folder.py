"""A run is a folder: created once, locked by one process, never overwritten.

config.yaml      the whole configuration, resolved
metadata.json    versions, sandbox and its guarantees
episodes.jsonl   every episode: turns, verdicts, outcome
metrics.jsonl    one row per step or evaluation; identical for the same configuration and seed
timings.jsonl    seconds and throughput, which differ between runs
checkpoints/     what a killed run resumes from
bias.json        what drives the coach's scores (``coaches.monitor``)
curves.png       plot of the metrics
wandb.json       id of the W&B run (``learners.run.tracking``)
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from conf import ConfigError
from learners.config import RunConfig
from learners.run import older

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
LOCK = ".lock"
FREE_KEYS = ("resume", "run_dir", "wandb")
"""Top-level keys that may differ between a run and its resumption."""
FREE_SETTINGS = ("max_cost", "device")
"""Keys, at any depth, that may change on resume: they decide how long a run goes on, or where it does, but no
number in it beyond rounding."""


class RunFolder:
    """The open folder of a run. Use as a context manager; only one process can hold its lock."""

    def __init__(self, path: Path, lock: FileLock) -> None:
        self.path = path
        self._lock = lock

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Writes ``metadata.json``: what the run runs on."""
        self.report("metadata", metadata)

    def report(self, name: str, row: Mapping[str, Any]) -> None:
        """Writes or replaces ``<name>.json``."""
        (self.path / f"{name}.json").write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")

    def withdraw(self) -> None:
        """Removes the folder, or what this process wrote into it, unless something has been recorded."""
        if self.sizes():
            return
        (self.path / CONFIG).unlink()
        (self.path / LOCK).unlink()
        with suppress(OSError):  # it is not empty
            self.path.rmdir()

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Appends one row to ``<name>.jsonl`` and flushes it to the operating system."""
        with (self.path / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """Yields the rows of ``<name>.jsonl``; none if it does not exist."""
        path = self.path / f"{name}.jsonl"
        if path.exists():
            with path.open(encoding="utf-8") as file:
                for line in file:
                    yield json.loads(line)

    def sizes(self) -> dict[str, int]:
        """Returns the bytes written so far to each jsonl file, for a checkpoint to store."""
        return {path.name: path.stat().st_size for path in sorted(self.path.glob("*.jsonl"))}

    def truncate(self, sizes: Mapping[str, int]) -> None:
        """Truncates the jsonl files to the sizes stored in a checkpoint; what came later is played again."""
        for path in self.path.glob("*.jsonl"):
            os.truncate(path, sizes.get(path.name, 0))


def open_folder(config: RunConfig) -> RunFolder:
    """Returns the folder of a new run, or of the one to resume if ``config.resume`` is set.

    Resuming a named ``run_dir`` in which no run has started yet starts one there.

    Raises:
        ConfigError: no such run; the folder is not empty, not writable or locked; or the settings differ.
    """
    if not config.resume:
        return _create(config)
    if config.run_dir and not (Path(config.run_dir) / CONFIG).exists():
        log.info("nothing to resume in %s: starting the run there", config.run_dir)
        return _create(config)
    return _reopen(config)


def read_config(run: Path) -> DictConfig:
    """Returns the configuration of the run folder ``run``.

    Settings that the run's version did not have yet have their defaults.

    Raises:
        ConfigError: it is not a run folder.
    """
    if not (run / CONFIG).is_file():
        raise ConfigError(f"{run} is not a run folder: it has no {CONFIG}")
    return older.upgraded(cast(DictConfig, OmegaConf.load(run / CONFIG)))


def _create(config: RunConfig) -> RunFolder:
    """Creates the run folder of ``config`` and writes ``config.yaml``.

    Raises:
        ConfigError: it exists and is not empty, or cannot be written.
    """
    path = Path(config.run_dir) if config.run_dir else _new_path(config)
    try:
        path.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(path, _lock(path))
        if any(entry.name != LOCK for entry in path.iterdir()):
            raise ConfigError(
                f"run folder {path} is not empty: set resume=true to continue it, or another run_dir"
            )
        (path / CONFIG).write_text(_text(config), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"run folder {path} cannot be written: {error.strerror or error}") from None
    return folder


def _reopen(config: RunConfig) -> RunFolder:
    """Opens the folder that ``config`` resumes: ``run_dir``, or the newest with the same configuration.

    Raises:
        ConfigError: there is none, another process has locked it, or it was made with another configuration.
    """
    if config.run_dir is None:
        path = _newest(config)
    else:
        path = Path(config.run_dir)
        different = _differences(path, config)
        if different:
            raise ConfigError(f"run folder {path} was made with other settings: {', '.join(different)}")
    return RunFolder(path, _lock(path))


def _new_path(config: RunConfig) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = _parent(config) / f"{stamp}-{_suffix(config)}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _newest(config: RunConfig) -> Path:
    for path in sorted(_parent(config).glob(f"*-{_suffix(config)}*"), reverse=True):
        if (path / CONFIG).is_file() and not _differences(path, config):
            return path
    raise ConfigError(f"there is no run with this configuration to resume in {_parent(config)}")


def _parent(config: RunConfig) -> Path:
    return Path("runs") / str(config.env.name)


def _suffix(config: RunConfig) -> str:
    return f"{config.coach.name}-seed{config.seed}"


def _text(config: RunConfig) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(config.container()))


def _differences(path: Path, config: RunConfig) -> list[str]:
    then = _flat(OmegaConf.to_container(read_config(path)))
    now = _flat(config.container())
    return sorted(
        key
        for key in then.keys() | now.keys()
        if key.split(".")[0] not in FREE_KEYS
        and key.split(".")[-1] not in FREE_SETTINGS
        and then.get(key, ...) != now.get(key, ...)
    )


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix.removesuffix("."): node}
    return {key: value for name in node for key, value in _flat(node[name], f"{prefix}{name}.").items()}


def _lock(path: Path) -> FileLock:
    """Takes an exclusive lock that ends with the process, however it ends."""
    lock = FileLock(path / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise ConfigError(f"run folder {path} is busy: another process is training in it") from None
    except OSError as error:
        raise ConfigError(f"run folder {path} cannot be written: {error.strerror or error}") from None
    return lock
