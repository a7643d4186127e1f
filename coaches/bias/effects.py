"""How much a coach's scores depend on task kind, role and length, at equal outcome and equal evidence.

Every judged turn is one sample. Scores are regressed, by least squares, on the turn's stratum (one fixed
effect each), on the outcome's score, and on the turn's level of every factor: kind of task, role, length of
the action. Turns of one stratum are alike in everything that grader, sandbox and artifact checks report about
them, so the effect of a level is how much its turns score above others *with the same outcome and the same
evidence*. Effects of a factor are centred: weighted by the samples of each level they sum to 0, and removing
them leaves the mean unchanged.

Errors are jackknife errors over tasks: that a coach prefers one task to another is no bias towards its kind,
so tasks are the independent units, not turns. Intervals use Student's t with one degree of freedom fewer than
there are tasks (or groups of tasks). Limitation: a true difference in quality between two kinds that neither
grader nor evidence can see looks like a bias of the coach.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from coaches.evidence import checks
from coaches.judging.learning import JudgedEpisode
from envs.types import Outcome, Turn

FACTORS = ("kind", "role", "length")
LENGTHS = (100, 400, 1600, 6400)
"""Upper bounds of the length buckets, in characters of the action."""
CONFIDENCE = 0.95
"""Of reported intervals and of alarms."""

_BLOCKS = 40
"""The most groups of tasks that the jackknife omits in turn: more would cost time and add little."""
_FEWEST = 3
"""Fewest groups of tasks for which there is an estimate."""
_TOLERANCE = 1e-8

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One judged turn."""

    task: str
    stratum: str
    """What grader, sandbox and checks report about it, in words (see ``stratum``)."""
    levels: tuple[str, ...]
    """One level per factor, in the order of ``FACTORS``."""
    outcome: float
    """The outcome score of the episode, in [0, 1]."""
    score: float


class Effect(NamedTuple):
    """A difference in points, with its interval."""

    estimate: float
    error: float
    """Standard error."""
    low: float
    high: float

    def shrunk(self, threshold: float) -> float:
        """Returns the estimate shrunk by its uncertainty: 0 up to ``threshold`` standard errors, nearly all
        of it far above.

        The factor is that of the non-negative garrote, 1 - (threshold error / estimate)² where positive (L.
        Breiman, Technometrics 37, 1995). It is continuous, so that a correction does not jump between steps.
        """
        if self.estimate == 0.0:
            return 0.0
        return self.estimate * max(0.0, 1.0 - (threshold * self.error / self.estimate) ** 2)


def samples(episodes: Iterable[JudgedEpisode]) -> list[Sample]:
    """Returns the judged turns of ``episodes``; turns without a verdict are omitted."""
    return [
        Sample(
            task=episode.task_id,
            stratum=stratum(episode.turns[: turn.index + 1], episode.outcome),
            levels=levels(turn),
            outcome=episode.outcome.score,
            score=verdict.score,
        )
        for episode in episodes
        for turn, verdict in zip(episode.turns, episode.verdicts, strict=True)
        if verdict is not None
    ]


def levels(turn: Turn) -> tuple[str, ...]:
    """Returns the turn's level of every factor, in the order of ``FACTORS``."""
    return turn.kind, turn.agent, length_bucket(turn.action)


def length_bucket(action: str) -> str:
    """Returns the length bucket: ``<=400`` for an action of 101 to 400 characters."""
    place = bisect_left(LENGTHS, len(action))
    return f"<={LENGTHS[place]}" if place < len(LENGTHS) else f">{LENGTHS[-1]}"


def stratum(history: Sequence[Turn], outcome: Outcome) -> str:
    """Returns, in words, the evidence on the last turn of ``history`` and how its episode ended.

    ``success, ran ok, printed, products nan+ok, not in order before, first, not last``. Products are listed
    by their codes and not by name, or no two roles would ever share a stratum.
    """
    turn, own = history[-1], checks.own_turns(history)
    codes = "+".join(sorted(set(checks.product_codes(turn).values()))) or "none due"
    before = own and codes != "none due" and set(checks.product_codes(own[-1]).values()) == {"ok"}
    ran = "no code" if turn.result is None else "ran ok" if turn.result.status == "ok" else "failed"
    return ", ".join(
        (
            "success" if outcome.success else "failure",
            ran,
            "silent" if checks.printed(turn) is None else "printed",
            f"products {codes}",
            "in order before" if before else "not in order before",
            "first" if turn.attempt == 0 else "later",
            "last" if turn.last else "not last",
        )
    )


