"""A failed run counts no more than a submission that knows nothing, for every metric."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conf
from conf import ConfigError
from envs.dsbench import DSBench, grading, metrics
from envs.dsbench.metrics import METRICS, Array
from envs.types import Task
from tests.envs.dsbench.tables import write_table

LABELS = ["0", "1", "2"]
MORE = [*LABELS, "3", "4"]
"""For rankings, three places of which are read."""


def draw(metric: str, rng: np.random.Generator, rows: int, targets: int = 2) -> Array:
    """Random targets of the kind that ``metric`` needs, with every class in them."""
    kind = METRICS[metric].prediction
    if kind not in ("value", "proba"):
        classes = labels_of(metric)
        values = rng.choice(classes, rows, p=rng.dirichlet(np.ones(len(classes))))
        values[: len(classes)] = classes
        return np.asarray(values, dtype=object).reshape(-1, 1)
    if kind == "value":
        return np.asarray(rng.lognormal(0.0, 1.0, (rows, targets)))
    if metric == "log_loss":
        classes = np.concatenate([np.arange(3), rng.choice(3, rows - 3, p=rng.dirichlet(np.ones(3)))])
        return np.asarray(np.eye(3)[classes])
    return np.asarray(np.concatenate([np.eye(2), rng.integers(0, 2, (rows - 2, 2))]), dtype=float)


def labels_of(metric: str) -> list[str]:
    return LABELS[:2] if metric == "f1" else MORE if metric == "hit_at_3" else LABELS


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_failure_counts_at_most_what_the_best_constant_does(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    train, truth = draw(metric, rng, 40), draw(metric, rng, 30)
    failed = metrics.constant_quality(metric, train, truth, labels_of(metric))
    assert 0.0 <= failed <= 1.0
    best = 0.0
    for constant in metrics.constants(metric, train, labels_of(metric)):
        guess = np.tile(constant, (len(truth), 1))
        raw = metrics.evaluate(metric, truth, guess, labels_of(metric))
        best = max(best, metrics.quality(metric, truth, guess, raw))
    assert failed <= best
    perfect = metrics.evaluate(metric, truth, truth, labels_of(metric))
    assert metrics.quality(metric, truth, truth, perfect) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_quality_grows_with_the_metric_or_as_errors_shrink(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = draw(metric, rng, 30, targets=1)
    rows = []
    for share in np.linspace(0.0, 1.0, 6):
        if METRICS[metric].prediction not in ("value", "proba"):
            wrong = draw(metric, rng, 30)
            guess = np.where(rng.random((30, 1)) < share, truth, wrong)
        elif METRICS[metric].prediction == "proba":
            guess = share * truth + (1 - share) * rng.random(truth.shape)
        else:
            guess = truth * (1 + (1 - share))
        raw = metrics.evaluate(metric, truth, guess, labels_of(metric))
        value = metrics.quality(metric, truth, guess, raw)
        assert 0.0 <= value <= 1.0
        rows.append((raw if METRICS[metric].best else -raw, value))
    rows.sort()
    assert all(after >= before - 1e-12 for (_, before), (_, after) in pairwise(rows))


def test_a_failure_with_log_loss_is_worth_the_class_shares() -> None:
    train = np.eye(3)[[0, 0, 1, 2]]
    truth = np.eye(3)[[0, 1, 2, 0]]
    expected = math.exp((2 * math.log(0.5) + 2 * math.log(0.25)) / 4)
    assert metrics.constant_quality("log_loss", train, truth, []) == pytest.approx(expected)
    assert expected < 0.5


@pytest.mark.parametrize(("metric", "failed"), [("qwk", 0.0), ("accuracy", 0.25), ("f1_macro", 0.1333)])
def test_a_failure_with_labels_is_worth_the_majority_class(metric: str, failed: float) -> None:
    train = np.array([["1"], ["1"], ["0"], ["2"]], dtype=object)
    truth = np.array([["0"], ["0"], ["1"], ["2"]], dtype=object)
    assert metrics.constant_quality(metric, train, truth, LABELS) == pytest.approx(failed, abs=1e-4)


def test_a_failure_with_f1_is_worth_what_the_positive_class_for_every_row_is() -> None:
    train = np.array([["0"], ["0"], ["0"], ["1"]], dtype=object)
    truth = np.array([["0"], ["1"]], dtype=object)
    assert metrics.constant_quality("f1", train, truth, ["0", "1"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("metric", "failed"), [("roc_auc", 0.5), ("pearson", 0.0), ("r2", 0.0)])
def test_what_knows_nothing_is_worth_half_an_auc_and_no_correlation(metric: str, failed: float) -> None:
    rng = np.random.default_rng(1)
    train = truth = draw(metric, rng, 40)
    assert metrics.constant_quality(metric, train, truth, []) == pytest.approx(failed, abs=1e-9)


def test_a_failure_with_rankings_is_worth_the_three_largest_classes() -> None:
    train = np.array([[label] for label in "aabbbccdddde"], dtype=object)
    truth = np.array([["d"], ["a"], ["c"], ["e"]], dtype=object)
    labels = list("abcde")
    assert [constant[0] for constant in metrics.constants("hit_at_3", train, labels)] == ["d b a c e"]
    assert metrics.constant_quality("hit_at_3", train, truth, labels) == 0.5


def test_a_failure_with_texts_is_worth_the_text_or_the_word_that_the_training_texts_prefer() -> None:
    texts = ["fine day", "fine day", "so good", "good", "good one", "good deed"]
    train = np.array([[text] for text in texts], dtype=object)
    truth = np.array([["good"], ["day"]], dtype=object)
    assert [constant[0] for constant in metrics.constants("jaccard", train, [])] == ["fine day", "good"]
    assert metrics.constant_quality("jaccard", train, truth, []) == 0.5


def test_the_constant_is_the_one_that_the_metric_prefers_on_the_training_targets() -> None:
    train = np.array([[0.0], [0.0], [0.0], [100.0]])
    truth = np.array([[0.0], [100.0]])
    mean, median = (1 - math.hypot(25, 75) / math.sqrt(2) / 100), 1 - 100 / math.sqrt(2) / 100
    assert metrics.constant_quality("rmse", train, truth, []) == pytest.approx(mean)
    assert metrics.constant_quality("mae", train, truth, []) == pytest.approx(median)


def play(root: Path, data: bytes | None, **settings: object) -> tuple[float, float]:
    """Quality and fair score of a submission for the only task under ``root``."""
    built = conf.build("envs", conf.load("env", "dsbench", source="local", root=str(root), **settings))
    assert isinstance(built, DSBench)
    task: Task = built.tasks("train")[0]
    outcome = grading.grade(task.answer, data, built.fallback)
    return outcome.metrics["quality"], outcome.metrics["fair"]


def test_giving_up_never_pays_more_than_submitting_the_class_shares(tmp_path: Path) -> None:
    rows = [f"{n},{n % 7},{'1,0,0' if n % 2 else '0,1,0' if n % 4 else '0,0,1'}" for n in range(40)]
    write_table(tmp_path, metric="log_loss", task_type="multiclass", targets=("a", "b", "c"), rows=rows)
    shares = b"id,a,b,c\n" + b"".join(b"%d,0.5,0.25,0.25\n" % n for n in range(20, 40))
    quality, fair = play(tmp_path, shares)
    assert quality == fair == pytest.approx(math.exp(-1.5 * math.log(2)))
    assert play(tmp_path, None) == pytest.approx((0.0, fair))
    assert play(tmp_path, None, fallback="paper") == (0.0, 0.5)


def test_without_training_targets_the_sample_submission_is_what_knows_nothing(tmp_path: Path) -> None:
    write_table(tmp_path, metric="roc_auc", targets=("y",), rows=[f"{n},{n % 7},{n % 2}" for n in range(40)])
    (tmp_path / "train.csv").write_text("id,x,class\n1,2,no\n2,3,yes\n")
    assert play(tmp_path, None) == (0.0, 0.5)


def test_the_published_fallbacks_are_a_setting() -> None:
    published = {"accuracy": 0.5, "f1": 0.0, "f1_macro": 0.0, "roc_auc": 0.5, "rmse": 0.5, "log_loss": 0.5}
    assert {name: metrics.paper_fallback(name) for name in published} == published
    with pytest.raises(ConfigError, match="fallback must be constant or paper; got 'mean'"):
        conf.build("envs", conf.load("env", "dsbench", fallback="mean"))
