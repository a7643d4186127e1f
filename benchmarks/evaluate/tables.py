"""Tables of evaluations side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.table import Table

from benchmarks.common.estimates import Estimate
from benchmarks.common.power import MOST_PAIRS, Power
from benchmarks.common.significance import Flips
from benchmarks.evaluate import by_task
from benchmarks.evaluate.comparison import Difference
from benchmarks.evaluate.conduct import Conduct
from benchmarks.evaluate.groups import Group
from benchmarks.evaluate.reading import Evaluation
from benchmarks.evaluate.repeats import Tries
from benchmarks.evaluate.report import Results
from conf.tables import interval, make_table
from learners.run.metrics import wilson
from learners.run.report import held_out


def details(results: Results) -> Iterator[Table]:
    """Yields all tables but that of outcomes."""
    for group in results.groups:
        yield by_task.table(group.title, group.episodes)
    yield conduct(results.evaluations)
    yield diagnosis(results.evaluations)
    yield achieved(results.groups, results.tries)
    if results.differences:
        yield comparison(results.differences)
    powers = {f"{one.label} minus {one.baseline}": one.power for one in results.differences if one.power}
    if results.planned:
        powers = {"compared with an equal team": results.planned}
    if powers:
        yield found(powers)


def outcomes(evaluations: Sequence[Evaluation]) -> Table:
    """Returns a table of success, fair score and delivered stages of each agent."""
    return held_out({one.label: one.metrics for one in evaluations})


def diagnosis(evaluations: Sequence[Evaluation]) -> Table:
    """Returns a table of failures, the agents that the coach blames, and the effort."""
    table = make_table("Failures and effort", ["", *(one.label for one in evaluations)])

    def line(label: str, show: Callable[[Evaluation], str]) -> None:
        table.add_row(label, *(show(one) for one in evaluations))

    if any(one.algorithm for one in evaluations):
        line("algorithm", lambda one: one.algorithm or "–")
    if any(one.models for one in evaluations):
        line("model", lambda one: " + ".join(dict.fromkeys(one.models.values())) or "–")
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


def achieved(groups: Sequence[Group], results: Sequence[Tries]) -> Table:
    """Returns a table of each group's success and fair score, and of its success in several tries."""
    title = "Means over runs and tasks (95 % intervals, for other runs and tasks of their kind)"
    table = make_table(title, ["", *(group.title for group in groups)])
    table.add_row("runs, tasks", *(f"{len(group.runs)}, {len(group.tasks)}" for group in groups))
    table.add_row("success", *(_estimate(one.success, ".3f") for one in results))
    for k in results[0].at_least_one:
        table.add_row(f"pass@{k}", *(_estimate(one.at_least_one[k], ".3f") for one in results))
    for k in results[0].all_of_them:
        table.add_row(f"pass^{k}", *(_estimate(one.all_of_them[k], ".3f") for one in results))
    table.add_row("fair", *(_estimate(one.fair, ".3f") for one in results))
    return table


def comparison(differences: Sequence[Difference]) -> Table:
    """Returns a table of the differences between groups, and of tests of them."""
    title = "Differences over common tasks (95 % intervals, two-sided p)"
    table = make_table(title, ["", *(f"{one.label} minus {one.baseline}" for one in differences)])

    def line(label: str, show: Callable[[Difference], str]) -> None:
        table.add_row(label, *(show(one) for one in differences))

    line("runs, tasks", lambda one: f"{one.runs[1]} and {one.runs[0]}, {one.tasks}")
    table.add_section()
    line("success", lambda one: _estimate(one.success, "+.3f"))
    line("gained, lost, of pairs", lambda one: _flips(one.pairs))
    line("p on these tasks (McNemar)", lambda one: _p(one.pairs.p if one.pairs else None))
    line("p over tasks (permutation)", lambda one: _p(one.success_tests.over_tasks))
    line("p over runs (t test)", lambda one: _p(one.success_tests.over_runs))
    table.add_section()
    line("fair", lambda one: _estimate(one.fair, "+.3f"))
    line("p over tasks (permutation)", lambda one: _p(one.fair_tests.over_tasks))
    line("p over runs (t test)", lambda one: _p(one.fair_tests.over_runs))
    return table


def found(powers: Mapping[str, Power]) -> Table:
    """Returns a table of what differences in success the pairs of episodes can find. ``powers``: by label."""
    title = "What McNemar's test of these pairs can find (5 %, two-sided)"
    table = make_table(title, ["", *powers])
    asked = next(iter(powers.values())).difference
    shown: Mapping[str, Callable[[Power], str]] = {
        "pairs of episodes": lambda one: str(one.pairs),
        "of which only one succeeds": lambda one: f"{one.disagreement:.3f}",
        "difference found with a chance of 0.8": lambda one: (
            "none" if one.smallest is None else f"{one.smallest:.3f}"
        ),
        f"chance to find {asked:g}": lambda one: f"{one.chance:.3f}",
        f"pairs to find {asked:g} with a chance of 0.8": lambda one: (
            f"more than {MOST_PAIRS}" if one.needed is None else str(one.needed)
        ),
    }
    for label, show in shown.items():
        table.add_row(label, *(show(one) for one in powers.values()))
    return table


def _estimate(estimate: Estimate, form: str) -> str:
    sign = "+" if form.startswith("+") else ""
    return f"{estimate.value:{form}} {interval(estimate.low, estimate.high, f'{sign}.2f')}"


def _flips(flips: Flips | None) -> str:
    return "–" if flips is None else f"{flips.gained}, {flips.lost}, {flips.pairs}"


def _p(p: float | None) -> str:
    return "–" if p is None else f"{p:.2g}"
