"""Checks that the inference engine samples from the weights that are trained, by a run at learning rate 0.

    python -m benchmarks.mismatch model=tiny generator=hf steps=8
    python -m benchmarks.mismatch env=mathchat algorithm.kl=reward_k1    # checks the reference as well
    python -m benchmarks.mismatch runs/dsbench/<run>                     # reads a run at learning rate 0

Settings are those of the learner, and its whole loop runs: episodes, updates, and the weight sync after each
update. At learning rate 0 the weights never change, so the difference between the engine's log-probabilities
and the trainer's must be the same at every step: small, because kernels and number formats differ, and not
growing. If it grows, or jumps after the first weight sync, the engine samples from weights or caches that are
not the trainer's: a layer that is never updated, a prefix cache that outlives its weights, or an adapter that
is added twice. Other trainers have had such bugs and kept learning for a while, so that nobody noticed.

For every policy and metric the report gives the mean over steps, the largest value, and the slope of the
least-squares line with its 95 % interval (Student's t). ``mismatch_kl`` is KL(engine || trainer),
``approx_kl`` is the KL of the weights before an update from those after it, ``reference_kl`` is KL(trainer ||
initial weights), all in nats per token; estimates may be negative, and their absolute values count. The exit
code is 1 if a value exceeds ``--bound``, or if the slope's interval lies above 0 and the line rises by more
than ``--growth`` over the run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from benchmarks.common import estimates
from benchmarks.common.command import make_parser, write_json
from conf import ConfigError, commands
from conf.arguments import add_out, number, require_new
from conf.counts import plural
from conf.tables import make_console, make_table
from learners.train import run_errors

METRICS = ("mismatch_kl", "approx_kl", "reference_kl")
REPORT = "mismatch.json"
MIN_STEPS = 3
"""Fewest steps that give a slope with an interval."""


@dataclass(frozen=True)
class Judged:
    """One metric of one policy over the steps of a run, in nats per token."""

    policy: str
    metric: str
    steps: int
    mean: float
    largest: float
    slope: float
    """Per step; ``low`` and ``high`` are the ends of its 95 % interval."""
    low: float
    high: float
    verdict: str
    """``flat``, ``grows`` or ``exceeds``."""


def judge(policy: str, metric: str, values: Sequence[float], *, bound: float, growth: float) -> Judged:
    """Judges a metric's values, one for each step.

    Raises:
        ConfigError: there are too few values, or one is not finite.
    """
    if len(values) < MIN_STEPS:
        raise ConfigError(
            f"{metric} of {policy} is known at {plural(len(values), 'step')}; a slope needs {MIN_STEPS}"
        )
    if not all(map(isfinite, values)):
        raise ConfigError(f"{metric} of {policy} is not finite at every step")
    sizes = [abs(value) for value in values]
    slope, largest = estimates.slope(sizes), max(sizes)
    rises = slope.low > 0.0 and slope.value * (len(sizes) - 1) > growth
    verdict = "exceeds" if largest > bound else "grows" if rises else "flat"
    mean = sum(sizes) / len(sizes)
    return Judged(policy, metric, len(sizes), mean, largest, slope.value, slope.low, slope.high, verdict)


def judge_run(folder: Path, *, bound: float, growth: float) -> list[Judged]:
    """Judges every policy's metrics in a run folder.

    Raises:
        ConfigError: it is no run at learning rate 0, or has no metric of the mismatch.
    """
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{folder} is not a run folder: it has no config.yaml")
    rate = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["model"]["optimizer"]["lr"]
    if float(rate) != 0.0:
        raise ConfigError(
            f"{folder} was trained at a learning rate of {rate}, where the mismatch may grow; it must be 0"
        )
    rows = [row for row in _lines(folder / "metrics.jsonl") if row["phase"] == "train"]
    judged = [
        judge(policy, metric, [row[name] for row in rows if name in row], bound=bound, growth=growth)
        for name in dict.fromkeys(name for row in rows for name in row)
        for metric, _, policy in [name.partition("/")]
        if metric in METRICS and policy
    ]
    if not judged:
        raise ConfigError(f"{folder} has no training step, or an algorithm without metrics of the mismatch")
    return judged


def tabulate(judged: Sequence[Judged]) -> Table:
    """Returns a row for each policy and metric."""
    table = make_table(
        "Engine against trainer at learning rate 0, nats per token",
        ["policy", "metric", "steps", "mean", "largest", "slope per step", "95 %", "verdict"],
        text=["policy", "metric", "verdict"],
    )
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


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Errors are reported as by the learner."""
    parser = make_parser("mismatch", __doc__)
    commands.add_overrides(parser, "settings of the learner, or one run folder to read")
    parser.add_argument(
        "--bound", type=number(0), default=0.01, help="largest value allowed at any step, in nats per token"
    )
    parser.add_argument(
        "--growth", type=number(0), default=0.001, help="largest rise allowed over the run, in nats per token"
    )
    add_out(parser, help="default: mismatch.json in the run folder")
    given = parser.parse_intermixed_args(arguments)
    folders = [Path(word) for word in given.overrides if not commands.is_override(word)]
    with run_errors():
        if folders and len(given.overrides) > 1:
            raise ConfigError("give either settings or one run folder")
        if out := given.out or (folders[0] / REPORT if folders else None):
            require_new(given.overwrite, out)
        folder = folders[0] if folders else _run(given.overrides, given.config_dir)
        judged = judge_run(folder, bound=given.bound, growth=given.growth)
        policies = [asdict(one) for one in judged]
        report = {"bound": given.bound, "growth": given.growth, "policies": policies}
        write_json(out or folder / REPORT, report)
    make_console().print(tabulate(judged))
    return 0 if all(one.verdict == "flat" for one in judged) else 1


def _run(settings: Sequence[str], config_dir: Path | None) -> Path:
    """Trains with ``settings`` at learning rate 0 and returns the run folder.

    Raises:
        ConfigError: there are too few steps for a slope, or the settings are invalid.
    """
    from learners.run.run import train

    has_steps = any(word.startswith("steps=") for word in settings)
    config = commands.compose([*settings, *([] if has_steps else ["steps=8"])], config_dir=config_dir)
    if config.steps < MIN_STEPS:
        raise ConfigError(f"steps={config.steps} is too few: a slope needs at least {MIN_STEPS}")
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
