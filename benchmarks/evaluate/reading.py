"""Reads evaluations from run folders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.evaluate.conduct import Conduct, conduct
from coaches.recording import repeats
from coaches.recording.fields import BadRowError
from conf import ConfigError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Played:
    """One episode's outcome."""

    task: str
    success: bool
    fair: float
    metric: str | None = None
    """The task's own metric; None if it has none."""
    score: float | None = None
    """The value of ``metric``; None if it could not be computed."""
    completed: float | None = None
    rpg: float | None = None


@dataclass(frozen=True)
class Effort:
    """Tokens, money and time of all episodes together."""

    prompt_tokens: int
    tokens: int
    """Sampled tokens."""
    by_agent: Mapping[str, int]
    """Sampled tokens of each agent."""
    uncounted_turns: int
    """Turns whose server reported no token counts; no number of tokens includes them."""
    cost: float
    """US dollars for the actions."""
    coach_cost: float
    """US dollars for the verdicts."""
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """One evaluation in a run folder."""

    label: str
    folder: str
    step: int
    """Training steps before the evaluation."""
    models: Mapping[str, str]
    """Agent -> the model that played it; empty for runs that did not record it."""
    algorithm: str | None
    """What trained the weights, as far as ``config.yaml`` says; None: nothing did."""
    metrics: Mapping[str, float]
    """As in ``metrics.jsonl`` (see ``learners.run.metrics``)."""
    failures: Mapping[str, int]
    """Number of failed episodes, by the grader's code."""
    blamed: Mapping[str, int] | None
    """Agent -> number of failed episodes in which the coach blames it; None without a coach."""
    effort: Effort
    conduct: Mapping[str, Conduct]
    """Agent -> how many of its actions could be read and ran, and how many of its artifacts were in order."""
    episodes: Sequence[Played]


def read(folder: Path, *, first: bool = False) -> Evaluation:
    """Reads the last evaluation of the run in ``folder``, or its first one where there are several.

    Raises:
        ConfigError: it has none, or only one where ``first`` asks for one of several.
    """
    rows = [row for row in _lines(folder / "metrics.jsonl") if row["phase"] == "eval"]
    if not rows:
        raise ConfigError(f"{folder} has no evaluation")
    if first and len(rows) == 1:
        raise ConfigError(
            f"{folder} has one evaluation only: --before needs one before and one after training"
        )
    outcome = rows[0] if first else rows[-1]
    step = int(outcome["step"])
    played = list(_played(folder, step))
    [timing] = [row for row in _lines(folder / "timings.jsonl") if _is_evaluation(row, step)]
    failed = [row for row in played if not row["outcome"]["success"]]
    coached = any(turn["verdict"] for row in played for turn in row["turns"])
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    models = _models(folder)
    return Evaluation(
        label=_label(config, models),
        folder=str(folder),
        step=step,
        models=models,
        algorithm=str(config["algorithm"]["name"]) if step else None,
        metrics={name: value for name, value in outcome.items() if name not in ("phase", "step")},
        failures=dict(Counter(row["outcome"]["failure_code"] for row in failed).most_common()),
        blamed=_blamed(failed) if coached else None,
        effort=_effort(played, timing),
        conduct=conduct(played),
        episodes=[_episode(row) for row in played],
    )


def distinct(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Returns the same evaluations, with the folder's name added to labels that occur more than once."""
    count = Counter(one.label for one in evaluations)
    return [
        one if count[one.label] == 1 else replace(one, label=f"{one.label} {Path(one.folder).name}")
        for one in evaluations
    ]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no evaluation: there is no {path.name}")
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _played(folder: Path, step: int) -> Iterator[dict[str, Any]]:
    """Yields the episodes of the evaluation after ``step``."""
    shared = repeats.Shared(folder / repeats.SHARED)
    for number, row in enumerate(_lines(folder / "episodes.jsonl"), 1):
        if _is_evaluation(row, step):
            try:
                yield repeats.restored(row, shared)
            except BadRowError as error:
                raise ConfigError(f"{folder / 'episodes.jsonl'}, line {number}: {error}") from None


def _episode(row: Row) -> Played:
    outcome, metric = row["outcome"], row["facts"].get("metric")
    known = outcome["metrics"]
    two = known.get("completed"), known.get("rpg")
    return Played(row["task"], outcome["success"], known["fair"], metric, known.get(metric), *two)


def _is_evaluation(row: Row, step: int) -> bool:
    return bool(row["phase"] == "eval" and row["step"] == step)


def _label(config: Row, models: Mapping[str, str]) -> str:
    """Returns the name of the served model, of the run that trained the weights, or of the untrained model;
    and the models that single agents have of their own."""
    served, trained = config["generator"].get("endpoint"), config["evaluation"].get("run")
    if served:
        name = str(served["model"])
    else:
        name = Path(trained).name if trained else str(config["model"].get("path") or config["model"]["name"])
    own = [f"{agent}={models[agent]}" for agent in config.get("team", {}) if agent in models]
    return f"{name} with {', '.join(own)}" if own else name


def _models(folder: Path) -> dict[str, str]:
    """Returns each agent's model, as ``metadata.json`` has it since runs record it."""
    path = folder / "metadata.json"
    team = json.loads(path.read_text(encoding="utf-8")).get("team", {}) if path.is_file() else {}
    return {agent: str(own["model"]) for agent, own in team.items()}


def _blamed(failed: Sequence[Row]) -> dict[str, int]:
    counts = Counter[str]()
    for row in failed:
        verdicts = [turn["verdict"] for turn in row["turns"] if turn["verdict"]]
        counts.update({verdict["blame"] for verdict in verdicts if verdict["blame"]})
    agents = dict.fromkeys(turn["agent"] for row in failed for turn in row["turns"])
    return {agent: counts[agent] for agent in agents}


def _effort(played: Sequence[Row], timing: Row) -> Effort:
    turns = [turn for row in played for turn in row["turns"]]
    counted = [turn for turn in turns if turn["tokens"] is not None]
    by_agent = Counter[str]()
    for turn in counted:
        by_agent[turn["agent"]] += turn["tokens"]
    return Effort(
        prompt_tokens=sum(turn["prompt_tokens"] for turn in counted),
        tokens=by_agent.total(),
        by_agent=dict(by_agent),
        uncounted_turns=len(turns) - len(counted),
        cost=sum(turn.get("cost", 0.0) for turn in turns),
        coach_cost=sum(turn["verdict"]["cost"] for turn in turns if turn["verdict"]),
        seconds=timing["play_s"],
    )
