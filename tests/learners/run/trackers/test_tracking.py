"""A run folder is one W&B run, whatever the folder is called and however often it is resumed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from coaches import episodes
from coaches.attacks.texts import ATTACKS
from conf import ConfigError
from learners.config import RunConfig
from learners.run.folder import PAGE
from learners.run.report import reporting
from learners.run.run import train
from learners.run.trackers.turns import COLUMNS, sample
from learners.run.trackers.weights_and_biases import ID, TABLE, open_wandb_run
from tests.learners.parts.settings import settings
from tests.test_conf import composed

BLOCK = 2**15


class Wandb:
    """W&B with its rules: a resumed run goes on after its last step, and takes no step twice."""

    def __init__(self) -> None:
        self.histories: dict[str, dict[int, dict[str, Any]]] = {}
        self.started: list[dict[str, Any]] = []
        self.artifacts: list[Artifact] = []

    def init(self, **given: Any) -> Any:
        self.started.append(given)
        offline = given["mode"] == "offline"
        folder = Path(given["dir"]) / "wandb" / f"{given['mode']}-run-{len(self.started)}-{given['id']}"
        history: dict[int, dict[str, Any]] = {}
        (folder / "files").mkdir(parents=True)
        if not offline:
            history = self.histories.setdefault(given["id"], {})

        def log(values: dict[str, Any], *, step: int, commit: bool) -> None:
            assert commit
            assert step == len(history), "steps are logged once, and in order"
            history[step] = values
            if offline:
                (folder / "rows.json").write_text(json.dumps(list(history.values())))

        return SimpleNamespace(
            id=given["id"],
            step=len(history),
            dir=str(folder / "files"),
            log=log,
            log_artifact=self.artifacts.append,
            finish=lambda: None,
        )


class Artifact:
    def __init__(self, name: str, type: str) -> None:
        self.name, self.files = name, dict[str, Path]()

    def add_file(self, path: str, *, name: str, policy: str) -> None:
        assert policy == "immutable"
        self.files[name] = Path(path)


def table(columns: list[str], data: list[list[Any]]) -> Any:
    return SimpleNamespace(to_json=lambda _: {"columns": columns, "data": data})


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    double, module = Wandb(), ModuleType("wandb")
    module.__spec__ = importlib.util.spec_from_loader("wandb", None)
    vars(module).update(
        init=double.init, Artifact=Artifact, Table=table, Error=type("Error", (Exception,), {})
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    return double


def config(mode: str) -> RunConfig:
    return RunConfig.read(composed("env=mathchat", f"wandb.mode={mode}"))


def record(folder: Path, first: int, last: int, *, truncate: int | None = None, mode: str = "online") -> None:
    """A process that records rows ``first`` to ``last``, after it has truncated the files to ``truncate``."""
    folder.mkdir(parents=True, exist_ok=True)
    with reporting(config(mode), folder, Console(quiet=True)) as reporter:
        for name in ("metrics", "timings"):
            path = folder / f"{name}.jsonl"
            lines = path.read_text().splitlines() if path.exists() else []
            path.write_text("".join(f"{line}\n" for line in lines[:truncate]))
        for step in range(first, last):
            row = {"success": step / 10, "fair": 0.5}
            timing = {"play_s": 1.0 + step, "tokens_per_second": 7.0}
            for name, values in (("metrics", row), ("timings", timing)):
                with (folder / f"{name}.jsonl").open("a") as file:
                    file.write(json.dumps({"phase": "train", "step": step} | values) + "\n")
            reporter.row("train", step, row, timing)


def steps(history: dict[int, dict[str, Any]]) -> list[int]:
    return [row["step"] for row in history.values()]


def test_two_folders_of_one_name_are_two_runs(tmp_path: Path, wandb: Wandb) -> None:
    for parent in ("a", "b", "a b/ü"):
        record(tmp_path / parent / "seed0", 0, 2)
    assert len(wandb.histories) == 3
    assert [given["name"] for given in wandb.started] == ["a/seed0", "b/seed0", "ü/seed0"]


def test_a_moved_folder_keeps_its_run(tmp_path: Path, wandb: Wandb) -> None:
    record(tmp_path / "a", 0, 2)
    (tmp_path / "a").rename(tmp_path / "b")
    record(tmp_path / "b", 2, 4)
    assert [steps(history) for history in wandb.histories.values()] == [[0, 1, 2, 3]]


def test_a_resumed_run_is_one_run_in_which_every_row_is_once(tmp_path: Path, wandb: Wandb) -> None:
    record(tmp_path, 0, 5)
    record(tmp_path, 3, 7, truncate=3)
    record(tmp_path, 7, 7)
    record(tmp_path, 6, 8, truncate=6)
    (history,) = wandb.histories.values()
    assert steps(history) == list(range(8))
    assert all(given["resume"] == "allow" for given in wandb.started)


def test_offline_a_resumed_run_is_one_part_with_every_row(tmp_path: Path, wandb: Wandb) -> None:
    record(tmp_path, 0, 5, mode="offline")
    record(tmp_path, 3, 3, truncate=3, mode="offline")
    assert len(parts(tmp_path)) == 2, "the old part goes when the new one has its rows"
    record(tmp_path, 3, 7, mode="offline")
    (part,) = parts(tmp_path)
    assert [row["step"] for row in json.loads((part / "rows.json").read_text())] == list(range(7))


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("wandb/offline-run-*"))


def test_metrics_and_timings_are_logged_under_names_of_their_own(tmp_path: Path, wandb: Wandb) -> None:
    record(tmp_path, 0, 1)
    assert next(iter(wandb.histories.values()))[0] == {
        "train/success": 0.0,
        "train/fair": 0.5,
        "train/timing/play_s": 1.0,
        "train/timing/tokens_per_second": 7.0,
        "step": 0,
    }


def test_the_line_of_a_step_names_the_policies_that_have_no_signal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    row = {"success": 0.5, "fair": 0.5, "rows/a": 4.0, "rows_no_signal/a": 4.0, "rows/b": 4.0}
    with reporting(config("disabled"), tmp_path, Console(quiet=True)) as reporter:
        reporter.row("train", 1, row | {"rows_no_signal/b": 1.0, "rows/c": 0.0, "rows_no_signal/c": 0.0}, {})
        reporter.row("train", 2, row | {"rows_no_signal/a": 3.0}, {})
    first, second = (record.getMessage() for record in caplog.records)
    assert "| no signal: a |" in first
    assert "no signal" not in second


def test_without_a_tracker_nothing_is_written(tmp_path: Path) -> None:
    assert open_wandb_run(config("disabled"), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_rejection_is_one_clear_line(tmp_path: Path, wandb: Wandb, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise sys.modules["wandb"].Error("no\nkey")

    monkeypatch.setattr(sys.modules["wandb"], "init", refuse)
    with pytest.raises(ConfigError, match=r"^W&B rejected the run: no$"):
        open_wandb_run(config("online"), tmp_path)


def test_a_training_run_times_play_update_weight_sync_and_evaluation(tmp_path: Path, wandb: Wandb) -> None:
    train(settings(tmp_path / "run", wandb={"mode": "online", "project": "p", "turns": 5}))
    (history,) = wandb.histories.values()
    trained = [row for row in history.values() if any(name.startswith("train/") for name in row)]
    for name in ("play_s", "update_s", "sync_s", "tokens_per_second"):
        assert all(row[f"train/timing/{name}"] > 0 for row in trained), name
    evaluated = [row for row in history.values() if any(name.startswith("eval/") for name in row)]
    assert all(row["eval/timing/play_s"] > 0 for row in evaluated)
    assert len(trained) + len(evaluated) == len(history) > 1
    assert json.loads((tmp_path / "run" / ID).read_text())["id"] in wandb.histories
    [artifact] = wandb.artifacts
    assert artifact.name == f"run-{json.loads((tmp_path / 'run' / ID).read_text())['id']}"
    assert artifact.files[PAGE].read_bytes() == (tmp_path / "run" / PAGE).read_bytes()
    shown = json.loads(artifact.files[TABLE].read_text())
    assert len(shown["data"]) == 5
    assert set(shown["columns"]) > {"action", "score", "success"}


def records(path: Path) -> Iterator[Any]:
    """The records of a ``.wandb`` file: a LevelDB log of protocol buffers."""
    messages: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = messages.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def hostile(folder: Path) -> list[str]:
    """Writes two episodes in which the bundled attacks are what agents wrote; returns their texts."""
    texts = [attack.text for attack in ATTACKS]
    texts += ["</script><img src=x onerror=alert(1)>", "数据" * 9, "a\0b\u2028c\ud800"]
    turns = [{"agent": "a", "action": text, "result": {"status": "ok", "stdout": text}} for text in texts]
    lines = [{"id": f"e{n}", "turns": turns, "outcome": {"success": n == 0}} for n in range(2)]
    (folder / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return texts


def test_the_sample_of_turns_is_seeded_and_drawn_from_all_of_them(tmp_path: Path) -> None:
    texts = hostile(tmp_path)
    played = [episode for _, episode in episodes.read(tmp_path)]
    whole = [dict(zip(COLUMNS, row, strict=True)) for row in sample(played, 1000, seed=1)]
    assert [(row["episode"], row["turn"]) for row in whole] == [
        (f"e{n}", place) for n in range(2) for place in range(1, len(texts) + 1)
    ]
    assert {row["success"] for row in whole} == {True, False}
    assert sample(played, 7, seed=1) == sample(played, 7, seed=1) != sample(played, 7, seed=2)
    drawn = Counter(tuple(row)[2:6:3] for seed in range(400) for row in sample(played, 7, seed))
    expected = 400 * 7 / len(whole)
    assert len(drawn) == len(whole), "every turn is drawn sooner or later"
    assert all(abs(count - expected) < 5 * expected**0.5 for count in drawn.values())
    assert sample(played, 0, seed=1) == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the extra 'wandb' is not installed")
def test_wandb_itself_has_one_offline_run_of_a_resumed_folder(tmp_path: Path) -> None:
    record(tmp_path, 0, 5, mode="offline")
    (first,) = parts(tmp_path)
    record(tmp_path, 3, 7, truncate=3, mode="offline")
    (second,) = parts(tmp_path)
    assert first != second
    assert second.name.endswith(json.loads((tmp_path / ID).read_text())["id"])
    (file,) = second.glob("*.wandb")
    until = time.monotonic() + 120  # a process of W&B's own writes the file
    while len(rows := history(file)) < 7 and time.monotonic() < until:
        time.sleep(0.5)
    assert rows == [(n, n, 1.0 + n) for n in range(7)]


def history(file: Path) -> list[tuple[float, ...]]:
    rows: list[tuple[float, ...]] = []
    for record_ in records(file):
        if record_.HasField("history"):
            items = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record_.history.item}
            rows.append((items["_step"], items["step"], items["train/timing/play_s"]))
    return rows


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the extra 'wandb' is not installed")
def test_wandb_itself_gets_the_turns_and_the_report_in_files_of_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "elsewhere"))
    folder = tmp_path / "run"
    folder.mkdir()
    texts = hostile(folder)
    (folder / PAGE).write_text("<p>page")
    with reporting(config("offline"), folder, Console(quiet=True)) as reporter:
        reporter.finish()
    (part,) = parts(folder)
    (file,) = part.glob("*.wandb")
    until = time.monotonic() + 120
    while not (logged := [one.artifact for one in records(file) if one.HasField("artifact")]):
        assert time.monotonic() < until
        time.sleep(0.5)
    (artifact,) = logged
    entries = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    assert set(entries) == {PAGE, TABLE}
    assert all(path.is_relative_to(part.resolve()) for path in entries.values())
    assert entries[PAGE].read_text() == "<p>page"
    table = json.loads(entries[TABLE].read_text())
    assert table["_type"] == "table"
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    read = [episode for _, episode in episodes.read(folder)]
    assert [row["action"] for row in rows] == [turn.action for one in read for turn in one.turns]
    assert set(texts[:-1]) < {row["stdout"] for row in rows}
    assert not [one for one in (tmp_path / "elsewhere").rglob("*") if one.is_file()]
    assert not [one for one in records(file) if one.HasField("history")], "no step is taken"
