"""Scores of submissions: pure functions of the true and the predicted values.

True and predicted values are arrays of shape [rows, targets]: of floats, or of strings for labels, texts and
rankings. Metrics are scikit-learn's and SciPy's where these have them; differences from the official DSBench
scorers are noted beside the metric.

Three scores follow from one metric (DSBench, arXiv 2409.07703; MAPPA, arXiv 2601.23228):

- ``quality`` in [0, 1], higher is better, comparable between tasks;
- ``fair``: quality on success. A failed run counts as much as a submission that knows nothing: the constant
  that is fitted to the training targets (``constant_quality``), so that giving up never pays. MAPPA's
  published numbers follow from other values (``paper_fallback``): accuracy 0.5, F1 0 and an RMSE of 50 % of
  the target's range;
- ``rpg``, DSBench's relative performance gap: the distance from the baseline's score as a share of the
  distance from the baseline to the best score.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr  # type: ignore[import-untyped]
from sklearn import metrics as sk  # type: ignore[import-untyped]

from envs.dsbench.cells import NUMERIC, Prediction

Array = NDArray[Any]
Score = Callable[[Array, Array, Sequence[str]], float]

_GRADE = re.compile(r"[+-]?[0-9]{1,15}(?:\.0*)?")
_MAX_GRADES = 1000


@dataclass(frozen=True)
class Metric:
    """A metric: ``score(truth, guess, labels)``."""

    best: float
    """The score of perfect predictions: 1 if higher is better, 0 if lower is better."""
    prediction: Prediction
    """What a submission must contain."""
    score: Score


def evaluate(metric: str, truth: Array, guess: Array, labels: Sequence[str] = ()) -> float:
    """Returns the raw metric. ``labels`` are the sorted classes; binary F1 takes the last one as positive.
    A true value has the form of a prediction; for rankings, it is one label.

    NaN where the metric is undefined, e.g. for the correlation of a constant.
    """
    with np.errstate(all="ignore"):
        return float(METRICS[metric].score(truth, guess, labels))


def perfect(metric: str) -> float:
    """Returns the score of perfect predictions."""
    return METRICS[metric].best


def quality(metric: str, truth: Array, guess: Array, raw: float) -> float:
    """Returns the score in [0, 1], higher is better.

    Accuracy, F1, AUC, Jaccard and hits are unchanged; kappa, R², Gini and correlations are clipped at 0; log
    loss becomes the geometric mean of the probability of the true class, exp(−loss); every error of values
    becomes 1 − RMSE / range of the true target, clipped at 0 and averaged over targets. An undefined metric
    (NaN) is 0.
    """
    if METRICS[metric].prediction == "value" and METRICS[metric].best == 0.0:
        with np.errstate(over="ignore"):
            error = np.sqrt(np.mean((guess - truth) ** 2, axis=0))
        width = np.ptp(truth, axis=0)
        share = np.divide(error, width, out=np.where(error > 0, 1.0, 0.0), where=width > 0)
        return float(np.mean(np.clip(1.0 - share, 0.0, 1.0)))
    value = math.exp(-raw) if metric == "log_loss" else raw
    return 0.0 if math.isnan(value) else min(max(value, 0.0), 1.0)


def constants(metric: str, targets: Array, labels: Sequence[str] = ()) -> list[Array]:
    """Returns the constant predictions, each of shape [targets], that are fitted to training targets.

    Labels: the majority class, and the positive one, which F1 favours. Rankings: all classes, the largest
    first. Texts: the most frequent one, and the most frequent word. Probabilities: the class shares. Values:
    mean and median, and the mean of the logarithms where RMSLE is defined.
    """
    kind = METRICS[metric].prediction
    if kind not in NUMERIC:
        texts = [str(cell) for cell in targets[:, 0]]
        chosen = {
            "label": lambda: [_by_frequency(texts)[0], labels[-1]],
            "ranking": lambda: [" ".join(_by_frequency(texts))],
            "text": lambda: [_by_frequency(texts)[0], _by_frequency(_words(texts))[0]],
        }[kind]()
        return [np.array([text], dtype=object) for text in dict.fromkeys(chosen)]
    if kind == "proba":
        return [np.clip(targets, 0.0, 1.0).mean(axis=0)]
    fitted = [targets.mean(axis=0), np.median(targets, axis=0)]
    return [*fitted, np.expm1(np.log1p(targets).mean(axis=0))] if (targets > -1).all() else fitted


def constant_quality(metric: str, targets: Array, truth: Array, labels: Sequence[str] = ()) -> float:
    """Returns the quality, on the answer ``truth``, of a submission that knows nothing but the training
    ``targets``.

    Of the ``constants`` it is the one that the metric prefers on ``targets`` themselves.
    """

    def distance(constant: Array) -> float:
        raw = evaluate(metric, targets, _repeated(constant, targets), labels)
        return math.inf if math.isnan(raw) else abs(perfect(metric) - raw)

    fitted = constants(metric, targets, labels)
    guess = _repeated(min(fitted, key=distance) if len(fitted) > 1 else fitted[0], truth)
    return quality(metric, truth, guess, evaluate(metric, truth, guess, labels))


def paper_fallback(metric: str) -> float:
    """Returns what a failed run counts in MAPPA's published numbers."""
    return 0.0 if metric.startswith("f1") else 0.5