class Moments:
    """Sums over samples from which effects are computed: small, mergeable, and independent of order.

    There is one cell per task, stratum and combination of levels, with n, Σscore, Σoutcome, Σoutcome² and
    Σoutcome·score.
    """

    def __init__(self) -> None:
        self.cells: dict[tuple[str, ...], Array] = {}

    def add(self, batch: Iterable[Sample]) -> None:
        """Adds a batch; the result does not depend on the order of its samples, to the last bit."""
        grouped: dict[tuple[str, ...], list[tuple[float, ...]]] = {}
        for one in batch:
            moments = (1.0, one.score, one.outcome, one.outcome**2, one.outcome * one.score)
            grouped.setdefault((one.task, one.stratum, *one.levels), []).append(moments)
        for key, rows in grouped.items():
            sums = np.array([fsum(column) for column in zip(*rows, strict=True)])
            self.cells[key] = self.cells[key] + sums if key in self.cells else sums

    def fade(self, factor: float) -> None:
        """Multiplies the weight of all samples so far by ``factor``; drops cells of negligible weight."""
        self.cells = {key: sums * factor for key, sums in self.cells.items() if sums[0] * factor > 1e-6}

    def state(self) -> list[list[Any]]:
        """Returns the cells as JSON."""
        return [[*key, *map(float, self.cells[key])] for key in sorted(self.cells)]

    @classmethod
    def read(cls, state: Iterable[Sequence[Any]]) -> Moments:
        """Returns the moments of ``state``."""
        moments, width = cls(), 2 + len(FACTORS)
        moments.cells = {tuple(row[:width]): np.array(row[width:], np.float64) for row in state}
        return moments


class Fit:
    """The regression. Columns: the outcome's score, then every level of every factor."""

    def __init__(self, moments: Moments) -> None:
        keys = sorted(moments.cells)
        self._strata = {name: i for i, name in enumerate(sorted({key[1] for key in keys}))}
        self._columns: dict[tuple[str, str], int] = {}
        for place, factor in enumerate(FACTORS):
            for level in sorted({key[2 + place] for key in keys}):
                self._columns[factor, level] = 1 + len(self._columns)
        self._width = 1 + len(self._columns)
        self.counts: dict[tuple[str, str], float] = dict.fromkeys(self._columns, 0.0)
        blocks = self._accumulate(moments, keys)
        self.freedom = len(blocks) - 1
        """Degrees of freedom of the errors."""
        whole = _Normal.of(blocks) if len(blocks) >= _FEWEST else None
        self._whole = None if whole is None else whole.solved()
        self._left = [] if whole is None else [whole.minus(block).solved() for block in blocks]

    def levels(self, factor: str) -> list[str]:
        """Returns the levels of a factor that occurred."""
        return [level for name, level in self._columns if name == factor]

    def effects(self, factor: str, *, confidence: float) -> dict[str, Effect]:
        """Returns level -> effect, in points; levels whose effect the data do not determine are omitted."""
        total = fsum(self.counts[factor, level] for level in self.levels(factor))
        effects = {}
        for level in self.levels(factor):
            contrast = np.zeros(self._width)
            for other in self.levels(factor):
                contrast[self._columns[factor, other]] = -self.counts[factor, other] / total
            contrast[self._columns[factor, level]] += 1.0
            effect = self._effect(contrast, confidence)
            if effect is not None and len(self.levels(factor)) > 1:
                effects[level] = effect
        return effects

    def gap(self, factor: str, level: str, other: str, *, confidence: float) -> Effect | None:
        """Returns by how many points ``level`` scores above ``other``; None if the data do not determine
        it."""
        if (factor, level) not in self._columns or (factor, other) not in self._columns:
            return None
        contrast = np.zeros(self._width)
        contrast[self._columns[factor, level]] = 1.0
        contrast[self._columns[factor, other]] = -1.0
        return self._effect(contrast, confidence)

    def _accumulate(self, moments: Moments, keys: Sequence[tuple[str, ...]]) -> list[_Normal]:
        tasks = sorted(
            {(key[2], key[0]) for key in keys}
        )  # by kind, so that every block has some of each kind
        block_of = {task: i % _BLOCKS for i, (_, task) in enumerate(tasks)}
        blocks = [_Normal.empty(len(self._strata), self._width + 1) for _ in range(min(_BLOCKS, len(tasks)))]
        blocks = blocks[: 1 + max(block_of.values(), default=-1)]
        for key in keys:
            columns = [self._columns[factor, key[2 + i]] for i, factor in enumerate(FACTORS)]
            for column in zip(FACTORS, key[2:], strict=True):
                self.counts[column] += float(moments.cells[key][0])
            blocks[block_of[key[0]]].add(self._strata[key[1]], columns, moments.cells[key])
        return blocks

    def _effect(self, contrast: Array, confidence: float) -> Effect | None:
        """Returns the contrast's estimate and jackknife error; None if it is undetermined without some
        block."""
        estimate = None if self._whole is None else self._whole.of(contrast)
        known = [value for left in self._left if (value := left.of(contrast)) is not None]
        number = len(known)
        if estimate is None or number < len(self._left):
            return None
        error = sqrt((number - 1) / number * fsum((value - estimate) ** 2 for value in known))
        reach = error * float(stats.t.ppf(0.5 + confidence / 2, number - 1))
        return Effect(estimate, error, estimate - reach, estimate + reach)


