"""What a coach costs a run: lost verdicts and money are recorded, and a spent budget ends the run cleanly."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from coaches.base import BudgetError, CoachError, Usage, Verdict
from coaches.llm import LLM
from envs.types import Turn
from learners.errors import TrainingError
from learners.run import checkpoint
from learners.run.folder import open_folder
from learners.train import run_errors
from tests.coaches import endpoints
from tests.learners.run.test_trainer import settings, trained


class SlowDownError(CoachError):
    """A cause of lost verdicts."""


class PaidCoach:
    """A verdict costs a cent and 110 tokens, cached or not; the budget is used up after ``budget``
    verdicts."""

    def __init__(self, budget: int = 1000, cached: bool = False, mute: Sequence[str] = ()) -> None:
        self.budget, self.cached, self.mute, self.asked = budget, cached, mute, 0

    def judge(self, history: Sequence[Turn]) -> Verdict:
        if history[-1].agent in self.mute:
            raise SlowDownError("wait")
        if self.asked >= self.budget:
            raise BudgetError("the coach's budget of 1 USD is used up")
        self.asked += 1
        usage = Usage(100, 10, calls=1, seconds=0.1 * self.asked, cached=self.cached)
        return Verdict(5.0, "", cost=0.01, usage=usage)


def metrics(run: Path) -> bytes:
    return (run / "metrics.jsonl").read_bytes()


def test_lost_verdicts_are_counted_by_cause(tmp_path: Path) -> None:
    rows, _, _ = trained(settings(tmp_path / "run"), coach=PaidCoach(mute=("teller",)))
    assert (rows[1]["masked"], rows[1]["masked/SlowDownError"]) == (4.0, 4.0)
    assert not any(key.startswith("masked") for key in rows[0]), "an evaluation is not coached"


def test_a_run_that_stops_because_verdicts_were_lost_names_the_causes(tmp_path: Path) -> None:
    coach = PaidCoach(mute=("maker", "changer", "teller"))
    with pytest.raises(TrainingError, match=r"(\d+) of \1 verdicts .*max_lost\): \1 by SlowDownError$"):
        trained(settings(tmp_path / "run"), coach=coach)


def test_cost_and_tokens_are_recorded_per_agent_and_what_was_paid_with_the_timings(tmp_path: Path) -> None:
    rows, _, folder = trained(settings(tmp_path / "run"), coach=PaidCoach())
    step = rows[1]
    agents = ("maker", "changer", "teller")
    assert step["cost"] == pytest.approx(sum(step[f"cost/{agent}"] for agent in agents))
    assert step["coach_tokens"] == sum(step[f"coach_tokens/{agent}"] for agent in agents)
    assert step["coach_tokens/teller"] == 4 * 110
    timing = next(row for row in folder.rows("timings") if row["phase"] == "train")
    assert timing["coach_cached"] == 0.0
    assert timing["coach_paid"] == pytest.approx(step["cost"])
    assert timing["coach_calls"] == step["coach_tokens"] / 110
    assert timing["coach_latency"] > 0
    turn = next(row for row in folder.rows("episodes") if row["phase"] == "train")["turns"][0]
    assert turn["verdict"]["usage"]["prompt_tokens"] == 100


@pytest.mark.slow
def test_a_cached_verdict_leaves_the_metrics_unchanged_and_costs_nothing_now(tmp_path: Path) -> None:
    trained(settings(tmp_path / "first"), coach=PaidCoach())
    _, _, folder = trained(settings(tmp_path / "second"), coach=PaidCoach(cached=True))
    assert metrics(tmp_path / "first") == metrics(tmp_path / "second")
    timing = next(row for row in folder.rows("timings") if row["phase"] == "train")
    assert (timing["coach_cached"], timing["coach_paid"], timing["coach_latency"]) == (1.0, 0.0, 0.0)


def test_a_coach_that_costs_nothing_adds_nothing_to_the_records(tmp_path: Path) -> None:
    rows, _, folder = trained(settings(tmp_path / "run"))
    assert not any(key.startswith(("cost", "coach_")) for row in rows for key in row)
    assert not any("coach" in key for row in folder.rows("timings") for key in row)


@pytest.mark.slow
def test_a_spent_budget_ends_the_run_with_a_checkpoint_and_it_can_be_resumed(tmp_path: Path) -> None:
    base: dict[str, Any] = {"steps": 3, "checkpoint": {"every": 10, "keep": 1}}
    trained(settings(tmp_path / "whole", **base), coach=PaidCoach())
    with pytest.raises(BudgetError):
        trained(settings(tmp_path / "broken", **base), coach=PaidCoach(budget=35))
    with open_folder(settings(tmp_path / "broken", resume=True, **base)) as folder:
        newest = checkpoint.latest(folder.path)
    assert newest is not None
    assert newest.step in (1, 2), "after the first step, which its budget was enough for"
    _, parts, _ = trained(settings(tmp_path / "broken", resume=True, **base), coach=PaidCoach())
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")
    policies: Any = parts.policies
    assert all(len(policy.updates) == 3 for policy in policies.values())


@pytest.mark.parametrize("deferred", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_resumed_run_does_not_pay_again_for_verdicts_of_a_language_model(
    tmp_path: Path, deferred: bool
) -> None:
    """A verdict is estimated at 10 USD and costs 1; the same question always gets the same verdict."""

    def fair(handler: endpoints.Handler) -> None:
        asked = re.sub("[0-9a-f]{16}", "", handler.body["messages"][1]["content"])
        score = hashlib.sha256(asked.encode()).digest()[0] % 11
        handler.send(200, endpoints.completion(endpoints.verdict(score), tokens=(10, 100)))

    def coach(cache: str, **changes: Any) -> LLM:
        prices = {"prompt": 0.0, "completion": 10_000.0}
        return endpoints.coach(server, tmp_path / cache, prices=prices, max_tokens=1000, **changes)

    base: dict[str, Any] = {"steps": 2, "rollout": {"deferred": deferred}}
    with endpoints.serving(fair) as server:
        trained(settings(tmp_path / "whole", **base), coach=coach("one"))
        asked = len(server.requests)
        with pytest.raises(BudgetError, match="budget of 18 USD"):
            trained(settings(tmp_path / "broken", **base), coach=coach("two", max_cost=18.0))
        trained(settings(tmp_path / "broken", resume=True, **base), coach=coach("two"))
        assert len(server.requests) == 2 * asked, "nothing is paid for twice"
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "whole")


def test_a_resumed_run_may_have_a_larger_budget(tmp_path: Path) -> None:
    def config(resume: bool, **coach: Any) -> Any:
        return settings(
            tmp_path / "run", resume=resume, coach={"name": "tests.x", "coach": {"name": "llm", **coach}}
        )

    open_folder(config(False, max_cost=1.0, model="a")).__exit__()
    open_folder(config(True, max_cost=5.0, model="a")).__exit__()
    with pytest.raises(Exception, match=r"other settings: coach\.coach\.model=b \(was a\)$"):
        open_folder(config(True, max_cost=5.0, model="b"))


def test_a_spent_budget_is_one_line_and_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, run_errors():
        raise BudgetError("the coach's budget of 2 USD is used up")
    assert caught.value.code == 3
    printed = capsys.readouterr().err
    assert printed == "stopped: the coach's budget of 2 USD is used up; resume=true continues from here\n"
