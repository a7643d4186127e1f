"""Watches what a coach's scores go by, in every run: see ``coaches.bias.effects`` for how effects are told.

    python -m coaches.monitor runs/x              # an old run folder
    python -m coaches.monitor episodes.jsonl env=dsbench --json

Three questions, each with an interval or a test. *Bias*: do task kinds, roles or lengths score differently at
equal outcome and equal evidence? The gap between regression and classification is the failure that MAPPA's
authors report of their own coach. *Drift*: do scores rise over steps at equal outcome and evidence? *Alarm*:
has the coach's reward risen while the held-out outcome fell?
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from coaches.bias import effects
from coaches.bias.effects import CONFIDENCE, FACTORS, Effect, Fit, Ledger, Sample
from coaches.bias.trends import Alarm, alarm, drift
from coaches.judging.learning import JudgedEpisode
from conf import ConfigError
from envs.types import Role

log = logging.getLogger(__name__)

GAP = ("regression", "classification")
"""The kinds whose gap is watched, the one that MAPPA's coach preferred first."""
VIEWS = (*FACTORS, "turn", "success")
"""By what mean scores are told; ``turn`` is the position in the episode."""


class Monitor:
    """Takes in a run step by step and evaluation by evaluation; small, and the same again after a restart."""

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self._ledger = Ledger()
        self._sums: dict[str, list[float]] = {}
        self._steps: dict[int, dict[str, list[float]]] = {}
        self._evaluations: list[tuple[int, dict[str, float]]] = []

    def step(self, step: int, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Takes in a finished step. What to log: this step's mean score by view (``coach/kind/math``), and of
        the run so far the effects (``bias/role/solver``), the gap with its interval, and the drift."""
        views = means(episodes)
        for name, (count, total) in views.items():
            known = self._sums.setdefault(name, [0.0, 0.0])
            known[0], known[1] = known[0] + count, known[1] + total
        found = effects.samples(episodes)
        self._ledger.add(found)
        self._steps[step] = by_stratum(found)
        row = {f"coach/{name}": total / count for name, (count, total) in views.items()}
        fit = Fit(self._ledger)
        for factor in FACTORS:
            for level, effect in fit.effects(factor, confidence=CONFIDENCE).items():
                row[f"bias/{factor}/{level}"] = effect.estimate
        row |= _named("bias/gap", fit.gap("kind", *GAP, confidence=CONFIDENCE))
        return row | _named("bias/drift", drift(self._steps))

    def evaluation(self, step: int, results: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Takes in held-out (task, outcome score) pairs; logs whether there is an ``alarm``, and warns."""
        scores: dict[str, list[float]] = {}
        for task, score in results:
            scores.setdefault(task, []).append(score)
        self._evaluations.append((step, {task: fsum(all) / len(all) for task, all in sorted(scores.items())}))
        found = alarm(self._rewards(), self._evaluations)
        if found is not None:
            self.alarms.append(found)
            log.warning("alarm: %s", found)
        return {"alarm": float(found is not None)}

    def summary(self) -> dict[str, Any]:
        """The whole run so far, as JSON: what ``tabulate`` shows."""
        fit = Fit(self._ledger)
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
        """All that was taken in, as JSON."""
        return {
            "ledger": self._ledger.state(),
            "sums": self._sums,
            "steps": [[step, cells] for step, cells in self._steps.items()],
            "evaluations": [[step, scores] for step, scores in self._evaluations],
            "alarms": [vars(one) for one in self.alarms],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._ledger = Ledger.read(state["ledger"])
        self._sums = {name: list(sums) for name, sums in state["sums"].items()}
        self._steps = {step: dict(cells) for step, cells in state["steps"]}
        self._evaluations = [(step, dict(scores)) for step, scores in state["evaluations"]]
        self.alarms = [Alarm(**row) for row in state["alarms"]]

    def _rewards(self) -> dict[int, float]:
        """Mean score of every step that had any."""
        found = {}
        for step, cells in self._steps.items():
            if count := fsum(n for n, _ in cells.values()):
                found[step] = fsum(total for _, total in cells.values()) / count
        return found


def means(episodes: Iterable[JudgedEpisode]) -> dict[str, tuple[float, float]]:
    """``view/level`` -> judged turns and the sum of their scores."""
    groups: dict[str, list[float]] = {}
    for episode in episodes:
        for turn, verdict in zip(episode.turns, episode.verdicts, strict=True):
            if verdict is not None:
                success = "yes" if episode.outcome.success else "no"
                for view, level in zip(VIEWS, (*effects.levels(turn), turn.index, success), strict=True):
                    groups.setdefault(f"{view}/{level}", []).append(verdict.score)
    return {name: (float(len(groups[name])), fsum(groups[name])) for name in sorted(groups)}


def by_stratum(samples: Iterable[Sample]) -> dict[str, list[float]]:
    """Stratum -> samples and the sum of their scores."""
    groups: dict[str, list[float]] = {}
    for sample in samples:
        groups.setdefault(sample.stratum, []).append(sample.score)
    return {name: [float(len(groups[name])), fsum(groups[name])] for name in sorted(groups)}


def _named(name: str, effect: Effect | None) -> dict[str, float]:
    if effect is None:
        return {}
    return {name: effect.estimate, f"{name}_low": effect.low, f"{name}_high": effect.high}


def tabulate(summary: Mapping[str, Any]) -> Table:
    """Mean scores, and what of them goes by kind, role and length at equal outcome and evidence."""
    table = Table(title="What the coach's scores go by", title_justify="left")
    for name in ("", "turns", "mean score", "at equal outcome", "95 %"):
        table.add_column(name, justify="left" if not name else "right")
    for view in VIEWS:
        rows = {name: row for name, row in summary["means"].items() if name.startswith(f"{view}/")}
        for name in sorted(rows, key=_order):
            effect = summary["effects"].get(view, {}).get(name.removeprefix(f"{view}/"))
            told = ("–", "–") if effect is None else _told(effect)
            count, mean = f"{rows[name]['turns']:.0f}", f"{rows[name]['score']:.2f}"
            table.add_row(name.replace("/", " "), count, mean, *told)
        table.add_section()
    ends = {f"{GAP[0]} above {GAP[1]}": summary["gap"], "drift, a step": summary["drift"]}
    for label, effect in ends.items():
        if effect is not None:
            table.add_row(label, "", "", *_told(effect))
    return table


def _order(name: str) -> tuple[float, str]:
    """Lengths and turns by number, all else by name."""
    digits = name.split("/", 1)[1]
    if digits.startswith(">"):
        return inf, name
    return (float(digits.removeprefix("<=")), "") if digits.removeprefix("<=").isdigit() else (0.0, name)


def _told(effect: Mapping[str, float]) -> tuple[str, str]:
    places = 2 if abs(effect["estimate"]) >= 0.1 or effect["error"] >= 0.1 else 3
    mark = " *" if effect["low"] > 0.0 or effect["high"] < 0.0 else ""
    return (
        f"{effect['estimate']:+.{places}f}{mark}",
        f"[{effect['low']:+.{places}f}, {effect['high']:+.{places}f}]",
    )


def show(summary: Mapping[str, Any], console: Console) -> None:
    """The table, and a line for every alarm."""
    console.print(tabulate(summary))
    for row in summary["alarms"]:
        console.print(f"alarm: {Alarm(**row)}", soft_wrap=True, highlight=False)


def watch(path: Path, roles: Sequence[Role] | None = None) -> Monitor:
    """The monitor of an old run: a run folder, or its ``episodes.jsonl``.

    Raises:
        ConfigError: there are no episodes there, or none that a coach judged.
    """
    from coaches import episodes

    if path.is_dir():
        path = path / "episodes.jsonl"
    groups: dict[tuple[str, int], list[Any]] = {}
    for _, one in episodes.read(path, roles=roles):
        groups.setdefault((one.phase, one.step), []).append(one)
    monitor = Monitor()
    for (phase, step), played in groups.items():
        if phase == "eval":
            monitor.evaluation(step, [(e.task_id, e.outcome.score) for e in played if e.outcome is not None])
        else:
            monitor.step(step + 1, [judged for e in played if (judged := e.judged()) is not None])
    if not monitor.summary()["means"]:
        raise ConfigError(f"{path}: no turn of these episodes has a verdict")
    return monitor


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    import conf
    from conf import commands

    parser = argparse.ArgumentParser(
        prog="python -m coaches.monitor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="a run folder, or a file of episodes")
    commands.add_overrides(parser, "env=<name>: roles of lines that have none")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.ERROR)  # alarms are printed at the end
    with commands.one_line_errors():
        config = commands.compose_parts(options.overrides, {"env": None}, config_dir=options.config_dir)
        roles = conf.build("envs", config.env).roles if "env" in config else None
        summary = watch(options.run, roles).summary()
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        show(summary, Console())


if __name__ == "__main__":
    main()
