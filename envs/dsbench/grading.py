"""Grades submissions."""

from __future__ import annotations

import math
from dataclasses import replace

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
    if submission.values is None:
        return submission
    sample = validate(csvs.content(table.sample), key)
    if sample.values is None or not np.array_equal(submission.values, sample.values):
        return submission
    return replace(submission, code="copied", detail="the values are those of sample_submission.csv")


def grade(table: Table, data: bytes | TooLarge | None, fallback: str) -> Outcome:
    """Returns the outcome of a submission with the bytes ``data`` (None: there is none).

    As in the paper, a submission succeeds if it can be scored, however low its score is. Two exceptions: a
    copy of the sample submission fails with ``copied``, and a metric that is not finite (the correlation of a
    constant, an overflow) fails with ``nan``. ``fallback``: what a failure counts, one of ``FALLBACKS``.

    Metrics: the task's own metric under its name, if it could be computed; ``quality`` and ``fair`` (see
    ``envs.dsbench.metrics``); ``copied_sample``, 0 or 1; and DSBench's two: ``completed``, 1 if the official
    scorer would write a result, which it does for a copy and for an undefined metric too, and ``rpg``, if the
    baseline is known, which is 0 without a result or with an undefined one.
    """
    submission = inspect(table, data)
    raw, score = _scores(table, submission)
    code = "nan" if submission.code == "ok" and raw is None else submission.code
    spec, success = table.spec, code == "ok"
    scores = {} if raw is None else {spec.metric: raw}
    scores["quality"] = score if success else 0.0
    scores["copied_sample"] = float(code == "copied")
    scores["fair"] = score if success else _fallback(table, fallback)
    scores["completed"] = float(submission.values is not None)
    if spec.baseline is not None and spec.best is not None and spec.baseline != spec.best:
        scores["rpg"] = 0.0 if raw is None else metrics.rpg(raw, spec.baseline, spec.best)
    return Outcome(success, scores["quality"], scores, code)


def _scores(table: Table, submission: Submission) -> tuple[float | None, float]:
    """Returns the raw metric, None if it is undefined, and the quality."""
    answer, name = read_answer(table), table.spec.metric
    if submission.values is None:
        return None, 0.0
    raw = metrics.evaluate(name, answer.truth, submission.values, answer.key.labels)
    quality = metrics.quality(name, answer.truth, submission.values, raw)
    return (raw if math.isfinite(raw) else None), quality


def _fallback(table: Table, fallback: str) -> float:
    return metrics.paper_fallback(table.spec.metric) if fallback == "paper" else read_answer(table).constant
