"""A run is a folder: made once, held by one process, never overwritten.

config.yaml      the whole configuration, resolved
metadata.json    versions, sandbox and its guarantees
episodes.jsonl   every episode: turns, verdicts, outcome
metrics.jsonl    one row a step or evaluation; the same for the same config and seed
timings.jsonl    seconds and throughput: the part that is never the same
checkpoints/     what a killed run resumes from
bias.json        what the coach's scores went by (``coaches.monitor``)
curves.png       the metrics as a picture
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from conf import ConfigError

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
LOCK = ".lock"
FREE_KEYS = ("resume", "run_dir", "wandb")
"""What may differ between a run and its resumption."""
FREE_SETTINGS = ("max_cost",)
"""And so may these, wherever they stand: they decide how long a run goes on, and no number in it."""


class RunFolder:
    """The open folder of a run. Use as a context manager; only one process can hold it."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path = path
        self._lock = lock

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Writes ``metadata.json``: what the run runs on."""
        self.report("metadata", metadata)

    def report(self, name: str, row: Mapping[str, Any]) -> None:
        """Writes ``<name>.json`` anew."""
        (self.path / f"{name}.json").write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")

    def withdraw(self) -> None:
        """Makes the folder free again, if nothing has been recorded in it yet."""
        if not self.sizes():
            (self.path / CONFIG).unlink()

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Adds one row to ``<name>.jsonl`` and hands it to the operating system at once."""
        with (self.path / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of ``<name>.jsonl``; none if it does not exist."""
        path = self.path / f"{name}.jsonl"
        if path.exists():
            with path.open(encoding="utf-8") as file:
                for line in file:
                    yield json.loads(line)

    def sizes(self) -> dict[str, int]:
        """Bytes written so far to each jsonl file: what a checkpoint remembers."""
        return {path.name: path.stat().st_size for path in sorted(self.path.glob("*.jsonl"))}

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Cuts the jsonl files back to what a checkpoint remembers; what came after is played again."""
        for path in self.path.glob("*.jsonl"):
            os.truncate(path, sizes.get(path.name, 0))


def open_folder(config: DictConfig) -> RunFolder:
    """The folder of a new run, or of the one to resume where ``config.resume`` is set.

    Resuming a named ``run_dir`` in which no run has begun yet starts it.

    Raises:
        ConfigError: no such run, a busy or unwritable folder, a folder in use, or other settings than before.
    """
    if not config.resume:
        return _create(config)
    if config.run_dir and not (Path(config.run_dir) / CONFIG).exists():
        log.info("nothing to resume in %s: the run starts there", config.run_dir)
        return _create(config)
    return _reopen(config)


def _create(config: DictConfig) -> RunFolder:
    """Makes the run folder of ``config`` and writes ``config.yaml``.

    Raises:
        ConfigError: it exists and holds something, or cannot be written.
    """
    path = Path(config.run_dir) if config.run_dir else _fresh(config)
    try:
        path.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(path, _hold(path))
        if any(entry.name != LOCK for entry in path.iterdir()):
            raise ConfigError(
                f"run folder {path} is not empty: resume=true goes on with it, another run_dir starts afresh"
            )
        (path / CONFIG).write_text(_text(config), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"run folder {path} cannot be written: {error.strerror or error}") from None
    return folder


def _reopen(config: DictConfig) -> RunFolder:
    """Opens the folder that ``config`` resumes: ``run_dir``, or the newest with the same configuration.

    Raises:
        ConfigError: there is none, another process holds it, or it was made with another configuration.
    """
    if config.run_dir is None:
        path = _newest(config)
    else:
        path = Path(config.run_dir)
        different = _differences(path, config)
        if different:
            raise ConfigError(f"run folder {path} was made with other settings: {', '.join(different)}")
    return RunFolder(path, _hold(path))


def _fresh(config: DictConfig) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = _home(config) / f"{stamp}-{_suffix(config)}"
    path, again = base, 1
    while path.exists():
        again += 1
        path = base.with_name(f"{base.name}-{again}")
    return path


def _newest(config: DictConfig) -> Path:
    found = sorted(_home(config).glob(f"*-{_suffix(config)}*"), reverse=True)
    for path in found:
        if (path / CONFIG).is_file() and not _differences(path, config):
            return path
    raise ConfigError(f"there is no run with this configuration to resume in {_home(config)}")


def _home(config: DictConfig) -> Path:
    return Path("runs") / str(config.env.name)


def _suffix(config: DictConfig) -> str:
    return f"{config.coach.name}-seed{config.seed}"


def _text(config: DictConfig) -> str:
    return OmegaConf.to_yaml(config, resolve=True)


def _differences(path: Path, config: DictConfig) -> list[str]:
    then = _flat(OmegaConf.to_container(OmegaConf.load(path / CONFIG)))
    now = _flat(OmegaConf.to_container(config, resolve=True))
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


def _hold(path: Path) -> IO[str]:
    """An exclusive lock that ends with the process, however it ends."""
    try:
        lock = (path / LOCK).open("w")
    except OSError as error:
        raise ConfigError(f"run folder {path} cannot be written: {error.strerror or error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(f"run folder {path} is busy: another process is training in it") from None
    return lock