@dataclass(frozen=True)
class _Normal:
    """Terms of the normal equations for some samples. S strata, P columns of which the last is the score."""

    products: Array
    """[P, P]: Σ x xᵀ."""
    sums: Array
    """[S, P]: Σ x per stratum."""
    counts: Array
    """[S]: samples per stratum."""

    @classmethod
    def empty(cls, strata: int, width: int) -> _Normal:
        return cls(np.zeros((width, width)), np.zeros((strata, width)), np.zeros(strata))

    @classmethod
    def of(cls, blocks: Sequence[_Normal]) -> _Normal:
        return cls(
            np.sum([block.products for block in blocks], axis=0),
            np.sum([block.sums for block in blocks], axis=0),
            np.sum([block.counts for block in blocks], axis=0),
        )

    def add(self, stratum: int, columns: Sequence[int], cell: Array) -> None:
        """Adds, in place, one cell of moments, whose samples have 1 in ``columns``."""
        n, score, outcome, outcome2, cross = map(float, cell)
        x = np.zeros(len(self.products))
        x[columns], x[0], x[-1] = n, outcome, score
        self.sums[stratum] += x
        self.counts[stratum] += n
        self.products[np.ix_(columns, columns)] += n
        self.products[0, columns] += outcome
        self.products[columns, 0] += outcome
        self.products[-1, columns] += score
        self.products[columns, -1] += score
        self.products[0, 0] += outcome2
        self.products[0, -1] += cross
        self.products[-1, 0] += cross

    def minus(self, other: _Normal) -> _Normal:
        return _Normal(self.products - other.products, self.sums - other.sums, self.counts - other.counts)

    def solved(self) -> _Solution:
        occupied = self.counts > _TOLERANCE
        means = self.sums[occupied] / self.counts[occupied, None]
        within = self.products - means.T @ self.sums[occupied]  # strata are projected out (Frisch and Waugh)
        gram, moments = within[:-1, :-1], within[:-1, -1]
        inverse = np.linalg.pinv(gram, rcond=_TOLERANCE, hermitian=True)
        return _Solution(inverse @ moments, inverse @ gram)


class _Solution(NamedTuple):
    """Least-squares coefficients, as far as the samples determine them; P - 1 columns."""

    beta: Array
    rows: Array
    """[P-1, P-1]: projection onto the determined subspace."""

    def of(self, contrast: Array) -> float | None:
        """Returns ``contrast @ beta``, or None if the samples do not determine it."""
        if np.abs(contrast @ self.rows - contrast).max() > 1e-6:
            return None
        return float(contrast @ self.beta)


def significance_threshold(fit: Fit, tests: int, confidence: float) -> float:
    """Returns how many standard errors an effect must exceed, Bonferroni-corrected for ``tests`` effects."""
    if fit.freedom < 1 or tests < 1:
        return inf
    return float(stats.t.ppf(1.0 - (1.0 - confidence) / (2 * tests), fit.freedom))