def _by_frequency(texts: Sequence[str]) -> list[str]:
    """Returns the distinct texts, the most frequent first, in alphabetical order where counts are equal."""
    counts = Counter(texts)
    return sorted(counts, key=lambda text: (-counts[text], text))


def _repeated(constant: Array, like: Array) -> Array:
    return np.tile(constant, (len(like), 1))


def rpg(raw: float, baseline: float, best: float) -> float:
    """Returns max(0, (raw − baseline) / (best − baseline)): 0 at the baseline or worse, 1 at the best score,
    whether higher or lower is better."""
    return max(0.0, (raw - baseline) / (best - baseline))


def _accuracy(y: Array, p: Array, labels: Sequence[str]) -> float:
    return float(np.mean(y[:, 0] == p[:, 0]))


def _f1(average: str) -> Score:
    def score(y: Array, p: Array, labels: Sequence[str]) -> float:
        positive = labels[-1] if average == "binary" else 1
        y, p = y[:, 0].astype(str), p[:, 0].astype(str)
        return float(sk.f1_score(y, p, average=average, pos_label=positive, zero_division=0.0))

    return score


def _roc_auc(y: Array, p: Array, labels: Sequence[str]) -> float:
    return float(np.mean([sk.roc_auc_score(y[:, k], p[:, k]) for k in range(y.shape[1])]))


def _log_loss(y: Array, p: Array, labels: Sequence[str]) -> float:
    """Binary on one column, otherwise over one-hot columns, with each row scaled to sum to 1."""
    if y.shape[1] == 1:
        return float(sk.log_loss(y[:, 0], p[:, 0], labels=[0, 1]))
    p = np.clip(p, np.finfo(float).eps, 1.0)
    return float(sk.log_loss(y.argmax(axis=1), p / p.sum(axis=1, keepdims=True), labels=range(y.shape[1])))


def grades(labels: Sequence[str]) -> list[int]:
    """Returns labels as integers. Raises ``ValueError``, which says what kappa needs."""
    values = [float(label) if _GRADE.fullmatch(label) else 0.5 for label in labels]
    if not all(value.is_integer() for value in values):
        raise ValueError(f"integer labels; got {', '.join(labels[:6])}")
    if max(values) - min(values) > _MAX_GRADES:
        raise ValueError(f"labels that are at most {_MAX_GRADES} apart")
    return [int(value) for value in values]


def _kappa(y: Array, p: Array, labels: Sequence[str]) -> float:
    # All integers in between, whether they occur or not, because quadratic weights depend on positions.
    values = grades(labels)
    every = list(range(min(values), max(values) + 1))
    truth, guess = (grades([str(label) for label in column[:, 0]]) for column in (y, p))
    return float(sk.cohen_kappa_score(truth, guess, weights="quadratic", labels=every))


