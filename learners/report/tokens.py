"""What a page holds of a run's ``tokens.jsonl``: the tokens of so many episodes, each a block of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from conf import ConfigError
from learners.report.contents import pack

MOST = 400_000
"""Tokens that a page holds of a run unless asked for others: some 6 MB."""
LISTS = ("text", "logprob")
VALUES = ("update_logprob", "reference_logprob", "ratio", "importance", "advantage")
Key = tuple[int, str]
"""Step and episode."""


@dataclass
class Tokens:
    """The recorded tokens of a run."""

    states: list[str]
    """Of each episode of the run: ``page`` if this page holds its tokens, ``file`` if only the run's folder
    does, or "" if none are recorded."""
    blocks: dict[int, str] = field(default_factory=dict)
    """Place of an episode in the run -> its lines by turn, packed."""
    scale: float = 0.0
    """Root mean square of the advantages of all recorded tokens."""

    @property
    def about(self) -> dict[str, Any]:
        """What the page says of all of them."""
        shown, left = (self.states.count(state) for state in ("page", "file"))
        return {"recorded": shown + left, "shown": shown, "scale": self.scale}


def tokens(
    path: Path | None, episodes: Sequence[Key], *, most: int = MOST, skipped: list[str] | None = None
) -> Tokens:
    """Returns the tokens in ``path`` of the ``episodes`` of a run, in their order.

    If there are more than ``most``, the page holds every second, third … recorded episode, as far as there is
    room: whole ones, spread over the run.

    Raises:
        ConfigError: a line is no line of such a file; with ``skipped``, which gets a message, it is left out.
    """
    found = Tokens([""] * len(episodes))
    if path is None or not path.is_file():
        return found
    places = {key: place for place, key in enumerate(episodes)}
    counts, squares, total = dict[Key, int](), 0.0, 0
    for line in lines(path, skipped):
        key = (line["step"], line["episode"])
        if key in places:
            counts[key] = counts.get(key, 0) + len(line["text"])
            advantages = _each(line["advantage"], len(line["text"]))
            squares, total = squares + sum(one * one for one in advantages), total + len(advantages)
    found.scale = sqrt(squares / total) if total else 0.0
    chosen = _chosen(counts, most)
    for key in counts:
        found.states[places[key]] = "page" if key in chosen else "file"
    for key, own in groupby(lines(path, []), lambda line: (line["step"], line["episode"])):
        if key in chosen:
            found.blocks[places[key]] = pack({line["turn"]: line for line in own})
    return found


def lines(path: Path, skipped: list[str] | None) -> Iterator[dict[str, Any]]:
    """Yields the valid lines of the file; raises as ``tokens``."""
    with path.open("rb") as file:  # a text may have other ends of lines than the file's
        for number, text in enumerate(file, 1):
            try:
                yield _checked(json.loads(text))
            except (ValueError, TypeError, KeyError) as error:
                message = f"{path}, line {number} has no valid tokens: {type(error).__name__}: {error}"
                if skipped is None:
                    raise ConfigError(message) from None
                skipped.append(message)


def of_episode(path: Path, step: int, episode: str) -> dict[int, dict[str, Any]]:
    """Returns the lines of an episode by turn, without those that are not valid."""
    if not path.is_file():
        return {}
    own = (line for line in lines(path, []) if (line["step"], line["episode"]) == (step, episode))
    return {line["turn"]: line for line in own}


def _checked(line: dict[str, Any]) -> dict[str, Any]:
    """Raises ``ValueError``, ``TypeError`` or ``KeyError`` unless ``line`` has what the page shows."""
    count = len(line["text"])
    own = [line[name] for name in LISTS] + [one for name in VALUES if isinstance(one := line[name], list)]
    if (
        not isinstance(line["step"], int)
        or not isinstance(line["turn"], int)
        or not all(isinstance(one, str) for one in (line["episode"], *line["text"]))
    ):
        raise ValueError("step, turn, episode or text")
    if any(len(one) != count for one in [*own, line["ids"]]):
        raise ValueError("lists of different lengths")
    if not all(isfinite(one) for values in own[1:] for one in values):
        raise ValueError("a number that is not finite")
    if not isinstance(line["names"], dict) or not isinstance(line["marks"], dict):
        raise ValueError("names or marks")
    return line


def _each(value: Any, count: int) -> list[float]:
    """Returns one value for each of ``count`` tokens; none if there is no value."""
    return value if isinstance(value, list) else [] if value is None else [value] * count


def _chosen(counts: dict[Key, int], most: int) -> set[Key]:
    """Returns episodes with at most ``most`` tokens in all, spread evenly."""
    stride = max(1, -(-sum(counts.values()) // max(1, most)))
    chosen, room = set[Key](), most
    for key in list(counts)[::stride]:
        if counts[key] <= room:
            chosen.add(key)
            room -= counts[key]
    return chosen
