"""The options with which ``reset`` continues an episode: its first turns, and the files after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.types import Turn


def checked(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Returns the options of ``reset``; {} for None.

    Raises:
        TypeError: they are no mapping, or ``turns`` or ``files`` are not what they must be.
        ValueError: one of the two is given without the other.
    """
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(f"options must be a mapping, such as {{'task': …}}, not {options!r:.60}")
    turns, files = options.get("turns", ()), options.get("files")
    if not isinstance(turns, Sequence) or not all(isinstance(turn, Turn) for turn in turns):
        raise TypeError(f'options["turns"] must be a sequence of envs.types.Turn, not {turns!r:.60}')
    if files is not None and not isinstance(files, Mapping):
        raise TypeError(f'options["files"] must map paths to bytes, not {files!r:.60}')
    for path, content in (files or {}).items():
        if not isinstance(path, str) or not isinstance(content, bytes | Path):
            raise TypeError(f'options["files"] must map paths to bytes, not {path!r:.60} to {content!r:.60}')
    if turns and files is None:
        raise ValueError('options["turns"] needs options["files"], the files after these turns')
    if files and not turns:
        raise ValueError('options["files"] needs options["turns"], after which these are the files')
    return options


def next_agent(agents: Sequence[str], turns: Sequence[Turn]) -> str:
    """Returns which of ``agents``, in the order in which they act, acts after ``turns``.

    Raises:
        ValueError: the turns are not the beginning of an episode, or already a complete one.
    """
    stage = attempt = 0
    for position, turn in enumerate(turns):
        if stage == len(agents):
            raise ValueError('options["turns"] continues after the end of an episode')
        if (turn.agent, turn.index, turn.attempt) != (agents[stage], position, attempt):
            raise ValueError(f"turn {position} is not turn {attempt} of {agents[stage]}")
        stage, attempt = (stage + 1, 0) if turn.last else (stage, attempt + 1)
    if stage == len(agents):
        raise ValueError('options["turns"] is already a complete episode')
    return agents[stage]
