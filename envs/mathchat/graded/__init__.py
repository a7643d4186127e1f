"""Our own problems in four levels of difficulty; ``python -m envs.mathchat.graded`` writes ``graded.json``.

Twelve families, ten problems of each family and level. Answers are exact: integers, or fractions in lowest
terms as text.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

from envs.mathchat.graded import counting, numbers, shapes
from envs.mathchat.graded.family import Family, Level

PATH = Path(__file__).parents[1] / "graded.json"
PER_LEVEL = 10
_TRIES = 10_000
_SAME = 2
"""Problems of one family and level that may have the same answer."""

FAMILIES: tuple[Family, ...] = (*counting.FAMILIES, *numbers.FAMILIES, *shapes.FAMILIES)


def generate(per_level: int = PER_LEVEL) -> list[dict[str, str | int]]:
    """Returns ``per_level`` different problems of each family and level; the same ones each time.

    ``kind`` is ``level_1`` to ``level_4``.
    """
    return [
        {
            "id": f"{family.name}-{rank}-{number}",
            "kind": f"level_{rank}",
            "family": family.name,
            "problem": text,
            "answer": int(answer) if answer.denominator == 1 else str(answer),
        }
        for family in FAMILIES
        for rank, level in enumerate(family.levels, 1)
        for number, (text, answer) in enumerate(_problems(level, f"{family.name} {rank}", per_level).items())
    ]


def _problems(level: Level, seed: str, count: int) -> dict[str, Fraction]:
    """Draws problems until there are enough with answers that are not all the same."""
    rng = random.Random(seed)
    found: dict[str, Fraction] = {}
    answers: Counter[Fraction] = Counter()
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        drawn = level.draw(rng)
        text, answer = level.text.format(**drawn), Fraction(level.answer(**drawn))
        if text not in found and answers[answer] < _SAME:
            found[text] = answer
            answers[answer] += 1
    raise ValueError(f"{seed} has too few problems with different answers")


def main() -> None:
    """Writes the problems."""
    rows = ",\n".join(map(json.dumps, generate()))
    PATH.write_text(f"[\n{rows}\n]\n", encoding="utf-8")
