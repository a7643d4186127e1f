"""Where the metrics of a run are shown while it runs, besides its own folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from learners.config import RunConfig
from learners.run.trackers.event_files import open_event_files
from learners.run.trackers.weights_and_biases import open_wandb_run


class Tracker(Protocol):
    """One place that shows metrics."""

    def log(self, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        """Takes the newest rows of ``metrics.jsonl`` and ``timings.jsonl``, which have been recorded."""
        ...

    def finish(self) -> None:
        """Is called when the run is finished and its folder complete."""
        ...

    def close(self) -> None:
        """Is called at the end, however the run ends."""
        ...


@contextmanager
def tracking(config: RunConfig, folder: Path) -> Iterator[Sequence[Tracker]]:
    """Yields the trackers that ``config`` asks for, and closes them at the end.

    Raises:
        ConfigError: W&B rejects the run.
    """
    with ExitStack() as opened:
        trackers: list[Tracker] = []
        for open_one in (open_wandb_run, open_event_files):
            if (tracker := open_one(config, folder)) is not None:
                opened.callback(tracker.close)
                trackers.append(tracker)
        yield trackers
