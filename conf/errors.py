"""The exception of every mistake in a configuration, and what it says of names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

FEW = 3
"""If more settings have the name that was given, none of them is likely to be the one that was meant."""
ALIKE = 0.65
"""Similarity from which on a name is likely to be the one that was meant (``difflib``)."""


class ConfigError(Exception):
    """Invalid user configuration. The message is one clear line; commands print it without a traceback."""


def unknown(what: str, names: Iterable[object], *, name: str, prefix: str = "") -> str:
    """Returns the message that there is no ``what``, with the nearest of ``names``, or else all of them.

    Args:
        what: describes the name that does not exist, as ``setting record.token``.
        names: those that there are.
        name: the one that does not exist, to be compared with ``names``.
        prefix: stands before the nearest name, as ``record.`` does.

    >>> unknown("setting record.token", ["tokens"], name="token", prefix="record.")
    'there is no setting record.token: did you mean record.tokens?'
    """
    known = [str(one) for one in names]
    nearest = get_close_matches(name, known, n=1, cutoff=ALIKE)
    if nearest:
        return _message(what, [f"{prefix}{one}" for one in nearest])
    return f"there is no {what}; there are: {', '.join(known)}" if known else f"there is no {what}"


def unknown_setting(where: str, node: Mapping[Any, Any]) -> str:
    """Returns the message that there is no setting ``where``, a dotted place in ``node``.

    Settings of that name further inside ``node`` are what was meant, if there are any: ``lr`` is
    ``model.optimizer.lr``.
    """
    above, _, name = where.rpartition(".")
    prefix = f"{above}." if above else ""
    deeper = [f"{prefix}{path}" for path in _paths(node) if path.endswith(f".{name}")]
    if 0 < len(deeper) <= FEW:
        return _message(f"setting {where}", deeper)
    return unknown(f"setting {where}", node, name=name, prefix=prefix)


def unplaced(error: OmegaConfBaseException) -> str:
    """Returns the message about a setting that ``error`` found no place for."""
    beside: Any = OmegaConf.to_container(error.parent_node) if error.parent_node else {}
    beside.pop("hydra", None)  # settings of Hydra itself
    where = str(error.full_key)
    return unknown_setting(where, beside) + ("" if beside else f"; +{where}=… adds one")


def reason(error: BaseException) -> str:
    """Returns the message of ``error``; of one of the operating system without its number and path."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _message(what: str, nearest: Iterable[str]) -> str:
    return f"there is no {what}: did you mean {' or '.join(nearest)}?"


def _paths(node: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Yields the dotted places of all settings, at any depth."""
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