def _smape(scale: float) -> Score:
    """Symmetric mean absolute percentage error, from 0 to twice ``scale``.

    A value of 0 that is predicted exactly is an error of 0. The official scorer of playground-series-s3e19
    makes the whole score NaN of it; the others do as we do.
    """

    def score(y: Array, p: Array, labels: Sequence[str]) -> float:
        gap, size = np.abs(p - y), np.abs(p) + np.abs(y)
        return scale * float(np.mean(np.divide(2 * gap, size, out=np.zeros_like(size), where=size > 0)))

    return score


def _gini(y: Array, p: Array, labels: Sequence[str]) -> float:
    """Gini coefficient as a share of that of the true values; equal predictions rank in the order of rows.

    NaN where all true values are equal.
    """
    if any(np.ptp(column) == 0 for column in y.T):
        return math.nan

    def gini(truth: Array, guess: Array) -> float:
        ranked = truth[np.argsort(-guess, kind="stable")]
        return float(np.mean(ranked.cumsum() / ranked.sum()) - (len(ranked) + 1) / (2 * len(ranked)))

    return float(np.mean([gini(y[:, k], p[:, k]) / gini(y[:, k], y[:, k]) for k in range(y.shape[1])]))


def _words(texts: Sequence[str]) -> list[str]:
    return [word for text in texts for word in sorted({*text.lower().split()})]


def _jaccard(y: Array, p: Array, labels: Sequence[str]) -> float:
    """Mean share of common words among all words of truth and guess, in lower case; 0 for two blank texts,
    which the official scorer does not accept."""
    truth, guess = ([{*text.lower().split()} for text in texts[:, 0]] for texts in (y, p))
    return float(np.mean([len(a & b) / max(1, len(a | b)) for a, b in zip(truth, guess, strict=True)]))


def _hits(most: int) -> Score:
    """Share of rows whose true label is among the first ``most`` of the ranking."""

    def score(y: Array, p: Array, labels: Sequence[str]) -> float:
        return float(np.mean([a in b.split()[:most] for a, b in zip(y[:, 0], p[:, 0], strict=True)]))

    return score


def _error(function: Callable[[Array, Array], float]) -> Score:
    return lambda y, p, labels: float(function(y, p))


def _correlation(function: Callable[[Array, Array], Any]) -> Score:
    def score(y: Array, p: Array, labels: Sequence[str]) -> float:
        if any(np.ptp(column) == 0 for array in (y, p) for column in array.T):
            return math.nan
        return float(np.mean([function(y[:, k], p[:, k]).statistic for k in range(y.shape[1])]))

    return score


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(1.0, "label", _accuracy),
    "f1": Metric(1.0, "label", _f1("binary")),
    "f1_macro": Metric(1.0, "label", _f1("macro")),
    "f1_micro": Metric(1.0, "label", _f1("micro")),
    "qwk": Metric(1.0, "label", _kappa),
    "hit_at_3": Metric(1.0, "ranking", _hits(3)),  # the position among the three does not count
    "jaccard": Metric(1.0, "text", _jaccard),
    "roc_auc": Metric(1.0, "proba", _roc_auc),  # mean over columns
    "normalized_gini": Metric(1.0, "proba", _gini),
    "log_loss": Metric(0.0, "proba", _log_loss),
    # Errors are means over columns; for RMSE that is MCRMSE, for RMSLE the mean column-wise RMSLE.
    "rmse": Metric(0.0, "value", _error(sk.root_mean_squared_error)),
    "rmsle": Metric(0.0, "value", _error(sk.root_mean_squared_log_error)),
    "mse": Metric(0.0, "value", _error(sk.mean_squared_error)),
    "mae": Metric(0.0, "value", _error(sk.mean_absolute_error)),
    "medae": Metric(0.0, "value", _error(sk.median_absolute_error)),
    "smape": Metric(0.0, "value", _smape(100.0)),
    "smape_fraction": Metric(0.0, "value", _smape(1.0)),
    "r2": Metric(1.0, "value", _error(sk.r2_score)),
    "pearson": Metric(1.0, "value", _correlation(pearsonr)),
    "spearman": Metric(1.0, "value", _correlation(spearmanr)),
}
