"""How much of a coach's scores goes by who was judged and on what, and not by what came of it.

Every judged turn is one sample. Scores are regressed, by least squares, on the turn's stratum (a fixed effect
each), on the outcome's score, and on its level of every factor: kind of task, role, length of the action.
Turns of one stratum are alike in all that the grader, the sandbox and the artifact checks say of them, so a
level's effect is what its turns score above others *with the same outcome and the same evidence*. Effects of
a factor are centred: weighted by the samples of each level they sum to 0, and removing them leaves the mean
as it was.

Errors are those of the jackknife over tasks: a coach may like one task better than another, and that alone is
no bias towards its kind, so tasks are what varies, not turns. Intervals are Student's t with as many degrees
of freedom as there are tasks, less one. What is not covered: a true difference in quality between two kinds
that neither grader nor evidence can see looks like a bias of the coach.
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
"""Upper ends of the length buckets, in characters of the action."""
CONFIDENCE = 0.95
"""Of intervals that are shown, and of alarms."""

_BLOCKS = 40
"""Tasks are left out in at most so many groups: more would cost time and add little."""
_FEWEST = 3
"""Tasks, below which there is no telling one from another."""
_TOLERANCE = 1e-8

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One judged turn."""

    task: str
    stratum: str
    """What grader, sandbox and checks say of it, in words."""
    levels: tuple[str, ...]
    """Of ``FACTORS``, in their order."""
    outcome: float
    """The episode's, in [0, 1]."""
    score: float


class Effect(NamedTuple):
    """A difference in points, with its interval."""

    estimate: float
    error: float
    """Standard error."""
    low: float
    high: float

    def shrunk(self, bar: float) -> float:
        """What of the estimate is beyond doubt: nothing up to ``bar`` standard errors, soon all of it above.

        The factor is that of the non-negative garrote, 1 - (bar error / estimate)² where positive (L.
        Breiman, Technometrics 37, 1995): continuous, so that a correction does not jump between steps.
        """
        if self.estimate == 0.0:
            return 0.0
        return self.estimate * max(0.0, 1.0 - (bar * self.error / self.estimate) ** 2)


def samples(episodes: Iterable[JudgedEpisode]) -> list[Sample]:
    """The judged turns of ``episodes``; those without a verdict left out."""
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
    """The turn's level of every factor."""
    return turn.kind, turn.agent, length_bucket(turn.action)


def length_bucket(action: str) -> str:
    """``<=400`` for an action of 101 to 400 characters."""
    place = bisect_left(LENGTHS, len(action))
    return f"<={LENGTHS[place]}" if place < len(LENGTHS) else f">{LENGTHS[-1]}"


