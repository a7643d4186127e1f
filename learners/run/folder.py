"""A run is a folder: created once, locked by one process, never overwritten.

config.yaml      the whole configuration, resolved
metadata.json    versions, algorithm, models and the sandbox; what differed when the run was resumed
episodes.jsonl   every episode: turns, verdicts, outcome (``coaches.episodes``)
shared.jsonl     roles and prompts that its lines have in common
tokens.jsonl     probability and advantage of sampled tokens, with ``record.tokens`` (``learners.run.tokens``)
metrics.jsonl    one row per step or evaluation; identical for the same configuration and seed
timings.jsonl    seconds and throughput, which differ between runs
checkpoints/     what a killed run resumes from
bias.json        what drives the coach's scores (``coaches.monitor``)
curves.png       plot of the metrics
report.html      the run as a page: overview, handoffs, every episode (``learners.report``)
tensorboard/     the metrics as event files (``learners.run.trackers.event_files``)
wandb.json       id of the W&B run (``learners.run.trackers.weights_and_biases``)
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from conf import ConfigError
from conf.errors import reason
from learners.config import RunConfig
from learners.run import files, older
from learners.runtimes import naming

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
PAGE = "report.html"
LOCK = ".lock"
DRAFT = f".{CONFIG}.tmp"
"""What a process that was killed while it wrote ``config.yaml`` may leave."""
FREE_KEYS = ("record", "resume", "run_dir", "tensorboard", "trace", "wandb")
"""Top-level keys that may differ between a run and its resumption."""
FREE_SETTINGS = ("max_cost", "device")
"""Keys, at any depth, that may change on resume: they decide how long a run goes on, or where it does, but no
number in it beyond rounding."""
PLACE = ("resume", "run_dir")
"""Those of them that only say which folder it is."""
FREE = "settings"
"""The part of ``metadata.json`` with the settings that may differ; of a resumed run, those that do."""
GROWING = "steps"
"""A top-level key that may be larger on resume."""


class RunFolder:
    """The open folder of a run. Use as a context manager; only one process can hold its lock.

    What cannot be written is a ``TrainingError`` that names the file.
    """

    def __init__(
        self, path: Path, lock: FileLock, *, new: bool = False, parents: Sequence[Path] = ()
    ) -> None:
        """``new``: this process has created it, and before it ``parents``, the innermost first."""
        self.path = path
        self._lock = lock
        self._new = new
        self._parents = parents

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def describe(self, metadata: Mapping[str, Any], *, step: int | None) -> None:
        """Writes ``metadata.json``: what the run runs on. Of a run that goes on after ``step`` it keeps what
        it has, and notes under ``resumed`` what is different now; None: nothing of it is kept.

        Raises:
            ConfigError: it is damaged.
        """
        path = self.path / "metadata.json"
        if step is not None and path.exists():
            metadata = _noted(path, metadata, step)
        self.report("metadata", metadata)

    def report(self, name: str, row: Mapping[str, Any]) -> None:
        """Writes or replaces ``<name>.json``."""
        path = self.path / f"{name}.json"
        with files.writing(path), files.draft(path) as draft:
            draft.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")

    def withdraw(self) -> None:
        """Removes a folder of this process and those it created around it, unless something has been
        recorded."""
        if self._new and not self.sizes():
            _remove(self.path, self._parents)

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Appends one row to ``<name>.jsonl`` and flushes it to the operating system."""
        path = self.path / f"{name}.jsonl"
        with files.writing(path):
            files.append(path, json.dumps(row, ensure_ascii=False) + "\n")

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
    if config.run_dir and not _exists(located(config.run_dir) / CONFIG):
        log.info("nothing to resume in %s: starting the run there", config.run_dir)
        return _create(config)
    return _reopen(config)


def located(path: str | Path) -> Path:
    """Returns the path of a run folder as a user names it, where ``~`` is a home folder.

    Raises:
        ConfigError: there is no such user, or it cannot be a path.
    """
    try:
        if "\0" in str(path):
            raise RuntimeError("it contains a null character")
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"run folder {str(path)!r} cannot be: {error}") from None


def read_config(run: Path) -> DictConfig:
    """Returns the configuration of the run folder ``run``.

    Settings that the run's version did not have yet have their defaults.

    Raises:
        ConfigError: it is not a run folder, or its ``config.yaml`` cannot be read.
    """
    return older.upgraded(_written(located(run)))


