"""``--what otlp``: the spans of a run that has been played."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.export.__main__ import main
from tests.learners.run.test_stops import trained
from tests.learners.run.test_trainer import settings
from tests.learners.traces.receiver import receiving


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a file of traces, ``live.jsonl``, beside it."""
    path = tmp_path_factory.mktemp("otlp")
    trained(settings(path / "run", trace={"otlp": str(path / "live.jsonl")}))
    return path / "run"


def spans(path: Path) -> list[list[dict[str, Any]]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(one)["resourceSpans"][0]["scopeSpans"][0]["spans"] for one in lines]


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(words))
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_file_is_the_one_that_the_run_wrote(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(run), "--what", "otlp"])
    out = run / "export-otlp.jsonl"
    assert out.read_bytes() == run.with_name("live.jsonl").read_bytes()
    assert capsys.readouterr().out == f"12 episodes as OpenTelemetry spans\nwritten: {out}\n"


def test_phase_and_success_choose_episodes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(run), "--what", "otlp", "--phase", "eval", "--out", str(tmp_path / "out.jsonl")])
    assert len(spans(tmp_path / "out.jsonl")) == 4
    words = [str(run), "--what", "otlp", "--succeeded", "--out", str(tmp_path / "none.jsonl")]
    assert "there is nothing to export" in complaint(capsys, *words)
    assert not list(tmp_path.glob("*none*"))


def test_a_file_of_episodes_from_anywhere_is_exported(tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    turns = [{"agent": "a", "action": "1\ud800", "observation": "say one"}]
    path.write_text("\n".join([json.dumps({"turns": turns}), "no JSON"]), encoding="utf-8")
    main([str(path), "--what", "otlp", "--skip-bad"])
    [[root, turn, chat]] = spans(tmp_path / "export-otlp.jsonl")
    assert turn["name"] == "invoke_agent a"
    assert chat["name"] == "chat"
    assert root["status"] == {}


def test_an_endpoint_gets_the_episodes_and_one_that_fails_is_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with receiving() as receiver:
        main([str(run), "--what", "otlp", "--endpoint", receiver.address])
        assert capsys.readouterr().out == f"12 episodes at {receiver.address}/v1/traces\n"
        assert len(receiver.requests) == 12
        receiver.status = 400
        words = [str(run), "--what", "otlp", "--endpoint", receiver.address]
        assert "took 0 episodes and not the next: Failed to export" in complaint(capsys, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--what", "otlp", "--agent", "a"], "--agent chooses rows"),
        (["--what", "otlp", "--most", "3"], "--most chooses rows"),
        (["--what", "otlp", "--endpoint", "localhost:4318"], "--endpoint must be an address"),
        (["--what", "sft", "--endpoint", "http://x"], "--endpoint takes spans: add --what otlp"),
    ],
)
def test_options_that_do_not_fit_are_one_line(
    run: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in complaint(capsys, str(run), *words)