def stratum(history: Sequence[Turn], outcome: Outcome) -> str:
    """What came of the last turn of ``history`` and of its episode, in words.

    ``success, ran ok, printed, products nan+ok, not in order before, first, not last``: the products by what
    is wrong with them, and not by name, or a role's turns would be like no other's.
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


class Ledger:
    """Sums over samples, from which effects are computed: small, mergeable, and the same in any order.

    One cell for each task, stratum and combination of levels holds n, Σscore, Σoutcome, Σoutcome² and
    Σoutcome·score.
    """

    def __init__(self) -> None:
        self.cells: dict[tuple[str, ...], Array] = {}

    def add(self, batch: Iterable[Sample]) -> None:
        """Takes in a batch; the order of its samples does not matter, to the last bit."""
        grouped: dict[tuple[str, ...], list[tuple[float, ...]]] = {}
        for one in batch:
            moments = (1.0, one.score, one.outcome, one.outcome**2, one.outcome * one.score)
            grouped.setdefault((one.task, one.stratum, *one.levels), []).append(moments)
        for key, rows in grouped.items():
            sums = np.array([fsum(column) for column in zip(*rows, strict=True)])
            self.cells[key] = self.cells[key] + sums if key in self.cells else sums

    def fade(self, factor: float) -> None:
        """Makes all that was taken in so far count ``factor`` of what it did; drops what hardly counts."""
        self.cells = {key: sums * factor for key, sums in self.cells.items() if sums[0] * factor > 1e-6}

    def state(self) -> list[list[Any]]:
        """As JSON."""
        return [[*key, *map(float, self.cells[key])] for key in sorted(self.cells)]

    @classmethod
    def read(cls, state: Iterable[Sequence[Any]]) -> Ledger:
        """The ledger of ``state``."""
        ledger, width = cls(), 2 + len(FACTORS)
        ledger.cells = {tuple(row[:width]): np.array(row[width:], np.float64) for row in state}
        return ledger


class Fit:
    """The regression on a ledger. Columns: the outcome's score, then every level of every factor."""

    def __init__(self, ledger: Ledger) -> None:
        keys = sorted(ledger.cells)
        self._strata = {name: i for i, name in enumerate(sorted({key[1] for key in keys}))}
        self._columns: dict[tuple[str, str], int] = {}
        for place, factor in enumerate(FACTORS):
            for level in sorted({key[2 + place] for key in keys}):
                self._columns[factor, level] = 1 + len(self._columns)
        self._width = 1 + len(self._columns)
        self.counts: dict[tuple[str, str], float] = dict.fromkeys(self._columns, 0.0)
        blocks = self._accumulate(ledger, keys)
        self.freedom = len(blocks) - 1
        """Degrees of freedom of the errors."""
        whole = _Sums.of(blocks) if len(blocks) >= _FEWEST else None
        self._whole = None if whole is None else whole.solved()
        self._left = [] if whole is None else [whole.less(block).solved() for block in blocks]

    def levels(self, factor: str) -> list[str]:
        """The levels of a factor that were seen."""
        return [level for name, level in self._columns if name == factor]

    def effects(self, factor: str, *, confidence: float) -> dict[str, Effect]:
        """Each level's effect, in points; levels whose effect the data cannot tell are left out."""
        total = fsum(self.counts[factor, level] for level in self.levels(factor))
        found = {}
        for level in self.levels(factor):
            contrast = np.zeros(self._width)
            for other in self.levels(factor):
                contrast[self._columns[factor, other]] = -self.counts[factor, other] / total
            contrast[self._columns[factor, level]] += 1.0
            effect = self._effect(contrast, confidence)
            if effect is not None and len(self.levels(factor)) > 1:
                found[level] = effect
        return found

    def gap(self, factor: str, level: str, other: str, *, confidence: float) -> Effect | None:
        """How many points ``level`` scores above ``other``; None where the data cannot tell."""
        if (factor, level) not in self._columns or (factor, other) not in self._columns:
            return None
        contrast = np.zeros(self._width)
        contrast[self._columns[factor, level]] = 1.0
        contrast[self._columns[factor, other]] = -1.0
        return self._effect(contrast, confidence)

    def _accumulate(self, ledger: Ledger, keys: Sequence[tuple[str, ...]]) -> list[_Sums]:
        tasks = sorted({(key[2], key[0]) for key in keys})  # by kind, so that every block has some of each
        block_of = {task: i % _BLOCKS for i, (_, task) in enumerate(tasks)}
        blocks = [_Sums.empty(len(self._strata), self._width + 1) for _ in range(min(_BLOCKS, len(tasks)))]
        blocks = blocks[: 1 + max(block_of.values(), default=-1)]
        for key in keys:
            columns = [self._columns[factor, key[2 + i]] for i, factor in enumerate(FACTORS)]
            for column in zip(FACTORS, key[2:], strict=True):
                self.counts[column] += float(ledger.cells[key][0])
            blocks[block_of[key[0]]].add(self._strata[key[1]], columns, ledger.cells[key])
        return blocks

    def _effect(self, contrast: Array, confidence: float) -> Effect | None:
        """The contrast's estimate and jackknife error, or None where some block is all that tells of it."""
        estimate = None if self._whole is None else self._whole.of(contrast)
        known = [value for left in self._left if (value := left.of(contrast)) is not None]
        number = len(known)
        if estimate is None or number < len(self._left):
            return None
        error = sqrt((number - 1) / number * fsum((value - estimate) ** 2 for value in known))
        reach = error * float(stats.t.ppf(0.5 + confidence / 2, number - 1))
        return Effect(estimate, error, estimate - reach, estimate + reach)


@dataclass(frozen=True)
class _Sums:
    """What the normal equations need of some samples. S strata, P columns with the score as the last."""

    products: Array
    """[P, P]: Σ x xᵀ."""
    sums: Array
    """[S, P]: Σ x by stratum."""
    counts: Array
    """[S]: samples by stratum."""

    @classmethod
    def empty(cls, strata: int, width: int) -> _Sums:
        return cls(np.zeros((width, width)), np.zeros((strata, width)), np.zeros(strata))

    @classmethod
    def of(cls, blocks: Sequence[_Sums]) -> _Sums:
        return cls(
            np.sum([block.products for block in blocks], axis=0),
            np.sum([block.sums for block in blocks], axis=0),
            np.sum([block.counts for block in blocks], axis=0),
        )

    def add(self, stratum: int, columns: Sequence[int], cell: Array) -> None:
        """In place: one cell of a ledger, whose samples have 1 in ``columns``."""
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

    def less(self, other: _Sums) -> _Sums:
        return _Sums(self.products - other.products, self.sums - other.sums, self.counts - other.counts)

    def solved(self) -> _Solution:
        known = self.counts > _TOLERANCE
        means = self.sums[known] / self.counts[known, None]
        within = self.products - means.T @ self.sums[known]  # Frisch and Waugh: strata are projected out
        gram, moments = within[:-1, :-1], within[:-1, -1]
        inverse = np.linalg.pinv(gram, rcond=_TOLERANCE, hermitian=True)
        return _Solution(inverse @ moments, inverse @ gram)


class _Solution(NamedTuple):
    """Least-squares coefficients, as far as the samples determine them."""

    beta: Array
    rows: Array
    """[P-1, P-1]: the projection on what is determined."""

    def of(self, contrast: Array) -> float | None:
        """``contrast @ beta``, or None where the samples do not determine it."""
        if np.abs(contrast @ self.rows - contrast).max() > 1e-6:
            return None
        return float(contrast @ self.beta)


def bar(fit: Fit, tests: int, confidence: float) -> float:
    """Standard errors that an effect must exceed for all of ``tests`` to be right with this confidence
    (Bonferroni)."""
    if fit.freedom < 1 or tests < 1:
        return inf
    return float(stats.t.ppf(1.0 - (1.0 - confidence) / (2 * tests), fit.freedom))