def _written(run: Path) -> DictConfig:
    """Returns ``config.yaml`` as it is; raises as ``read_config``."""
    path = run / CONFIG
    if not _exists(path):
        raise ConfigError(f"{run} is not a run folder: it has no {CONFIG}")
    try:
        config = OmegaConf.load(path)
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(config, DictConfig) or not config:
        raise ConfigError(f"{path} cannot be read: it has no settings")
    return config


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def _create(config: RunConfig) -> RunFolder:
    """Creates the run folder of ``config`` and writes ``config.yaml``.

    Raises:
        ConfigError: it exists and is not empty, or cannot be written.
    """
    path = located(config.run_dir) if config.run_dir else _new_path(config)
    try:
        _require_empty(path)  # before anything is written there
        parents = [folder for folder in path.parents if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        folder = RunFolder(path, _lock(path), new=True, parents=parents)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        _require_empty(path)  # another process may have been faster
        _write(path, config)
    except OSError as error:
        _remove(path, parents)
        raise _unwritable(path, error) from None
    return folder


def _require_empty(path: Path) -> None:
    """Raises ``ConfigError`` if a folder has files, other than what a killed process may leave."""
    if path.exists() and any(entry.name not in (LOCK, DRAFT) for entry in path.iterdir()):
        raise ConfigError(
            f"run folder {path} is not empty: set resume=true to continue it, or another run_dir"
        )


def _noted(path: Path, metadata: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Returns the contents of ``metadata.json`` with what has changed since the last time; see
    ``RunFolder.describe``."""
    try:
        first: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        earlier = list(first.get("resumed", []))
        known = {key: value for part in (first, *earlier) for key, value in part.items()}
        begun = {} if FREE in first else _flat(OmegaConf.to_container(read_config(path.parent)))
        set_to = begun | {
            key: value for part in (first, *earlier) for key, value in part.get(FREE, {}).items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read: {reason(error)}; without it, the run can go on") from None
    now = json.loads(json.dumps(metadata))
    changed = {key: value for key, value in now.items() if key != FREE and known.get(key) != value}
    if other := {key: value for key, value in now.get(FREE, {}).items() if set_to.get(key, ...) != value}:
        changed[FREE] = other
    return first | ({"resumed": [*earlier, {"after_step": step} | changed]} if changed else {})


def _write(path: Path, config: RunConfig) -> None:
    with files.draft(path / CONFIG) as draft:
        draft.write_text(OmegaConf.to_yaml(OmegaConf.create(config.container())), encoding="utf-8")


def _remove(path: Path, parents: Sequence[Path]) -> None:
    """Removes what a run writes before it records anything, and the folder and ``parents`` if they are then
    empty."""
    for name in (CONFIG, "metadata.json", LOCK):
        (path / name).unlink(missing_ok=True)
    with suppress(OSError):  # it is not empty
        for folder in (path, *parents):
            folder.rmdir()


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"run folder {path} cannot be written: {error.strerror or error}")


def _reopen(config: RunConfig) -> RunFolder:
    """Opens the folder that ``config`` resumes: ``run_dir``, or the newest with the same configuration.

    Raises:
        ConfigError: there is none, another process has locked it, or it was made with another configuration.
    """
    if config.run_dir is None:
        path = _newest(config)
    else:
        path = located(config.run_dir)
        different = differences(path, config)
        if different:
            raise ConfigError(f"run folder {path} was made with other settings: {', '.join(different)}")
    folder = RunFolder(path, _lock(path))
    if _written(path)[GROWING] != config.steps:
        try:
            _write(path, config)
        except OSError as error:
            raise _unwritable(path, error) from None
    return folder


def _new_path(config: RunConfig) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    base = _parent(config) / f"{stamp}-{naming.folder_name(config)}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _newest(config: RunConfig) -> Path:
    """The newest run with the same settings; if there is none, the newest one that may grow to them."""
    paths = sorted(_parent(config).glob(f"*-seed{config.seed}*"), reverse=True)
    same = [path for path in paths if _exists(path / CONFIG) and not differences(path, config)]
    for path in same:
        if _written(path)[GROWING] == config.steps:
            return path
    if same:
        return same[0]
    raise ConfigError(f"there is no run with this configuration to resume in {_parent(config)}")


def _parent(config: RunConfig) -> Path:
    return Path("runs") / str(config.env.name)


def differences(path: Path, config: RunConfig) -> list[str]:
    """Returns what ``config`` has otherwise than the run in ``path`` and a resumed run must not change, as
    ``seed=1 (was 0)``. Raises as ``read_config``."""
    then = _flat(OmegaConf.to_container(read_config(path)))
    now = _flat(config.container())
    different = sorted(
        key for key in then.keys() | now.keys() if settled(key) and then.get(key, ...) != now.get(key, ...)
    )
    if GROWING in different and 0 < then.get(GROWING, 0) < now[GROWING]:
        different.remove(GROWING)
    return [f"{key}={now.get(key, 'absent')} (was {then.get(key, 'absent')})" for key in different]


def free(config: RunConfig) -> dict[str, Any]:
    """Returns the settings, by their dotted names, that may be other ones in a resumed run, or larger."""
    return {
        key: value
        for key, value in _flat(config.container()).items()
        if key == GROWING or (not settled(key) and key not in PLACE)
    }


def settled(key: str) -> bool:
    """Whether a setting, by its dotted name, stays the same when a run is resumed, or may at most grow."""
    return key.split(".")[0] not in FREE_KEYS and key.split(".")[-1] not in FREE_SETTINGS


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
        raise _unwritable(path, error) from None
    return lock
