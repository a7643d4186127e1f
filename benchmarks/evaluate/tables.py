"""Tables of evaluations side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.table import Table

from benchmarks.common.estimates import Estimate
from benchmarks.evaluate.conduct import Conduct
from benchmarks.evaluate.reading import Difference, Evaluation
from conf.tables import make_table
from learners.run.metrics import wilson
from learners.run.report import held_out


def outcomes(evaluations: Sequence[Evaluation]) -> Table:
    """Returns a table of success, fair score and delivered stages of each agent."""
    return held_out({one.label: one.metrics for one in evaluations})


def diagnosis(evaluations: Sequence[Evaluation]) -> Table:
    """Returns a table of failures, the agents that the coach blames, and the effort."""
    table = make_table("Failures and effort", ["", *(one.label for one in evaluations)])

    def line(label: str, show: Callable[[Evaluation], str]) -> None:
        table.add_row(label, *(show(one) for one in evaluations))

    mixed = [one.models for one in evaluations if len(set(one.models.values())) > 1]
    for agent in dict.fromkeys(agent for models in mixed for agent in models):
        line(f"{agent}: model", lambda one, agent=agent: one.models.get(agent, "–"))  # type: ignore[misc]
    line("episodes lost", lambda one: f"{one.metrics['lost']:.0f}")
    for code in dict.fromkeys(code for one in evaluations for code in one.failures):
        line(f"failed: {code}", lambda one, code=code: str(one.failures.get(code, 0)))  # type: ignore[misc]
    for name in sorted({name for one in evaluations for name in one.metrics if name.startswith("signal/")}):
        label = name.replace("/", ": ")
        line(label, lambda one, name=name: f"{one.metrics.get(name, 0.0):.0f}")  # type: ignore[misc]
    table.add_section()
    for agent in dict.fromkeys(agent for one in evaluations for agent in one.blamed or ()):
        line(f"{agent}: blamed, of failed", lambda one, agent=agent: _blame(one, agent))  # type: ignore[misc]
        line(f"{agent}: coach's score", lambda one, agent=agent: _score(one, agent))  # type: ignore[misc]
    table.add_section()
    for agent in dict.fromkeys(agent for one in evaluations for agent in one.effort.by_agent):
        line(f"{agent}: tokens", lambda one, agent=agent: f"{one.effort.by_agent.get(agent, 0)}")  # type: ignore[misc]
    line("prompt tokens", lambda one: f"{one.effort.prompt_tokens}")
    if any(one.effort.uncounted_turns for one in evaluations):
        line("turns without a count", lambda one: f"{one.effort.uncounted_turns}")
    line("cost, $", lambda one: f"{one.effort.cost:.4f}")
    line("coach's cost, $", lambda one: f"{one.effort.coach_cost:.4f}")
    line("seconds", lambda one: f"{one.effort.seconds:.1f}")
    return table


def conduct(evaluations: Sequence[Evaluation]) -> Table:
    """Returns a table of what agents made of what they read, with 95 % Wilson intervals."""
    table = make_table("Replies, programs and files", ["", *(one.label for one in evaluations)])
    shares = (
        ("readable replies", "readable", "actions"),
        ("replies with a program", "programs", "actions"),
        ("programs without an error", "ran", "programs"),
        ("artifacts in order", "in_order", "artifacts"),
    )
    for agent in dict.fromkeys(agent for one in evaluations for agent in one.conduct):
        for label, part, whole in shares:
            cells = [_share(one.conduct.get(agent, Conduct()), part, whole) for one in evaluations]
            if any(cell != "–" for cell in cells):
                table.add_row(f"{agent}: {label}", *cells)
        table.add_section()
    return table


def _share(counts: Conduct, part: str, whole: str) -> str:
    some, all_of_them = getattr(counts, part), getattr(counts, whole)
    if not all_of_them:
        return "–"
    low, high = wilson(some, all_of_them)
    return f"{some}/{all_of_them} [{low:.2f}, {high:.2f}]"


def _blame(evaluation: Evaluation, agent: str) -> str:
    failed = sum(evaluation.failures.values())
    if evaluation.blamed is None or not failed:
        return "–"
    count = evaluation.blamed.get(agent, 0)
    low, high = wilson(count, failed)
    return f"{count}/{failed} [{low:.2f}, {high:.2f}]"


def _score(evaluation: Evaluation, agent: str) -> str:
    name = f"score/{agent}"
    return f"{evaluation.metrics[name]:.2f}" if name in evaluation.metrics else "–"


def comparison(differences: Sequence[Difference]) -> Table:
    """Differences between the first evaluation and each other one."""
    title = "Differences over common tasks (95 %, bootstrap over tasks)"
    table = make_table(title, ["", "tasks", "success", "fair"])
    for one in differences:
        table.add_row(
            f"{one.label} minus {one.baseline}", str(one.tasks), _signed(one.success), _signed(one.fair)
        )
    return table


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.3f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"
