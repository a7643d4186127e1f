"""Draws the rows of a synthetic task, with integers only, and its truth: the target without its noise."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from math import isqrt

import numpy as np

from envs.dsbench.synthetic.recipe import Number, Recipe
from envs.dsbench.synthetic.settings import Synthetic
from envs.dsbench.synthetic.stream import ONE, Integers, Stream

_FIRST_DAY = datetime.date(2021, 1, 1).toordinal()
_DAYS = 730
CENTRE, UNIT = 12_000, 2_500
"""Mean and standard deviation of targets that are values, in hundredths."""


@dataclass(frozen=True)
class Rows:
    """All rows of a task. ``target`` and ``truth`` are hundredths of values, or numbers of classes."""

    columns: dict[str, list[str]]
    """Cells as they are written; empty ones are missing."""
    target: Integers
    truth: Integers
    """What the columns alone determine."""
    margin: Integers
    """Of classes: how far, in standard deviations of the noise times ``ONE``, the truth is above the lowest
    threshold."""
    is_test: np.ndarray[tuple[int], np.dtype[np.bool_]]


def draw(recipe: Recipe, settings: Synthetic) -> Rows:
    """Returns the rows of a task."""
    count = settings.train_rows + settings.test_rows

    def stream(purpose: str) -> Stream:
        return Stream(settings.seed, recipe.id, purpose)

    parts = [stream(f"number {place}").bell(count) for place in range(len(recipe.numbers))]
    values = [_shape(column, part) for column, part in zip(recipe.numbers, parts, strict=True)]
    texts = [
        stream(f"text {place}").integers(0, len(c.levels) - 1, count)
        for place, c in enumerate(recipe.categories)
    ]
    days = stream("days").integers(0, _DAYS - 1, count)
    signal = _signal(recipe, values, texts, days)
    spread = max(_deviation(signal), 1)
    noise = (
        spread * isqrt(round(settings.noise * 10**12)) // max(isqrt(round((1 - settings.noise) * 10**12)), 1)
    )
    observed = signal + stream("noise").bell(count) * noise // ONE
    target, truth, threshold = _targets(recipe, observed, signal)
    margin = (signal - threshold) * ONE // max(noise, 1)
    is_test = _split(observed, settings.test_rows, stream("split"))
    columns = {c.name: _written(c, value) for c, value in zip(recipe.numbers, values, strict=True)}
    columns |= {c.name: [c.levels[n] for n in text] for c, text in zip(recipe.categories, texts, strict=True)}
    gaps = {column.name: column.missing for column in recipe.numbers}
    gaps |= {column.name: column.missing for column in recipe.categories}
    for name, missing in gaps.items():
        empty = stream(f"gaps {name}").integers(0, 999, count) < missing
        columns[name] = ["" if gap else cell for gap, cell in zip(empty, columns[name], strict=True)]
    if recipe.date:
        columns["date"] = [datetime.date.fromordinal(_FIRST_DAY + int(day)).isoformat() for day in days]
    if recipe.leak:
        columns[recipe.leak] = _leak(target, is_test, stream("leak"))
    return Rows(columns, target, truth, margin, is_test)


def _shape(column: Number, bell: Integers) -> Integers:
    """Returns z, or its square less its mean if the column is skewed, in units of ``ONE``."""
    return (bell * bell // ONE - ONE) if column.skewed else bell


def _written(column: Number, value: Integers) -> list[str]:
    scale = 10**column.digits
    cells = column.offset * scale + column.spread * scale * value // ONE
    return [fixed(int(cell), column.digits) for cell in cells]


def fixed(number: int, digits: int) -> str:
    """Returns ``number`` / 10**digits exactly.

    >>> fixed(-5, 2), fixed(1234, 2), fixed(7, 0)
    ('-0.05', '12.34', '7')
    """
    whole, part = divmod(abs(number), 10**digits)
    return ("-" if number < 0 else "") + str(whole) + (f".{part:0{digits}d}" if digits else "")


def _signal(recipe: Recipe, values: list[Integers], texts: list[Integers], days: Integers) -> Integers:
    signal = np.zeros(len(days), dtype=np.int64)
    for column, value in zip(recipe.numbers, values, strict=True):
        signal += column.weight * value // ONE
    for category, text in zip(recipe.categories, texts, strict=True):
        signal += np.array(category.effects, dtype=np.int64)[text]
    if recipe.date:
        month = [datetime.date.fromordinal(_FIRST_DAY + int(day)).month - 1 for day in days]
        signal += np.array(recipe.date, dtype=np.int64)[month]
    first, second, effect = recipe.interaction
    signal += effect * (values[first] * values[second] // ONE) // ONE
    place, effect = recipe.step
    return signal + effect * (values[place] > 0)


def _deviation(values: Integers) -> int:
    """Returns the standard deviation, exactly rounded down."""
    numbers = [int(value) for value in values]
    total = sum(numbers)
    return isqrt(max(len(numbers) * sum(n * n for n in numbers) - total * total, 0)) // len(numbers)


def _targets(recipe: Recipe, observed: Integers, signal: Integers) -> tuple[Integers, Integers, int]:
    """Returns target, truth, and the lowest threshold between classes."""
    if recipe.task_type == "regression":
        spread, middle = max(_deviation(observed), 1), int(observed.sum()) // len(observed)
        both = [np.maximum(CENTRE + UNIT * (part - middle) // spread, 0) for part in (observed, signal)]
        return both[0], both[1], 0
    ordered = np.sort(observed)
    shares = np.cumsum(recipe.shares)[:-1]
    thresholds = ordered[shares * len(ordered) // 100]
    classes = [
        np.searchsorted(thresholds, part, side="right").astype(np.int64) for part in (observed, signal)
    ]
    return classes[0], classes[1], int(thresholds[0])


def _split(observed: Integers, n_test: int, draws: Stream) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Chooses one row for the test in each of ``n_test`` parts of the range, so that it has every class."""
    order = np.argsort(observed, kind="stable")
    edges = np.arange(n_test + 1) * len(observed) // n_test
    offsets = draws.integers(0, 2**31 - 1, n_test) % np.diff(edges)
    chosen = np.zeros(len(observed), dtype=np.bool_)
    chosen[order[edges[:-1] + offsets]] = True
    return chosen


def _leak(target: Integers, is_test: np.ndarray[tuple[int], np.dtype[np.bool_]], draws: Stream) -> list[str]:
    """The target itself in training rows; in test rows, that of another row."""
    leaked = target.copy()
    places = np.nonzero(is_test)[0]
    leaked[places] = target[places][draws.permutation(len(places))]
    return [str(int(value)) for value in leaked]
