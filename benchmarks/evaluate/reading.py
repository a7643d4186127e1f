"""An evaluation, read from its run folder alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.common import estimates
from benchmarks.common.estimates import Estimate
from conf import ConfigError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Played:
    """One episode's outcome."""

    task: str
    success: bool
    fair: float


@dataclass(frozen=True)
class Effort:
    """What all episodes took."""

    prompt_tokens: int
    tokens: int
    """Sampled."""
    by_agent: Mapping[str, int]
    """Of those, each agent's."""
    untold: int
    """Turns whose server did not say; they are in none of these numbers."""
    cost: float
    """US dollars for the actions, and"""
    coach_cost: float
    """for the verdicts on them."""
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """The last evaluation in a run folder."""

    label: str
    folder: str
    step: int
    """Training steps before it."""
    metrics: Mapping[str, float]
    """As in ``metrics.jsonl``: see ``learners.run.metrics``."""
    failures: Mapping[str, int]
    """Episodes that failed, by the grader's code."""
    blamed: Mapping[str, int] | None
    """Failed episodes in which the coach blames an agent; None where no coach judged."""
    effort: Effort
    episodes: Sequence[Played]


@dataclass(frozen=True)
class Difference:
    """An evaluation less another one, over the tasks that both have; 95 % by the bootstrap over tasks."""

    label: str
    less: str
    tasks: int
    success: Estimate
    fair: Estimate


def read(folder: Path) -> Evaluation:
    """The last evaluation of the run in ``folder``.

    Raises:
        ConfigError: there is none.
    """
    rows = [row for row in _lines(folder / "metrics.jsonl") if row["phase"] == "eval"]
    if not rows:
        raise ConfigError(f"{folder} holds no evaluation")
    step = int(rows[-1]["step"])
    played = [row for row in _lines(folder / "episodes.jsonl") if _at(row, step)]
    [timing] = [row for row in _lines(folder / "timings.jsonl") if _at(row, step)]
    failed = [row for row in played if not row["outcome"]["success"]]
    coached = any(turn["verdict"] for row in played for turn in row["turns"])
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    return Evaluation(
        label=_label(config),
        folder=str(folder),
        step=step,
        metrics={name: value for name, value in rows[-1].items() if name not in ("phase", "step")},
        failures=dict(Counter(row["outcome"]["failure_code"] for row in failed).most_common()),
        blamed=_blamed(failed) if coached else None,
        effort=_effort(played, timing),
        episodes=[
            Played(row["task"], row["outcome"]["success"], row["outcome"]["metrics"]["fair"])
            for row in played
        ],
    )


def distinct(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """The same, with the folder's name in labels that would not tell two of them apart."""
    count = Counter(one.label for one in evaluations)
    return [
        one if count[one.label] == 1 else replace(one, label=f"{one.label} {Path(one.folder).name}")
        for one in evaluations
    ]


def difference(first: Evaluation, second: Evaluation) -> Difference:
    """``second`` less ``first``.

    Raises:
        ConfigError: they have no task in common.
    """
    common = {one.task for one in first.episodes} & {one.task for one in second.episodes}
    if not common:
        raise ConfigError(f"{first.folder} and {second.folder} have no task in common")

    def samples(evaluation: Evaluation, name: str) -> list[tuple[str, float]]:
        return [(one.task, float(getattr(one, name))) for one in evaluation.episodes if one.task in common]

    success, fair = (
        estimates.difference(samples(second, name), samples(first, name)) for name in ("success", "fair")
    )
    return Difference(second.label, first.label, len(common), success, fair)


def write(path: Path, evaluations: Sequence[Evaluation], differences: Sequence[Difference]) -> None:
    """All of it as JSON."""
    rows = {
        "evaluations": [asdict(one) for one in evaluations],
        "differences": [asdict(one) for one in differences],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f"{path.parent} holds no evaluation: it has no {path.name}")
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _at(row: Row, step: int) -> bool:
    return bool(row["phase"] == "eval" and row["step"] == step)


def _label(config: Row) -> str:
    """Who plays: a served model, the run that trained the weights, or a model as it is."""
    served = config["generator"].get("endpoint")
    if served:
        return str(served["model"])
    trained = config["evaluation"].get("run")
    return Path(trained).name if trained else str(config["model"].get("path", config["model"]["name"]))


def _blamed(failed: Sequence[Row]) -> dict[str, int]:
    counts = Counter[str]()
    for row in failed:
        said = [turn["verdict"] for turn in row["turns"] if turn["verdict"]]
        counts.update({verdict["blame"] for verdict in said if verdict["blame"]})
    agents = dict.fromkeys(turn["agent"] for row in failed for turn in row["turns"])
    return {agent: counts[agent] for agent in agents}


def _effort(played: Sequence[Row], timing: Row) -> Effort:
    turns = [turn for row in played for turn in row["turns"]]
    told = [turn for turn in turns if turn["tokens"] is not None]
    by_agent = Counter[str]()
    for turn in told:
        by_agent[turn["agent"]] += turn["tokens"]
    return Effort(
        prompt_tokens=sum(turn["prompt_tokens"] for turn in told),
        tokens=by_agent.total(),
        by_agent=dict(by_agent),
        untold=len(turns) - len(told),
        cost=sum(turn.get("cost", 0.0) for turn in turns),
        coach_cost=sum(turn["verdict"]["cost"] for turn in turns if turn["verdict"]),
        seconds=timing["play_s"],
    )
