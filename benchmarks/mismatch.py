"""Does the engine sample from the weights that are trained? A self-test, at learning rate 0.

    python -m benchmarks.mismatch model=tiny generator=hf steps=8
    python -m benchmarks.mismatch env=mathchat algorithm.kl=reward_k1    # watches the reference too
    python -m benchmarks.mismatch runs/dsbench/<run>                     # reads one, of model.optimizer.lr=0

Settings are those of the learner, whose whole loop runs: episodes, updates, and the handing over of weights
after each. But steps of length 0 leave the weights as they are, so whatever the engine's log-probabilities
differ by from the trainer's is the same at every step: a little, where kernels and number formats differ, and
nothing that grows. If it does grow, or jumps after the first hand-over, the engine samples from weights or
caches that are not the trainer's: a layer that is never updated, a prefix cache that outlives its weights, an
adapter that is added twice. Trainers elsewhere have had such faults, and learned all the same, for a while.

Of every policy and metric: the mean over steps, the largest, and the slope of a line through them with its
95 % interval (least squares, Student's t). ``mismatch_kl`` is KL(engine || trainer), ``approx_kl`` that of
the weights before an update from those after it, ``reference_kl`` KL(trainer || initial weights), in nats a
token; of negative estimates the size counts. The exit code is 1 where a value exceeds ``--bound``, or where
the slope's interval lies above 0 and the line rises by more than ``--growth`` over the run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from scipy import stats  # type: ignore[import-untyped]

from conf import ConfigError
from learners.train import compose, one_line_errors

METRICS = ("mismatch_kl", "approx_kl", "reference_kl")
LEAST = 3
"""Steps that a slope with an interval needs."""


@dataclass(frozen=True)
class Judged:
    """One metric of one policy over the steps of a run; nats a token."""

    policy: str
    metric: str
    steps: int
    mean: float
    largest: float
    slope: float
    """A step, with the ends of its 95 % interval."""
    low: float
    high: float
    verdict: str
    """``flat``, ``grows`` or ``exceeds``."""


def judge(policy: str, metric: str, values: Sequence[float], *, bound: float, growth: float) -> Judged:
    """What a series of one value a step is.

    Raises:
        ConfigError: it is too short, or a value is not finite.
    """
    if len(values) < LEAST:
        raise ConfigError(f"{metric} of {policy} is known at {len(values)} steps; a slope needs {LEAST}")
    if not all(map(isfinite, values)):
        raise ConfigError(f"{metric} of {policy} is not finite at every step")
    sizes = [abs(value) for value in values]
    line = stats.linregress(range(len(sizes)), sizes)
    slope, largest = float(line.slope), max(sizes)
    error = float(line.stderr) if largest > min(sizes) else 0.0  # scipy has none for a constant
    reach = float(stats.t.ppf(0.975, len(sizes) - 2)) * error
    rises = slope - reach > 0.0 and slope * (len(sizes) - 1) > growth
    verdict = "exceeds" if largest > bound else "grows" if rises else "flat"
    mean = sum(sizes) / len(sizes)
    return Judged(policy, metric, len(sizes), mean, largest, slope, slope - reach, slope + reach, verdict)


def judge_run(folder: Path, *, bound: float, growth: float) -> list[Judged]:
    """Every policy's metrics in a run folder.

    Raises:
        ConfigError: it is no run at learning rate 0, or tells nothing of the mismatch.
    """
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{folder} is not a run folder: it has no config.yaml")
    rate = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["model"]["optimizer"]["lr"]
    if float(rate) != 0.0:
        raise ConfigError(f"{folder} was trained at a learning rate of {rate}: there, the mismatch may grow")
    rows = [row for row in _lines(folder / "metrics.jsonl") if row["phase"] == "train"]
    found = [
        judge(policy, metric, [row[name] for row in rows if name in row], bound=bound, growth=growth)
        for name in dict.fromkeys(name for row in rows for name in row)
        for metric, _, policy in [name.partition("/")]
        if metric in METRICS and policy
    ]
    if not found:
        raise ConfigError(f"{folder} has trained on nothing, or with an algorithm that tells no mismatch")
    return found


def tabulate(judged: Sequence[Judged]) -> Table:
    """A row for each policy and metric."""
    table = Table(title="Engine against trainer at learning rate 0, nats a token", title_justify="left")
    for name in ("policy", "metric", "steps", "mean", "largest", "slope a step", "95 %", "verdict"):
        table.add_column(name, justify="left" if name in ("policy", "metric", "verdict") else "right")
    for one in judged:
        table.add_row(
            one.policy,
            one.metric,
            str(one.steps),
            f"{one.mean:.2e}",
            f"{one.largest:.2e}",
            f"{one.slope:+.1e}",
            f"[{one.low:+.1e}, {one.high:+.1e}]",
            one.verdict,
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Errors end as those of the learner do."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mismatch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help="settings of the learner; or one run folder, to read")
    parser.add_argument("--bound", type=float, default=0.01, help="nats a token that no step may exceed")
    parser.add_argument("--growth", type=float, default=0.001, help="nats a token by which the line may rise")
    given = parser.parse_args(arguments)
    folders = [Path(word) for word in given.words if "=" not in word]
    with one_line_errors():
        if folders and len(given.words) > 1:
            raise ConfigError("either settings, or one run folder")
        folder = folders[0] if folders else _run(given.words)
        judged = judge_run(folder, bound=given.bound, growth=given.growth)
        limits = {"bound": given.bound, "growth": given.growth}
        report = json.dumps({**limits, "policies": [asdict(one) for one in judged]}, indent=2)
        (folder / "mismatch.json").write_text(report + "\n", encoding="utf-8")
    Console(width=None if sys.stdout.isatty() else 120).print(tabulate(judged))
    return 0 if all(one.verdict == "flat" for one in judged) else 1


def _run(settings: Sequence[str]) -> Path:
    """Trains as ``settings`` say, at learning rate 0; the run folder.

    Raises:
        ConfigError: for fewer steps than a slope needs, or as the learner does.
    """
    from learners.run.run import train

    asked = any(word.startswith("steps=") for word in settings)
    config = compose([*settings, *([] if asked else ["steps=8"])])
    if config.steps < LEAST:
        raise ConfigError(f"steps={config.steps} are too few: a slope needs {LEAST}")
    config.model.optimizer.lr = 0.0
    config.evaluation.every = 0
    return train(config)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
