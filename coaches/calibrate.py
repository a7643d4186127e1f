"""Fits a map from a coach's score to the outcome that it predicts, for ``coach=calibrated``.

    python -m coaches.calibrate runs/x --out map.json

The map is the isotonic regression of the episode's outcome, in [0, 1], on the score of each of its turns: the
monotone map with the least squared error (Zadrozny and Elkan, KDD 2002). The expected calibration error (ECE)
is the mean distance, over ten bins with the same number of turns, between the mean score divided by ten and
the mean outcome. After calibration it is measured on held-out tasks (five folds); on the tasks of the fit it
would be close to 0 for any coach.
"""

from __future__ import annotations

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
from conf.arguments import Parser, add_out, require_apart, require_new
from conf.counts import plural
from conf.errors import reason

VERSION = 1
FEWEST = 30
"""Judged turns needed to fit a map."""
BINS = 10
FOLDS = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreMap:
    """A fitted map: linear between its points, constant outside of them."""

    source: str
    """The coach whose verdicts it was fitted on: it is valid for no other."""
    scores: tuple[float, ...]
    """In [0, 10], strictly increasing."""
    outcomes: tuple[float, ...]
    """The outcome that each score predicts, in [0, 1], never decreasing."""
    turns: int
    tasks: int
    ece_before: float
    ece_after: float
    """On held-out tasks."""

    def outcome(self, score: float) -> float:
        """Returns the outcome that ``score`` predicts, in [0, 1]."""
        return float(np.interp(score, self.scores, self.outcomes))

    def write(self, path: Path) -> None:
        """Writes the map as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"version": VERSION} | asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ScoreMap:
        """Returns the map in ``path``. Raises ``ConfigError`` if there is no valid one."""
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            if row.pop("version") != VERSION:
                raise ConfigError(f"{path} is a map of another version; fit it again")
            score_map = cls(**row | {"scores": tuple(row["scores"]), "outcomes": tuple(row["outcomes"])})
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {reason(error)}") from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigError(
                f"{path} is not a map of python -m coaches.calibrate: {reason(error)}"
            ) from None
        scores, outcomes = np.array(score_map.scores), np.array(score_map.outcomes)
        valid = len(scores) == len(outcomes) > 0 and bool(np.all((outcomes >= 0.0) & (outcomes <= 1.0)))
        if not valid or np.any(np.diff(scores) <= 0.0) or np.any(np.diff(outcomes) < 0.0):
            raise ConfigError(f"{path} is not a map of python -m coaches.calibrate: it is not monotone")
        return score_map


class Pairs(NamedTuple):
    """Judged turns as parallel arrays: score in [0, 10], outcome of the episode in [0, 1], task."""

    scores: Array
    outcomes: Array
    tasks: NDArray[np.str_]


def pairs(recorded: Sequence[RecordedEpisode]) -> tuple[Pairs, str]:
    """Returns the judged turns of all episodes with an outcome, and the one source of their verdicts.

    Raises:
        ConfigError: there are too few, or verdicts of several coaches.
    """
    rows = [
        (verdict.score, episode.outcome.score, episode.task_id, verdict.source)
        for episode in recorded
        if episode.outcome is not None
        for verdict in episode.verdicts
        if verdict is not None
    ]
    sources = sorted({source for *_, source in rows})
    if len(rows) < FEWEST:
        raise ConfigError(f"{plural(len(rows), 'judged turn')} with an outcome: at least {FEWEST} are needed")
    if len(sources) > 1:
        raise ConfigError(f"the verdicts come from several coaches: {', '.join(sources)}")
    scores, outcomes, tasks, _ = zip(*rows, strict=True)
    return Pairs(np.array(scores), np.array(outcomes), np.array(tasks)), sources[0]


def fit(data: Pairs, source: str) -> ScoreMap:
    """Returns the map fitted on ``data``, with its calibration errors.

    Raises:
        ConfigError: all turns belong to one task, so that no task can be held out.
    """
    if len(set(data.tasks)) < 2:
        raise ConfigError("all judged turns belong to one task: a second one is needed to measure the map on")
    scores, outcomes = _isotonic(data.scores, data.outcomes)
    return ScoreMap(
        source,
        tuple(scores.tolist()),
        tuple(outcomes.tolist()),
        turns=len(data.scores),
        tasks=len(set(data.tasks)),
        ece_before=ece(data.scores / 10.0, data.outcomes),
        ece_after=ece(_cross_validated(data), data.outcomes),
    )


def ece(predicted: Array, outcomes: Array, bins: int = BINS) -> float:
    """Returns the expected calibration error, over ``bins`` bins of equal size (fewer if predictions are
    tied).

    Samples with the same prediction share a bin, so that the result does not depend on their order.
    """
    order = np.argsort(predicted, kind="stable")
    values, starts = np.unique(predicted[order], return_index=True)
    bin_of_value = starts * bins // len(predicted)
    bin_of = bin_of_value[np.searchsorted(values, predicted)]
    total = 0.0
    for number in np.unique(bin_of):
        inside = bin_of == number
        total += float(inside.mean()) * abs(float(predicted[inside].mean() - outcomes[inside].mean()))
    return total


def _cross_validated(data: Pairs) -> Array:
    """Returns, for each turn, the prediction of a map fitted on other tasks."""
    names = sorted(set(data.tasks))
    fold_of = {name: place % FOLDS for place, name in enumerate(names)}
    folds = np.array([fold_of[name] for name in data.tasks])
    predicted = np.empty_like(data.scores)
    for fold in np.unique(folds):
        held_out = folds == fold
        points = _isotonic(data.scores[~held_out], data.outcomes[~held_out])
        predicted[held_out] = np.interp(data.scores[held_out], *points)
    return predicted


def _isotonic(scores: Array, outcomes: Array) -> tuple[Array, Array]:
    """Returns the points of the isotonic regression: (scores, outcomes)."""
    from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]  # takes a second to import

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores, outcomes)
    return np.asarray(model.X_thresholds_, np.float64), np.asarray(model.y_thresholds_, np.float64)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    from conf import commands

    parser = Parser("python -m coaches.calibrate", __doc__)
    commands.add_overrides(
        parser,
        "run folders, and files of episodes, also of coaches.score; env=<name>: roles of lines without",
    )
    add_out(parser, required=True)
    parser.add_argument("--skip-bad", action="store_true", help="leave out invalid lines, and count them")
    options = parser.parse_intermixed_args(arguments)
    settings = [word for word in options.overrides if commands.is_override(word)]
    files = [Path(word) for word in options.overrides if not commands.is_override(word)]
    with commands.one_line_errors(OSError):
        config = commands.compose_parts(settings, {"env": None}, config_dir=options.config_dir)
        require_apart({"--out": options.out}, map(episodes.file_of, files))
        require_new(options.overwrite, options.out)
        recorded, skipped = _read(files, config, options.skip_bad)
        score_map = fit(*pairs(recorded))
        score_map.write(options.out)
    print(
        f"{options.out}: {plural(len(score_map.scores), 'point')} from {plural(score_map.turns, 'turn')} of "
        f"{plural(score_map.tasks, 'task')}, coach {score_map.source}; "
        f"ECE {score_map.ece_before:.3f} before, {score_map.ece_after:.3f} after"
    )
    if skipped:
        print(f"skipped: {plural(len(skipped), 'line')}{episodes.first_of(skipped)}")


def _read(files: Sequence[Path], config: Any, skip_bad: bool) -> tuple[list[RecordedEpisode], list[str]]:
    import conf

    if not files:
        raise ConfigError("name at least one run folder or file of episodes")
    roles = conf.build("envs", config.env).roles if "env" in config else None
    read, skipped = episodes.read_all(files, roles=roles, skip_bad=skip_bad)
    return [one for _, one in read], skipped


if __name__ == "__main__":
    main()
