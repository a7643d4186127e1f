"""DSBench's own layout in miniature: all 74 tasks, with tables that are made up."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from envs.dsbench.metrics import METRICS
from envs.dsbench.registry import Entry, registry

ROWS = 12
ILLS = ("Dengue", "Lyme_disease", "Malaria", "Tungiasis", "Zika")
WORDS = ("so", "good", "bad", "day", "sad", "really")
LABELS = {
    "spaceship-titanic": ("False", "True"),
    "playground-series-s4e2": ("Normal_Weight", "Obesity", "Thin"),
}
"""Classes as the task writes them; those of others are numbers."""


def write(root: Path) -> Path:
    """Writes all tasks under ``root``; the same each time."""
    for entry in registry().values():
        write_task(root / "data_modeling" / "data", entry)
    return root


def write_task(data: Path, entry: Entry) -> None:
    rng = random.Random(entry.name)
    folder, answers = data / "data_resplit" / entry.name, data / "answers" / entry.name
    for place in (folder, answers, data / "task"):
        place.mkdir(parents=True, exist_ok=True)
    (data / "task" / f"{entry.name}.txt").write_text("## Description\n\nSay what it is.\n", encoding="utf-8")
    targets = list(entry.targets) if entry.targets != ("*",) else ["left", "right", "centre"]
    train, test = targets_of(entry, len(targets), rng), targets_of(entry, len(targets), rng)
    keys = ids(entry, 2 * ROWS)
    features = [[str(n), rng.choice("ab"), f"{rng.random():.3f}"] for n in range(2 * ROWS)]
    names, old, new = ["n", "kind", "x"], features[:ROWS], features[ROWS:]
    put(folder / "train.csv", [entry.id, *names, *targets], keys[:ROWS], old, train)
    put(folder / "test.csv", [entry.id, *names], keys[ROWS:], new)
    sample = [blank(entry, len(targets))] * ROWS
    put(folder / f"sample_{entry.name}.csv", [entry.id, *targets], keys[ROWS:], sample)
    put(answers / "test_answer.csv", [entry.id, *targets], keys[ROWS:], test)


def put(path: Path, header: Sequence[str], keys: Sequence[str], *parts: Sequence[Sequence[str]]) -> None:
    """Writes a table: one row per key, with the cells of all ``parts`` after it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = [[key, *chain(*row)] for key, *row in zip(keys, *parts, strict=True)]
        csv.writer(file, lineterminator="\n").writerows([list(header), *rows])


def ids(entry: Entry, count: int) -> list[str]:
    if "time" in entry.id:
        return [f"2011-01-{n // 24 + 1:02d} {n % 24:02d}:00:00" for n in range(count)]
    return [f"{'c' if 'text' in entry.id else ''}{100 + n}" for n in range(count)]


def targets_of(entry: Entry, columns: int, rng: random.Random) -> list[list[str]]:
    """Targets of ``ROWS`` rows that have every class."""
    kind = METRICS[entry.metric].prediction
    if kind == "value":
        return [[f"{rng.lognormvariate(1, 1):.3f}" for _ in range(columns)] for _ in range(ROWS)]
    if kind == "text":
        return [[" ".join(rng.sample(WORDS, 3)) + ", " + rng.choice(WORDS)] for _ in range(ROWS)]
    if kind == "proba" and entry.task_type != "multiclass":
        return [[str((n + column) % 2) for column in range(columns)] for n in rng.sample(range(ROWS), ROWS)]
    if kind == "proba":
        return [[str(int(n % columns == k)) for k in range(columns)] for n in rng.sample(range(ROWS), ROWS)]
    names = classes(entry)
    return [[names[n % len(names)]] for n in rng.sample(range(ROWS), ROWS)]


def classes(entry: Entry) -> Sequence[str]:
    if METRICS[entry.metric].prediction == "ranking":
        return ILLS
    return LABELS.get(entry.name) or (("0", "1") if entry.task_type == "binary" else ("1", "2", "4"))


def blank(entry: Entry, columns: int) -> list[str]:
    """The targets in each row of the sample submission."""
    kind = METRICS[entry.metric].prediction
    if kind in ("label", "ranking"):
        return [" ".join(classes(entry)[: 3 if kind == "ranking" else 1])]
    return ["neutral"] if kind == "text" else ["0.5"] * columns
