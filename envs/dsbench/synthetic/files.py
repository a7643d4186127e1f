"""Writes a synthetic task as a task folder, once, into the cache."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from conf import ConfigError, cache_dir
from envs.dsbench import metrics
from envs.dsbench.metrics import METRICS
from envs.dsbench.spec import Table, TableSpec, read_table, write_spec
from envs.dsbench.synthetic import recipe as recipes
from envs.dsbench.synthetic import rows as tables
from envs.dsbench.synthetic.recipe import Recipe
from envs.dsbench.synthetic.rows import Rows, fixed
from envs.dsbench.synthetic.settings import Synthetic
from envs.dsbench.synthetic.stream import ONE, Integers, Stream

VERSION = 1
"""Of the files: raised by every change of their bytes."""
_CLASSES = ("copper", "iron", "silver", "tin")


def load(settings: Synthetic, name: str, split: str, number: int) -> Table:
    """Returns the task ``name``, which is written first if it is not in ``conf.cache_dir()``.

    Besides the files of a task folder, it has ``truth.json``, the recipe, and ``truth.csv``, the target of
    the test rows without its noise. Agents get neither.

    Raises:
        ConfigError: the cache cannot be written, or the task cannot be scored.
    """
    kept = {key: value for key, value in asdict(settings).items() if key not in ("train", "heldout")}
    digest = hashlib.sha256(json.dumps([VERSION, kept], sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir() / "synthetic" / digest / name
    if not (folder / "task.yaml").is_file():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
                write(settings, name, split, number, Path(draft) / name)
                _publish(Path(draft) / name, folder)
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written: {error.strerror}; COACHGYM_CACHE names the folder"
            ) from None
    return read_table(folder, {})


def _publish(draft: Path, folder: Path) -> None:
    """Moves a complete folder to its place, unless another process was faster."""
    try:
        draft.rename(folder)
    except OSError:
        if not (folder / "task.yaml").is_file():
            raise


def write(settings: Synthetic, name: str, split: str, number: int, folder: Path) -> None:
    """Writes the task ``name`` into the new folder ``folder``."""
    recipe = recipes.draw(settings, name, number)
    rows = tables.draw(recipe, settings)
    order = Stream(settings.seed, name, "order").permutation(len(rows.target))
    ids = Stream(settings.seed, name, "ids").permutation(len(rows.target)) + 1
    train = [int(place) for place in order if not rows.is_test[place]]
    test = [int(place) for place in order if rows.is_test[place]]
    target, truth = _cells(recipe, rows.target), _cells(recipe, rows.truth)
    spec = _spec(recipe, split, target)
    sample = _sample(recipe, spec, rows, train)
    names = list(rows.columns)

    def features(place: int) -> list[str]:
        return [str(ids[place]), *(rows.columns[column][place] for column in names)]

    files = {
        "train": (["id", *names, recipe.target], [[*features(place), target[place]] for place in train]),
        "test": (["id", *names], [features(place) for place in test]),
        "sample_submission": (["id", recipe.target], [[str(ids[place]), sample] for place in test]),
        "answer": (["id", recipe.target], [[str(ids[place]), target[place]] for place in test]),
        "truth": (["id", recipe.target], [[str(ids[place]), truth[place]] for place in test]),
    }
    folder.mkdir()
    for file, (header, lines) in files.items():
        (folder / f"{file}.csv").write_text(_csv(header, lines), encoding="utf-8")
    (folder / "truth.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n", encoding="utf-8")
    proba = spec["prediction"] == "proba" and settings.noise > 0
    ideal = [_probability(int(rows.margin[place])) if proba else truth[place] for place in test]
    given = [target[place] for place in test]
    spec |= {"baseline": _score(spec, given, [sample] * len(test)), "best": _score(spec, given, ideal)}
    write_spec(TableSpec(**spec), folder / "task.yaml")


def _cells(recipe: Recipe, target: Integers) -> list[str]:
    if recipe.task_type == "regression":
        return [fixed(int(value), 2) for value in target]
    return [
        str(value) if METRICS[recipe.metric].prediction == "proba" else _CLASSES[value] for value in target
    ]


def _spec(recipe: Recipe, split: str, target: Sequence[str]) -> dict[str, Any]:
    prediction = METRICS[recipe.metric].prediction
    return {
        "id": recipe.id,
        "task_type": recipe.task_type,
        "metric": recipe.metric,
        "prediction": prediction,
        "id_column": "id",
        "target_columns": [recipe.target],
        "description": _description(recipe),
        "labels": sorted(set(target)) if prediction == "label" else [],
        "split": split,
        "origin": "synthetic",
        "licence": "that of this project",
    }


def _description(recipe: Recipe) -> str:
    thing, event, target = recipe.subject
    what = {
        "regression": f"Predict the {target}.",
        "binary": f"Predict the {target}: is it high?",
        "multiclass": f"Predict the class of the {target}.",
    }[recipe.task_type]
    text = f"Records of a {thing}, one row for each {event}. The data are synthetic. {what}"
    if recipe.leak:
        text += f" The column {recipe.leak} is filled in when the {target} is known: it is of no use before."
    return text


def _sample(recipe: Recipe, spec: dict[str, Any], rows: Rows, train: Sequence[int]) -> str:
    """Returns the value of the sample submission: no honest model predicts it for every row."""
    if spec["prediction"] == "proba":
        return "0.5"
    values = rows.target[train]
    if spec["prediction"] == "value":
        return fixed(int(values.sum()) * 10 // len(values), 3)
    counts = np.bincount(values, minlength=len(recipe.shares))
    return _CLASSES[int(np.argmin(counts))]


def _probability(margin: int) -> float:
    """Returns the probability that normal noise keeps a row above the threshold."""
    return 0.5 * math.erfc(-margin / ONE / math.sqrt(2))


def _score(spec: dict[str, Any], target: Sequence[Any], guess: Sequence[Any]) -> float:
    """Returns the metric. The truth's is what no model can beat but by chance."""
    dtype = object if spec["prediction"] == "label" else np.float64
    y, p = (np.array(cells, dtype=dtype)[:, None] for cells in (target, guess))
    return round(metrics.evaluate(spec["metric"], y, p, spec["labels"]), 6)


def _csv(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    return text.getvalue()
