from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scipy.stats import binomtest  # type: ignore[import-untyped]

from envs.types import Episode, Outcome, Role, Turn
from learners.run.metrics import delivered, summarise, wilson
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import Result

ROLE = Role("modeler", "", 2, produces=(ArtifactSpec("model.pkl"),))


def turn(agent: str, index: int, status: str | None, code: str) -> Turn:
    result = None if status is None else Result(status, 0, "", "", False, 0.0, 0.0)  # type: ignore[arg-type]
    checks = (ArtifactCheck("model.pkl", code), ArtifactCheck("X_train.pkl", "nan"))
    return Turn("t", "k", agent, ROLE, index, 0, (), "", None, result, (), (), checks, False)


def episode(kind: str, success: bool, score: float, fair: float, turns: tuple[Turn, ...]) -> Episode:
    return Episode(
        "e", "t", kind, 0, turns, Outcome(success, score, {"fair": fair}, "ok" if success else "rows")
    )


def test_wilsons_interval_is_the_closed_form() -> None:
    z, k, n = 1.959963984540054, 7, 20
    p, centre = k / n, k / n + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = wilson(k, n)
    assert low == pytest.approx((centre - half) / (1 + z * z / n))
    assert high == pytest.approx((centre + half) / (1 + z * z / n))


def test_wilsons_interval_is_that_of_the_library_for_whole_successes() -> None:
    for successes, trials in ((0, 5), (3, 7), (20, 20), (50, 173)):
        library = binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson(successes, trials) == pytest.approx((library.low, library.high), abs=1e-12)


def test_a_stage_is_delivered_when_its_products_are_in_order_and_its_last_code_ran() -> None:
    assert delivered([turn("m", 0, "error", "missing"), turn("m", 1, "ok", "ok"), turn("m", 2, None, "ok")])
    assert not delivered([turn("m", 0, "ok", "ok"), turn("m", 1, "error", "ok")])
    assert not delivered([turn("m", 0, "ok", "missing")])


def test_raw_scores_count_successes_only_and_fair_ones_everything() -> None:
    good, bad = turn("m", 0, "ok", "ok"), turn("m", 0, "ok", "missing")
    row = summarise(
        [
            episode("a", True, 0.9, 0.9, (good,)),
            episode("a", False, 0.0, 0.5, (bad, bad)),
            episode("b", True, 0.7, 0.7, (good,)),
        ]
    )
    assert row["success"] == pytest.approx(2 / 3)
    assert row["success/a"] == 0.5
    assert row["raw"] == pytest.approx(0.8)
    assert row["raw/a"] == 0.9
    assert row["fair"] == pytest.approx(0.7)
    assert row["delivered/m"] == pytest.approx(2 / 3)
    assert row["turns/m"] == pytest.approx(4 / 3)


def test_a_kind_without_a_success_has_no_raw_score() -> None:
    row = summarise([episode("a", False, 0.0, 0.5, (turn("m", 0, "ok", "missing"),))])
    assert "raw" not in row
    assert row["success"] == 0.0


def test_the_forms_of_actions_are_counted() -> None:
    actions = [
        "```python\nx = 1\n```",
        "```python\nx = 1\n```",
        "Sure: ```python\nx = 1\n```",
        "<think>",
        "Done.",
    ]
    turns = tuple(replace(turn("m", at, None, "ok"), action=action) for at, action in enumerate(actions))
    row = summarise([episode("a", True, 1.0, 1.0, turns)])
    forms = {name: count for name, count in row.items() if name.startswith("action_form/")}
    assert forms == {
        "action_form/after_text": 1.0,
        "action_form/cut_thought": 1.0,
        "action_form/fenced": 2.0,
        "action_form/prose": 1.0,
    }


def test_signals_are_counted_and_change_no_other_number() -> None:
    plain = [episode("regression", True, 0.9, 0.9, (turn("m", 0, "ok", "ok"),)) for _ in range(3)]
    seen = [
        replace(one, outcome=replace(one.outcome, signals=dict.fromkeys(names, "turn 1 (a): why")))
        for one, names in zip(plain, (["perfect"], ["perfect", "dataset"], []), strict=True)
    ]
    assert summarise(seen) == summarise(plain) | {"signal/dataset": 1.0, "signal/perfect": 2.0}
