"""A logistic model of which turn is at fault, as a file of JSON: numbers alone, nothing that runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coaches.fitted.features import FEATURES
from conf import ConfigError
from conf.errors import reason

VERSION = 1
SHIPPED = Path(__file__).with_name("model.json")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class FaultModel:
    """The probability that a turn is at fault, given its features.

    ``probability = sigmoid(slope * (intercept + sum of coefficient * (value - mean)) + offset)``
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    """Of each feature, in the data of the fit."""
    coefficients: tuple[float, ...]
    intercept: float
    slope: float
    offset: float
    """The calibration, with ``slope``: fitted on turns of tasks that the coefficients had not seen."""
    data: Mapping[str, Any]
    """What it was fitted on: ``sha256`` of the episodes, and how many episodes, tasks, turns and faults."""
    held_out: Mapping[str, float]
    """How well turns of tasks are predicted that were left out of the fit."""
    seed: int
    libraries: Mapping[str, str]
    """The versions of the libraries that fitted it."""

    def parts(self, rows: Array) -> Array:
        """Returns what each feature adds to the log odds, [turns, features]; ``rows`` has that shape too."""
        parts: Array = self.slope * np.array(self.coefficients) * (rows - np.array(self.mean))
        return parts

    def probabilities(self, rows: Array) -> Array:
        """Returns the probability of fault of every turn; ``rows``: [turns, features]."""
        odds = self.parts(rows).sum(axis=1) + self.slope * self.intercept + self.offset
        probabilities: Array = 1.0 / (1.0 + np.exp(-odds))
        return probabilities

    def write(self, path: Path) -> None:
        """Writes the model as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": VERSION} | asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> FaultModel:
        """Returns the model in ``path``. Raises ``ConfigError`` if there is none that fits this version."""
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            version = row.pop("version")
            lists = {key: tuple(row[key]) for key in ("features", "mean", "coefficients")}
            model = cls(**row | lists)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {reason(error)}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{path} is not a model of python -m coaches.fit: {reason(error)}") from None
        if version != VERSION or model.features != tuple(FEATURES):
            raise ConfigError(
                f"{path} was fitted with other features ({_difference(model.features)}): fit it again with "
                "python -m coaches.fit"
            )
        numbers = [*model.mean, *model.coefficients, model.intercept, model.slope, model.offset]
        if len(numbers) != 2 * len(FEATURES) + 3 or not all(_is_number(one) for one in numbers):
            raise ConfigError(f"{path} is not a model of python -m coaches.fit: it lacks finite numbers")
        return model


def _difference(features: Sequence[str]) -> str:
    here = [f"{name!r} only here" for name in FEATURES if name not in features]
    there = [f"{name!r} only there" for name in features if name not in FEATURES]
    return next(iter([*there, *here]), "in another order or version")


def _is_number(value: object) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and bool(np.isfinite(value))
