"""Whole training runs, with the command that users start: held-out tasks before and after some steps.

Each is ``python -m learners.reinforcepp`` in a process of its own, whose folder stays in that of the results,
without its checkpoints. ``sandbox=auto`` decides where the agents' programs run; if it refuses, that is the
record.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import attempt
from benchmarks.gpu.records import Case, Figures, Settings

ENVIRONMENTS = ("mathchat", "dsbench")
GRACE = 5.0
COMMON = ("sandbox=auto", "generator=hf", "model.device=auto", "evaluation.every=1000", "checkpoint.keep=1")
TOY = (
    "model=toy",
    "steps=1",
    "rollout.tasks=2",
    "rollout.episodes=2",
    "evaluation.tasks=2",
    "evaluation.episodes=1",
)
SMOLLM2 = ("model=smollm2", "steps=2", "model.max_new_tokens=96", "evaluation.episodes=2")
TINY = ("model=tiny", "steps=6", "evaluation.episodes=4")
SHORT = {"dsbench": ("env.max_turns.data_engineer=2", "env.max_turns.modeler=2", "env.max_turns.analyst=2")}
"""Settings of SmolLM2's run, whose turns take longest."""


def cases(settings: Settings) -> Iterator[Case]:
    """Yields one case for each environment; what the first leaves of the time is the second's."""
    end = time.monotonic() + settings.seconds - 2 * GRACE
    for number, env in enumerate(ENVIRONMENTS):
        left = (end - time.monotonic()) / (len(ENVIRONMENTS) - number)
        words = arguments(env, settings)
        yield attempt(f"{words[1].partition('=')[2]} on {env}", partial(_train, env, words, left, settings))


def arguments(env: str, settings: Settings) -> list[str]:
    """Returns the settings of the run; the second one chooses the model."""
    if settings.toy:
        own: Sequence[str] = TOY
    elif settings.weights is not None:
        own = [*SMOLLM2, f"model.gguf={settings.weights}", *SHORT.get(env, ())]
    else:
        own = TINY
    return [f"env={env}", *own, *COMMON]


def _train(env: str, words: Sequence[str], seconds: float, settings: Settings) -> Figures:
    """Raises ``ValueError`` with the run's own line if it fails or its time ends before the first step."""
    folder = Path(settings.folder) / f"run-{env}"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier run of this script, which --overwrite replaces
    process = subprocess.Popen(
        [sys.executable, "-m", "learners.reinforcepp", *words, f"run_dir={folder}"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    try:
        _, errors = process.communicate(timeout=max(1.0, seconds))
        cut = False
    except subprocess.TimeoutExpired:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE)
        process.kill()
        errors, cut = f"stopped after {seconds:.0f} s", True
    finally:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    print(errors, file=sys.stderr)
    rows, timings = (read(folder / f"{name}.jsonl") for name in ("metrics", "timings"))
    if process.returncode and not (cut and any(row["phase"] == "train" for row in rows)):
        lines = [line for line in errors.splitlines() if line.strip()]
        raise ValueError(lines[-1] if lines else f"exit code {process.returncode}")
    return summary(rows, timings) | {"stopped": errors if cut else None}


def summary(rows: Sequence[Mapping[str, Any]], timings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns held-out results before and after, and the mean seconds of each part of a step."""
    steps = [row for row in rows if row["phase"] == "train"]
    held_out = [row for row in rows if row["phase"] == "eval"]
    figures: dict[str, Any] = {"steps": float(len(steps))}
    for when, row in zip(("before", "after"), (held_out[:1] + held_out[1:][-1:]), strict=False):
        figures |= {f"{name} {when}": row.get(name) for name in ("success", "fair", "episodes")}
    timed = [row for row in timings if row["phase"] == "train"]
    for name in sorted({key for row in timed for key in row if key.endswith("_s")}):
        figures[f"{name} of a step"] = sum(row.get(name, 0.0) for row in timed) / len(timed)
    return figures


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the records of a run's file, without a last line that was cut off."""
    if not path.is_file():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]
