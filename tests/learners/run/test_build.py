"""Building a run keeps what it loads out of the garbage collector's way, until it is closed."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest

from conf.revision import Revision, revision
from learners.config import RunConfig
from learners.run.build import build
from learners.run.run import train
from tests.learners.parts.settings import settings


def test_what_is_loaded_is_not_looked_through_again_until_the_parts_are_closed(tmp_path: Path) -> None:
    gc.unfreeze()
    parts = build(RunConfig.read(settings(tmp_path / "run")))
    assert gc.get_freeze_count() > 10_000
    assert all(each is not parts.generator for each in gc.get_objects())
    parts.close()
    assert gc.get_freeze_count() == 0


def test_a_run_records_what_made_it_and_what_went_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(settings(tmp_path / "run", steps=1, evaluation={"every": 1}))
    assert "Held-out tasks, judged by the grader: reinforcepp, tests.learners.parts.letters" in " ".join(
        capsys.readouterr().out.split()
    )
    first = json.loads((run / "metadata.json").read_text(encoding="utf-8"))
    assert first["coachgym"] == vars(revision())
    assert first["algorithm"] == "reinforcepp"
    assert {one["model"] for one in first["team"].values()} == {"tests.learners.parts.letters"}
    later = Revision("99", "a" * 40, True)
    monkeypatch.setattr("learners.run.build.revision", lambda: later)
    train(settings(tmp_path / "run", evaluation={"every": 1}, resume=True))
    settled = {"wandb.mode": "disabled", "tensorboard": False, "trace.otlp": None, "record.tokens": "none"}
    assert first["settings"].items() >= {"steps": 1, **settled}.items()
    noted = {"resumed": [{"after_step": 1, "coachgym": vars(later), "settings": {"steps": 2}}]}
    assert json.loads((run / "metadata.json").read_text(encoding="utf-8")) == first | noted


def test_a_run_records_what_was_switched_on_or_off_when_it_was_resumed(tmp_path: Path) -> None:
    def goes_on(steps: int, **changes: Any) -> Any:
        run = train(settings(tmp_path / "run", steps=steps, resume=steps > 1, **changes))
        return json.loads((run / "metadata.json").read_text(encoding="utf-8")).get("resumed")

    switched = {"trace": {"otlp": str(tmp_path / "t.jsonl")}, "record": {"tokens": "all"}}
    assert goes_on(1) is None
    on = {"steps": 2, "trace.otlp": str(tmp_path / "t.jsonl"), "record.tokens": "all"}
    first = {"after_step": 1, "settings": on}
    assert goes_on(2, **switched) == [first]
    last = {"after_step": 2, "settings": {"steps": 3, "trace.otlp": None}}
    assert goes_on(3, record=switched["record"]) == [first, last]


def test_what_a_run_of_an_earlier_version_began_with_is_in_its_settings(tmp_path: Path) -> None:
    path = train(settings(tmp_path / "run", steps=1)) / "metadata.json"
    earlier = json.loads(path.read_text(encoding="utf-8"))
    del earlier["settings"]
    path.write_text(json.dumps(earlier), encoding="utf-8")
    train(settings(tmp_path / "run", steps=1, resume=True, record={"tokens": "all"}))
    noted = [{"after_step": 1, "settings": {"record.tokens": "all"}}]
    assert json.loads(path.read_text(encoding="utf-8"))["resumed"] == noted
