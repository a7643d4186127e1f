"""Where problems come from: files, data sets of the Hugging Face hub, and the bundled problems."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conf import ConfigError
from conf.extras import require
from conf.text import loads, replaced

HUB = "hf:"
BUNDLED = "bundled:"
_BUNDLED = {
    "basic": Path(__file__).with_name("problems.json"),
    "graded": Path(__file__).with_name("graded.json"),
}
_HUB_ID = re.compile(
    r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[\w./-]+))?(?::(?P<config>[^:]+))??(?::(?P<split>[^:]+))?"
)
_TIMEOUT = 20.0
"""Seconds to wait for the hub's answer about a data set."""


@dataclass(frozen=True)
class Source:
    """The records of one file or data set."""

    name: str
    """As messages call it: a path or the id of a data set."""
    stem: str
    """What the ids of its problems begin with."""
    records: list[tuple[str, Any]]
    """Each record with its place in the source, such as ``line 3``."""


def read(name: str) -> Source:
    """Reads ``bundled:NAME``, ``hf:OWNER/NAME`` or a path to JSON (an array of objects) or JSON Lines.

    ``hf:OWNER/NAME@REVISION:CONFIG:SPLIT`` names a data set of the Hugging Face hub; revision, configuration
    and split may be left out where there is only one. It is loaded with the package ``datasets``, which
    caches it and runs no code of the data set.

    Raises:
        ConfigError: the source cannot be read; MissingExtraError: ``datasets`` is needed and not installed.
    """
    if name.startswith(HUB):
        return _from_hub(name)
    if name.startswith(BUNDLED):
        path = _BUNDLED.get(kind := name.removeprefix(BUNDLED))
        if path is None:
            known = ", ".join(BUNDLED + one for one in _BUNDLED)
            raise ConfigError(f"there are no bundled problems called {kind!r}; there are: {known}")
    else:
        path = Path(name).expanduser()
    return Source(name if name.startswith(BUNDLED) else str(path), path.stem, _from_file(path))


def _from_hub(name: str) -> Source:
    found = _HUB_ID.fullmatch(name.removeprefix(HUB))
    if found is None:
        raise ConfigError(
            f"{name!r} must be hf:OWNER/NAME, hf:OWNER/NAME:SPLIT or hf:OWNER/NAME:CONFIG:SPLIT"
        )
    require(name, "datasets")
    data = _load(name, found["name"], found["config"], found["revision"])
    split = found["split"] or (next(iter(data)) if len(data) == 1 else None)
    if split not in data:
        problem = "has several splits" if split is None else f"has no split {split!r}"
        raise ConfigError(
            f"{name} {problem}; name one of {', '.join(data)}: hf:{found['name']}:{next(iter(data))}"
        )
    records = [(f"row {number}", replaced(row)) for number, row in enumerate(data[split], 1)]
    return Source(name, found["name"].partition("/")[2], records)


def _load(name: str, data_set: str, config: str | None, revision: str | None) -> Any:
    """Returns the splits of a data set by name.

    The hub is asked for the data set first, because ``datasets`` tries for half a minute to reach a hub that
    is not there.
    """
    import datasets
    import huggingface_hub

    try:
        if not huggingface_hub.is_offline_mode():
            huggingface_hub.HfApi().dataset_info(data_set, revision=revision, timeout=_TIMEOUT)
        return datasets.load_dataset(data_set, config, revision=revision)
    except Exception as error:  # of three packages, which have no common base
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        raise ConfigError(
            f"{name} cannot be loaded: {reason:.200}; without a network, set HF_HUB_OFFLINE=1 to use a data "
            "set that is in the cache, or name a file"
        ) from None


def _from_file(path: Path) -> list[tuple[str, Any]]:
    """Returns every record with its place in the file. Raises ``ConfigError``."""
    text = _text(path)
    if not text.strip():
        raise ConfigError(f"{path}: is empty: it must be a JSON array of problems, or one problem a line")
    try:
        value = loads(text)
    except (ValueError, RecursionError) as error:
        if not (records := _lines(path, text)):
            raise ConfigError(f"{path}: not valid JSON: {error}") from None
        return records
    if isinstance(value, dict) and "\n" not in text.strip():
        return [("line 1", value)]
    if not isinstance(value, list) or not value:
        raise ConfigError(
            f"{path}: must be a JSON array of problems, or one problem a line, with at least one"
        )
    return [(f"record {number}", record) for number, record in enumerate(value, 1)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _lines(path: Path, text: str) -> list[tuple[str, Any]]:
    """Returns the records of JSON Lines; none if not even the first line is one. Raises ``ConfigError``."""
    records: list[tuple[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            records.append((f"line {number}", loads(line)))
        except (ValueError, RecursionError) as error:
            if not records:
                return []
            raise ConfigError(f"{path}: line {number}: not valid JSON: {error}") from None
    return records
