"""Grades submissions."""

from __future__ import annotations

import math

import numpy as np

from envs.dsbench import csvs, metrics
from envs.dsbench.answer import read_answer
from envs.dsbench.spec import Table
from envs.dsbench.submission import Submission, TooLarge, validate
from envs.types import Outcome

FALLBACKS = ("constant", "paper")
"""What a failed run counts: as much as a submission that knows nothing, or MAPPA's published values."""


def inspect(table: Table, data: bytes | TooLarge | None) -> Submission:
    """Validates a submission without scoring it: ``submission.validate``, and the code ``copied``.

    A submission with the sample submission's values is not a prediction.
    """
    key = read_answer(table).key
    submission = validate(data, key)
    sample = validate(csvs.content(table.sample), key)
    if submission.values is None or sample.values is None:
        return submission
    if not np.array_equal(submission.values, sample.values):
        return submission
    return Submission("copied", "the values are those of sample_submission.csv")


def grade(table: Table, data: bytes | TooLarge | None, fallback: str) -> Outcome:
    """Returns the outcome of a submission with the bytes ``data`` (None: there is none).

    As in the paper, a submission succeeds if it can be scored, however low its score is. Two exceptions: a
    copy of the sample submission fails with ``copied``, and a metric that is not finite (the correlation of a
    constant, an overflow) fails with ``nan``. ``fallback``: what a failure counts, one of ``FALLBACKS``.

    Metrics: the task's own metric under its name, if it could be computed; ``quality``, ``fair`` and ``rpg``
    (see ``envs.dsbench.metrics``), the last one if the baseline is known; ``copied_sample``, 0 or 1.
    """
    spec = table.spec
    answer = read_answer(table)
    submission = inspect(table, data)
    if submission.values is None:
        return _failure(table, submission.code, fallback)
    raw = metrics.evaluate(spec.metric, answer.truth, submission.values, answer.key.labels)
    if not math.isfinite(raw):
        return _failure(table, "nan", fallback)
    score = metrics.quality(spec.metric, answer.truth, submission.values, raw)
    scores = {spec.metric: raw, "quality": score, "copied_sample": 0.0, "fair": score}
    if spec.baseline is not None and spec.best is not None and spec.baseline != spec.best:
        scores["rpg"] = metrics.rpg(raw, spec.baseline, spec.best)
    return Outcome(True, score, scores, "ok")


def _failure(table: Table, code: str, fallback: str) -> Outcome:
    spec = table.spec
    fair = metrics.paper_fallback(spec.metric) if fallback == "paper" else read_answer(table).constant
    scores = {"quality": 0.0, "copied_sample": float(code == "copied"), "fair": fair}
    if spec.baseline is not None and spec.best is not None:
        scores["rpg"] = 0.0  # as DSBench scores a missing result
    return Outcome(False, 0.0, scores, code)
