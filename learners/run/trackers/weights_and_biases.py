"""A run at Weights & Biases: one W&B run for each run folder, however often the folder is resumed."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from conf import ConfigError
from learners.config import RunConfig
from learners.report import reading
from learners.run import files, rows
from learners.run.folder import PAGE
from learners.run.trackers import turns
from learners.seeds import derive_seed

ID = "wandb.json"
"""The file in the run folder with the id of its W&B run."""
TABLE = "turns.table.json"
"""In the artifact; its name tells W&B to show it as a table."""


class WandbRun:
    """Logs the rows of ``metrics.jsonl`` and ``timings.jsonl``. Row n of the files is step n of the W&B run.

    A resumed run plays some steps again; W&B has their rows already, and they are not logged again. Offline,
    every process writes files of its own, of which an upload would keep the last: there a resumed run logs
    all rows once more, and removes the files of before.
    """

    def __init__(self, run: Any, config: RunConfig, folder: Path) -> None:
        self._run = run
        self._config = config
        self._folder = folder
        self._known: int = run.step
        self._row: int | None = None

    def log(self, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        """Logs the newest row of both files: metrics and, under ``timing/``, what differs between runs."""
        if self._row is not None:
            self._log(self._row, row, timing)
            self._row += 1
            return
        self._row = 0
        for metrics, timings in rows.both(self._folder):
            self._log(self._row, metrics, timings)
            self._row += 1
        self._remove_earlier_files()

    def finish(self) -> None:
        """Logs what people look at of a finished run, as one artifact: a table of some turns and the report.

        The table is not a row of the history, whose steps are those of ``metrics.jsonl``. The files of the
        artifact are copies beside those of the W&B run, so that an upload later takes what was logged.
        """
        import wandb

        run = reading.read(self._folder)
        copies = Path(self._run.dir).resolve().parent / "artifact"
        artifact = wandb.Artifact(f"run-{self._run.id}", type="run")
        with files.writing(copies):
            copies.mkdir(exist_ok=True)
            if count := self._config.wandb.turns:
                played = (episode for _, episode in reading.episodes_of(run))
                drawn = turns.sample(played, count, derive_seed(self._config.seed, "wandb"))
                table = wandb.Table(columns=list(turns.COLUMNS), data=drawn).to_json(artifact)
                (copies / TABLE).write_text(json.dumps(table), encoding="utf-8")
                artifact.add_file(str(copies / TABLE), name=TABLE, policy="immutable")
            shutil.copyfile(self._folder / PAGE, copies / PAGE)
            artifact.add_file(str(copies / PAGE), name=PAGE, policy="immutable")
        self._run.log_artifact(artifact)

    def close(self) -> None:
        """Ends the W&B run; waits until everything is written, or uploaded."""
        self._run.finish()

    def _log(self, number: int, row: Mapping[str, Any], timing: Mapping[str, Any]) -> None:
        if number < self._known:
            return
        phase = row["phase"]
        values = {f"{phase}/{name}": value for name, value in row.items() if name not in rows.PLACE}
        values |= {
            f"{phase}/timing/{name}": value for name, value in timing.items() if name not in rows.PLACE
        }
        self._run.log(values | {"step": row["step"]}, step=number, commit=True)

    def _remove_earlier_files(self) -> None:
        own = Path(self._run.dir).parent
        for path in self._folder.glob(f"wandb/offline-run-*-{self._run.id}"):
            if path.resolve() != own.resolve():
                shutil.rmtree(path, ignore_errors=True)


def open_wandb_run(config: RunConfig, folder: Path) -> WandbRun | None:
    """Starts or resumes the W&B run of ``folder``; None if ``wandb.mode`` is ``disabled``.

    Raises:
        ConfigError: W&B rejects the run.
        TrainingError: the folder cannot be written.
    """
    if config.wandb.mode == "disabled":
        return None
    import wandb  # takes a second to import, and most runs do not use it

    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        run = wandb.init(
            project=config.wandb.project,
            mode=cast(Literal["offline", "online"], config.wandb.mode),
            dir=folder,
            id=_id_of(folder),
            name="/".join(folder.resolve().parts[-2:]),
            resume="allow" if config.wandb.mode == "online" else None,
            config=config.container(),
        )
    except wandb.Error as error:
        raise ConfigError(f"W&B rejected the run: {str(error).splitlines()[0]}") from None
    return WandbRun(run, config, folder)


def _id_of(folder: Path) -> str:
    """Returns the id that the folder's W&B run has had since it began: names of folders are not unique."""
    path = folder / ID
    if not path.exists():
        with files.writing(path), files.draft(path) as draft:
            draft.write_text(json.dumps({"id": uuid.uuid4().hex}) + "\n", encoding="utf-8")
    return str(json.loads(path.read_text(encoding="utf-8"))["id"])
