"""Fits a map from a coach's score to the outcome it foretells, for ``coach=calibrated``.

    python -m coaches.calibrate runs/x/episodes.jsonl --out map.json

The map is the isotonic regression of the episode's outcome, in [0, 1], on the score of each of its turns: of
all that never fall where the score rises, the one with the least squared error (Zadrozny and Elkan, KDD
2002). The expected calibration error (ECE) is the mean distance, over ten bins of as many turns each, between
what the scores say, over ten, and the mean outcome. After the map it is measured on tasks that it was not
fitted on (five folds); on those it was fitted on it would be near 0 for any coach.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from coaches import episodes
from coaches.episodes import RecordedEpisode
from conf import ConfigError

VERSION = 1
FEWEST = 30
"""Judged turns below which no map is fitted."""
BINS = 10
FOLDS = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreMap:
    """A fitted map; between its points it is linear, outside of them flat."""

    source: str
    """Of the verdicts that it was fitted on: no other coach's scores mean the same."""
    scores: tuple[float, ...]
    """In [0, 10], rising."""
    outcomes: tuple[float, ...]
    """What each foretells, in [0, 1], never falling."""
    turns: int
    tasks: int
    ece_before: float
    ece_after: float
    """On tasks that the map was not fitted on."""

    def outcome(self, score: float) -> float:
        """What ``score`` foretells, in [0, 1]."""
        return float(np.interp(score, self.scores, self.outcomes))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"version": VERSION} | asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ScoreMap:
        """The map in ``path``. Raises ``ConfigError`` where there is none that is whole."""
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            if row.pop("version") != VERSION:
                raise ConfigError(f"{path} is a map of another version: fit it again")
            found = cls(**row | {"scores": tuple(row["scores"]), "outcomes": tuple(row["outcomes"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(f"{path} is no map that python -m coaches.calibrate wrote: {error}") from None
        scores, outcomes = np.array(found.scores), np.array(found.outcomes)
        whole = len(scores) == len(outcomes) > 0 and bool(np.all((outcomes >= 0.0) & (outcomes <= 1.0)))
        if not whole or np.any(np.diff(scores) <= 0.0) or np.any(np.diff(outcomes) < 0.0):
            raise ConfigError(f"{path} is no map that python -m coaches.calibrate wrote: it does not rise")
        return found


class Pairs(NamedTuple):
    """Judged turns: score, the episode's outcome, the task."""

    scores: Array
    outcomes: Array
    tasks: NDArray[np.str_]


def pairs(recorded: Sequence[RecordedEpisode]) -> tuple[Pairs, str]:
    """The judged turns of all episodes whose outcome is known, and the one source of their verdicts.

    Raises:
        ConfigError: there are too few, or verdicts of several coaches.
    """
    found = [
        (verdict.score, episode.outcome.score, episode.task_id, verdict.source)
        for episode in recorded
        if episode.outcome is not None
        for verdict in episode.verdicts
        if verdict is not None
    ]
    sources = sorted({source for *_, source in found})
    if len(found) < FEWEST:
        raise ConfigError(f"{len(found)} judged turns with an outcome are too few: {FEWEST} at least")
    if len(sources) > 1:
        raise ConfigError(f"the verdicts are of several coaches: {', '.join(sources)}")
    scores, outcomes, tasks, _ = zip(*found, strict=True)
    return Pairs(np.array(scores), np.array(outcomes), np.array(tasks)), sources[0]


def fit(data: Pairs, source: str) -> ScoreMap:
    """The map of ``data``, with its calibration errors.

    Raises:
        ConfigError: all turns are of one task, so that nothing is left to measure the map on.
    """
    if len(set(data.tasks)) < 2:
        raise ConfigError("the judged turns are all of one task: a map needs others to be measured on")
    scores, outcomes = _isotonic(data.scores, data.outcomes)
    return ScoreMap(
        source,
        tuple(scores.tolist()),
        tuple(outcomes.tolist()),
        turns=len(data.scores),
        tasks=len(set(data.tasks)),
        ece_before=ece(data.scores / 10.0, data.outcomes),
        ece_after=ece(_crossed(data), data.outcomes),
    )


def ece(foretold: Array, outcomes: Array, bins: int = BINS) -> float:
    """Expected calibration error, over bins of as many samples each (fewer where scores are tied).

    Samples with the same forecast are never parted: the order in which they stand must not matter.
    """
    order = np.argsort(foretold, kind="stable")
    values, starts = np.unique(foretold[order], return_index=True)
    bin_of_value = starts * bins // len(foretold)
    bin_of = bin_of_value[np.searchsorted(values, foretold)]
    total = 0.0
    for number in np.unique(bin_of):
        inside = bin_of == number
        total += float(inside.mean()) * abs(float(foretold[inside].mean() - outcomes[inside].mean()))
    return total


def _crossed(data: Pairs) -> Array:
    """What maps fitted on other tasks foretell for each turn."""
    names = sorted(set(data.tasks))
    fold_of = {name: place % FOLDS for place, name in enumerate(names)}
    folds = np.array([fold_of[name] for name in data.tasks])
    foretold = np.empty_like(data.scores)
    for fold in np.unique(folds):
        out = folds == fold
        foretold[out] = np.interp(data.scores[out], *_isotonic(data.scores[~out], data.outcomes[~out]))
    return foretold


def _isotonic(scores: Array, outcomes: Array) -> tuple[Array, Array]:
    """The points of the isotonic regression."""
    from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]  # a second to import

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, outcomes)
    return np.asarray(model.X_thresholds_, np.float64), np.asarray(model.y_thresholds_, np.float64)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    from conf import commands

    parser = argparse.ArgumentParser(
        prog="python -m coaches.calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands.add_overrides(
        parser,
        "files of episodes, of runs or scored by coaches.score; env=<name>: roles of lines that have none",
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_intermixed_args(arguments)
    settings = [word for word in options.overrides if commands.is_override(word)]
    files = [Path(word) for word in options.overrides if not commands.is_override(word)]
    with commands.one_line_errors(OSError):
        config = commands.compose_parts(settings, {"env": None}, config_dir=options.config_dir)
        found = fit(*_read(files, config))
        found.write(options.out)
    print(
        f"{options.out}: {len(found.scores)} points from {found.turns} turns of {found.tasks} tasks, "
        f"coach {found.source}; ECE {found.ece_before:.3f} before, {found.ece_after:.3f} after"
    )


def _read(files: Sequence[Path], config: Any) -> Any:
    import conf

    if not files:
        raise ConfigError("name at least one file of episodes")
    roles = conf.build("envs", config.env).roles if "env" in config else None
    recorded = [one for path in files for _, one in episodes.read(path, roles=roles)]
    return pairs(recorded)


if __name__ == "__main__":
    main()
