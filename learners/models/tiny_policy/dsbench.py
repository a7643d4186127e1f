"""Demonstrations for DSBench: what its three roles may read, and what they may answer."""

from __future__ import annotations

import random
from typing import Any

from envs.base import Scenario
from envs.dsbench.metrics import METRICS
from envs.dsbench.tasks import heading
from envs.types import Role, Turn
from learners.models.tiny_policy.demonstrations import Demonstration, chat, error_text, made_up_turn, pick
from learners.models.tiny_policy.habits import choose, script

_CLOSING = "Done."
_GIVING_UP = "I give up."
_STATES = {
    "X_train.pkl": ("missing", "nan", "text", "rows"),
    "y_train.pkl": ("missing", "rows"),
    "X_test.pkl": ("missing", "nan", "text", "rows", "columns"),
    "model.pkl": ("missing", "unfitted", "kind"),
    "submission.csv": ("missing", "columns", "rows", "ids", "range", "copied"),
}
"""Artifact -> codes of what can be wrong with it, as in the checks."""
_METRICS = (
    *("accuracy", "f1", "f1_macro", "f1_micro", "log_loss", "mae", "medae", "mse", "pearson", "qwk", "r2"),
    *("rmse", "rmsle", "roc_auc", "spearman"),
)
"""What headings may name. The policy reads any other as unknown words; one more here is another warm start,
and all results that were recorded with it change."""
_ERRORS = (
    "ValueError",
    "TypeError",
    "NameError",
    "KeyError",
    "FileNotFoundError",
    "AttributeError",
    "SyntaxError",
    "NotFittedError",
)


def demonstrate(scenario: Scenario, rng: random.Random) -> Demonstration:
    """Returns a chat of one role, in its first or a later turn, and a reply."""
    facts = _facts(rng)
    place = rng.randrange(len(scenario.roles))
    role = scenario.roles[place]
    turns = [_handover(other, rng) for other in scenario.roles[:place]]
    if rng.random() < 0.6:
        closes = rng.random() < 0.03
        reply = _GIVING_UP if closes else script(role.name, choose(role.name, facts, rng))
    else:
        last = _attempt(role, rng, good=0.4)
        turns.append(last)
        reply = _next(role, last, facts, rng)
    return Demonstration(chat(scenario, heading(facts), role, turns), reply)


def _facts(rng: random.Random) -> dict[str, Any]:
    """Returns a table's public facts."""
    metric = rng.choice(_METRICS)
    prediction = METRICS[metric].prediction
    task_type = "regression" if prediction == "value" else rng.choice(("binary", "multiclass"))
    if prediction == "proba":
        task_type = "binary"
    return {
        "task_type": task_type,
        "metric": metric,
        "prediction": prediction,
        "missing": rng.random() < 0.5,
        "text": rng.random() < 0.5,
        "dates": rng.random() < 0.3,
    }


def _next(role: Role, last: Turn, facts: dict[str, Any], rng: random.Random) -> str:
    """After a first attempt: usually ends the stage if all is well, and usually tries again if not."""
    assert last.result is not None
    well = last.result.status == "ok" and all(check.code == "ok" for check in last.checks)
    if rng.random() < (0.8 if well else 0.35):
        return _CLOSING if well else _GIVING_UP
    return script(role.name, choose(role.name, facts, rng))


def _handover(role: Role, rng: random.Random) -> Turn:
    if rng.random() < 0.05:
        return made_up_turn(role, status=None, states={spec.name: "missing" for spec in role.produces})
    return _attempt(role, rng, good=0.7)


def _attempt(role: Role, rng: random.Random, *, good: float) -> Turn:
    """Returns a turn with code of ``role``, all of whose artifacts are correct with probability ``good``."""
    attempt = pick(rng, {n: 0.5**n for n in range(role.max_turns - 1)}) if role.max_turns > 1 else 0
    names = [spec.name for spec in role.produces]
    if rng.random() < good:
        return made_up_turn(role, attempt=attempt, states=dict.fromkeys(names, "ok"))
    if rng.random() < 0.5:
        state = pick(rng, {"missing": 0.8, "ok": 0.2})
        stderr = error_text(rng.choice(_ERRORS))
        return made_up_turn(
            role, attempt=attempt, status="error", stderr=stderr, states=dict.fromkeys(names, state)
        )
    states = {name: "ok" if rng.random() < 0.4 else rng.choice(_STATES[name]) for name in names}
    stdout = f"{rng.random():.2f}\n" if role.name == "modeler" else ""
    return made_up_turn(role, attempt=attempt, stdout=stdout, states=states)
