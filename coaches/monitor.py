"""Monitors, in every run, what drives the coach's scores; ``coaches.bias.effects`` describes the statistics.

    python -m coaches.monitor runs/x              # an old run folder
    python -m coaches.monitor episodes.jsonl env=dsbench --json

It answers three questions, each with an interval or a test. *Bias*: do task kinds, roles or lengths score
differently at equal outcome and equal evidence? MAPPA's authors report that their own coach preferred
regression to classification. *Drift*: do scores rise over steps at equal outcome and evidence? *Alarm*: have
the coach's scores risen while the held-out outcome fell?
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from coaches.bias import effects
from coaches.bias.effects import CONFIDENCE, FACTORS, Effect, Fit, Moments, Sample
from coaches.bias.trends import Alarm, alarm, drift
from coaches.judging.learning import JudgedEpisode
from conf import ConfigError
from conf.arguments import Parser
from conf.counts import plural
from conf.tables import interval, make_console, make_table
from envs.types import Role

log = logging.getLogger(__name__)

GAP = ("regression", "classification")
"""The kinds whose gap is monitored; the first is the one that MAPPA's coach preferred."""
VIEWS = (*FACTORS, "turn", "success")
"""What mean scores are grouped by; ``turn`` is the position in the episode."""


class Monitor:
    """Follows a run step by step and evaluation by evaluation. Its small state is part of a checkpoint."""

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self._moments = Moments()
        self._sums: dict[str, list[float]] = {}
        self._steps: dict[int, dict[str, list[float]]] = {}
        self._evaluations: list[tuple[int, dict[str, float]]] = []

    def step(self, step: int, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Adds a finished step and returns metrics to log.

        They are this step's mean scores by view (``coach/kind/math``) and, for the run so far, the effects
        (``bias/role/solver``), the gap between kinds with its interval, and the drift.
        """
        views = means(episodes)
        for name, (count, total) in views.items():
            sums = self._sums.setdefault(name, [0.0, 0.0])
            sums[0], sums[1] = sums[0] + count, sums[1] + total
        samples = effects.samples(episodes)
        self._moments.add(samples)
        self._steps[step] = by_stratum(samples)
        metrics = {f"coach/{name}": total / count for name, (count, total) in views.items()}
        fit = Fit(self._moments)
        for factor in FACTORS:
            for level, effect in fit.effects(factor, confidence=CONFIDENCE).items():
                metrics[f"bias/{factor}/{level}"] = effect.estimate
        metrics |= _named("bias/gap", fit.gap("kind", *GAP, confidence=CONFIDENCE))
        return metrics | _named("bias/drift", drift(self._steps))

    def evaluation(self, step: int, results: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Adds held-out (task, outcome score) pairs; returns whether there is an ``alarm``, and logs a
        warning if so."""
        scores: dict[str, list[float]] = {}
        for task, score in results:
            scores.setdefault(task, []).append(score)
        self._evaluations.append((step, {task: fsum(all) / len(all) for task, all in sorted(scores.items())}))
        raised = alarm(self._rewards(), self._evaluations)
        if raised is not None:
            self.alarms.append(raised)
            log.warning("alarm: %s", raised)
        return {"alarm": float(raised is not None)}

    def summary(self) -> dict[str, Any]:
        """Returns the report on the run so far, as JSON: what ``tabulate`` shows."""
        fit = Fit(self._moments)
        effects = {
            factor: {
                name: effect._asdict() for name, effect in fit.effects(factor, confidence=CONFIDENCE).items()
            }
            for factor in FACTORS
        }
        gap, slope = fit.gap("kind", *GAP, confidence=CONFIDENCE), drift(self._steps)
        return {
            "means": {
                name: {"turns": n, "score": total / n} for name, (n, total) in sorted(self._sums.items())
            },
            "effects": effects,
            "gap": None if gap is None else gap._asdict(),
            "drift": None if slope is None else slope._asdict(),
            "alarms": [vars(one) for one in self.alarms],
        }

    def state(self) -> dict[str, Any]:
        """Returns everything added so far, as JSON."""
        return {
            "moments": self._moments.state(),
            "sums": self._sums,
            "steps": [[step, cells] for step, cells in self._steps.items()],
            "evaluations": [[step, scores] for step, scores in self._evaluations],
            "alarms": [vars(one) for one in self.alarms],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores what ``state`` returned."""
        self._moments = Moments.read(state["moments"])
        self._sums = {name: list(sums) for name, sums in state["sums"].items()}
        self._steps = {step: dict(cells) for step, cells in state["steps"]}
        self._evaluations = [(step, dict(scores)) for step, scores in state["evaluations"]]
        self.alarms = [Alarm(**row) for row in state["alarms"]]

    def _rewards(self) -> dict[int, float]:
        """Returns step -> mean score, for every step with a verdict."""
        means = {}
        for step, cells in self._steps.items():
            if count := fsum(n for n, _ in cells.values()):
                means[step] = fsum(total for _, total in cells.values()) / count
        return means


def means(episodes: Iterable[JudgedEpisode]) -> dict[str, tuple[float, float]]:
    """Returns ``view/level`` -> (judged turns, sum of their scores)."""
    groups: dict[str, list[float]] = {}
    for episode in episodes:
        for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
            if verdict is not None:
                success = "yes" if episode.outcome.success else "no"
                for view, level in zip(VIEWS, (*effects.levels(turn), turn.index, success), strict=True):
                    groups.setdefault(f"{view}/{level}", []).append(verdict.score)
    return {name: (float(len(groups[name])), fsum(groups[name])) for name in sorted(groups)}


def by_stratum(samples: Iterable[Sample]) -> dict[str, list[float]]:
    """Returns stratum -> [number of samples, sum of their scores]."""
    groups: dict[str, list[float]] = {}
    for sample in samples:
        groups.setdefault(sample.stratum, []).append(sample.score)
    return {name: [float(len(groups[name])), fsum(groups[name])] for name in sorted(groups)}


def _named(name: str, effect: Effect | None) -> dict[str, float]:
    if effect is None:
        return {}
    return {name: effect.estimate, f"{name}_low": effect.low, f"{name}_high": effect.high}


def tabulate(summary: Mapping[str, Any]) -> Table:
    """Returns a table of mean scores and of the effects of kind, role and length at equal outcome and
    evidence."""
    columns = ["", "turns", "mean\nscore", "at equal\noutcome", "95 %"]
    table = make_table("What drives the coach's scores", columns)
    for view in VIEWS:
        rows = {name: row for name, row in summary["means"].items() if name.startswith(f"{view}/")}
        for name in sorted(rows, key=_order):
            effect = summary["effects"].get(view, {}).get(name.removeprefix(f"{view}/"))
            cells = ("–", "–") if effect is None else _cells(effect)
            count, mean = f"{rows[name]['turns']:.0f}", f"{rows[name]['score']:.2f}"
            table.add_row(name.replace("/", " "), count, mean, *cells)
        table.add_section()
    ends = {f"{GAP[0]} above {GAP[1]}": summary["gap"], "drift per step": summary["drift"]}
    for label, effect in ends.items():
        if effect is not None:
            table.add_row(label, "", "", *_cells(effect))
    return table


def _order(name: str) -> tuple[float, str]:
    """Sorts lengths and turns by number, everything else by name."""
    digits = name.split("/", 1)[1]
    if digits.startswith(">"):
        return inf, name
    return (float(digits.removeprefix("<=")), "") if digits.removeprefix("<=").isdigit() else (0.0, name)


def _cells(effect: Mapping[str, float]) -> tuple[str, str]:
    """Returns the estimate, starred if significant, and its interval."""
    places = 2 if abs(effect["estimate"]) >= 0.1 or effect["error"] >= 0.1 else 3
    mark = " *" if effect["low"] > 0.0 or effect["high"] < 0.0 else ""
    return (
        f"{effect['estimate']:+.{places}f}{mark}",
        interval(effect["low"], effect["high"], f"+.{places}f", least=-10.0, most=10.0),
    )


def show(summary: Mapping[str, Any], console: Console) -> None:
    """Prints the table and one line per alarm."""
    console.print(tabulate(summary))
    for row in summary["alarms"]:
        console.print(f"alarm: {Alarm(**row)}", soft_wrap=True, highlight=False)


def watch(path: Path, roles: Sequence[Role] | None = None) -> Monitor:
    """Returns the monitor of a finished run, from its folder or its ``episodes.jsonl``.

    Raises:
        ConfigError: there are no episodes, or none with a verdict.
    """
    return _watch(path, roles, False)[0]


def _watch(path: Path, roles: Sequence[Role] | None, skip_bad: bool) -> tuple[Monitor, list[str]]:
    from coaches import episodes

    pairs, skipped = episodes.read_all([path], roles=roles, skip_bad=skip_bad)
    groups: dict[tuple[str, int], list[Any]] = {}
    for _, one in pairs:
        groups.setdefault((one.phase, one.step), []).append(one)
    monitor = Monitor()
    for (phase, step), played in groups.items():
        if phase == "eval":
            monitor.evaluation(step, [(e.task_id, e.outcome.score) for e in played if e.outcome is not None])
        else:
            monitor.step(step + 1, [judged for e in played if (judged := e.judged()) is not None])
    if not monitor.summary()["means"]:
        raise ConfigError(f"{path}: no turn of these episodes has a verdict")
    return monitor, skipped


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    import conf
    from coaches.episodes import first_of
    from conf import commands

    parser = Parser("python -m coaches.monitor", __doc__)
    parser.add_argument("run", type=Path, help="a run folder, or a file of episodes")
    commands.add_overrides(parser, "env=<name>: roles of lines that have none")
    parser.add_argument("--skip-bad", action="store_true", help="leave out invalid lines, and count them")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.ERROR)  # alarms are printed at the end
    with commands.one_line_errors():
        config = commands.compose_parts(options.overrides, {"env": None}, config_dir=options.config_dir)
        roles = conf.build("envs", config.env).roles if "env" in config else None
        monitor, skipped = _watch(options.run, roles, options.skip_bad)
        summary = monitor.summary()
    if skipped:
        print(f"skipped: {plural(len(skipped), 'line')}{first_of(skipped)}", file=sys.stderr)
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary, make_console())


if __name__ == "__main__":
    main()
