"""TensorBoard's event files of a run, in its folder: ``tensorboard --logdir runs/x/tensorboard``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learners.config import RunConfig
from learners.run import files, rows

FOLDER = "tensorboard"
"""In the run folder; in it a folder for each phase, which TensorBoard shows as a run."""


class EventFiles:
    """Writes the rows of ``metrics.jsonl`` under the names that they have there, and those of
    ``timings.jsonl`` with ``timing/`` before their names.

    Event files can only grow, so the first row that a process logs makes them again from both files: a
    resumed run plays some steps again, and an earlier part of it may have written none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[str, Any] = {}
        self._agree = False

    def log(self, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        """Writes the newest row of both files."""
        if not self._agree:
            self.finish()  # writes this one too: it has been recorded
            return
        with files.writing(self._path):
            self._add(row, timing)
            self._flush()

    def finish(self) -> None:
        """Brings the event files into line with the rows, unless this process has done so before."""
        if self._agree:
            return
        with files.writing(self._path):
            shutil.rmtree(self._path, ignore_errors=True)
            for row, timing in rows.both(self._folder):
                self._add(row, timing)
            self._flush()
        self._agree = True

    def close(self) -> None:
        """Ends the files."""
        with files.writing(self._path):
            for writer in self._writers.values():
                writer.close()

    @property
    def _path(self) -> Path:
        return self._folder / FOLDER

    def _add(self, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        writer = self._writer(row["phase"])
        named = {name: value for name, value in row.items() if name not in rows.PLACE}
        named |= {f"timing/{name}": value for name, value in timing.items() if name not in rows.PLACE}
        for name, value in named.items():
            writer.add_scalar(name, value, global_step=row["step"], walltime=timing.get("time"))

    def _writer(self, phase: str) -> Any:
        if phase not in self._writers:
            from torch.utils.tensorboard import SummaryWriter  # needs an extra that most runs do not

            self._writers[phase] = SummaryWriter(str(self._path / phase))
        return self._writers[phase]

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()


def open_event_files(config: RunConfig, folder: Path) -> EventFiles | None:
    """Returns the event files of the run in ``folder``; None without ``tensorboard=true``."""
    return EventFiles(folder) if config.tensorboard else None
