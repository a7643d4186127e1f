"""Logs that inspect_ai itself wrote are read as episodes and scored, and what cannot be read is one line."""

from __future__ import annotations

import json
import zipfile
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from coaches import score
from coaches.episodes import RecordedEpisode
from coaches.traces import formats
from conf import ConfigError

pytestmark = [
    pytest.mark.inspect,
    pytest.mark.skipif(util.find_spec("inspect_ai") is None, reason="the extra inspect is not installed"),
]


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from tests.coaches.traces.inspect_team import written  # takes inspect_ai along

    folder = tmp_path_factory.mktemp("logs")
    return {format: written(folder, format) for format in ("eval", "json")}


def read(path: Path) -> list[tuple[dict[str, Any], RecordedEpisode]]:
    pairs, bad = formats.read_all(path, formats.chosen(path, None), roles=None, skip_bad=False)
    assert bad == []
    return pairs


@pytest.mark.parametrize("format", ["eval", "json"])
def test_a_log_is_read_with_agents_tools_and_outcome(logs: dict[str, Path], format: str) -> None:
    assert formats.chosen(logs[format], None) == "inspect"
    [(row, one)] = read(logs[format])
    assert [turn.agent for turn in one.turns] == ["adder", "adder", "adder", "writer"], "no judge's turn"
    assert [turn.result and turn.result.status for turn in one.turns] == ["error", "ok", None, None]
    refused, added = (turn.result for turn in one.turns[:2])
    assert refused is not None
    assert refused.stderr == "a is negative"
    assert added is not None
    assert added.stdout == "7"
    assert '"arguments": {"a": 2, "b": 5}' in one.turns[1].action
    assert one.turns[3].observation[-1].content == "Conclude."
    assert one.outcome is not None
    assert one.outcome.success
    assert one.outcome.score == 1.0
    assert (row["task"], row["answer"]) == ("sums/sum", "7")
    assert row["scores"] == {"includes": "C", "model_graded_qa": "C"}
    assert row["turns"][0]["tokens"] == 7
    assert one.times is not None
    assert one.times.started > 1.7e9
    assert row["missing"] == []


def test_a_folder_of_logs_is_scored_on_the_command_line(
    logs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scored.jsonl"
    (logs["eval"].parent / "logs.json").write_text('["a list of logs"]')
    score.main([str(logs["eval"].parent), "coach=rules", "--out", str(out)])
    said = capsys.readouterr().out
    assert "read as format=inspect, which has no files, checks and instructions of roles" in said
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(scored) == 2
    for row in scored:
        scores = [turn["verdict"]["score"] for turn in row["turns"]]
        assert scores[0] < scores[1], "the call that failed scores less"


def test_what_a_sample_lacks_is_said(logs: dict[str, Path], tmp_path: Path) -> None:
    log = json.loads(logs["json"].read_text())
    sample = log["samples"][0]
    sample |= {"scores": {"includes": {"value": {"a": 1}}}, "events": [], "target": ""}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(log))
    [(row, one)] = read(path)
    assert {turn.agent for turn in one.turns} == {"unnamed"}
    added = one.turns[1].result
    assert added is not None
    assert added.stdout == "7", "from the messages"
    assert one.outcome is None
    assert row["missing"] == [
        "outcome",
        "true answer",
        "times",
        "events (read from messages, agents called 'unnamed')",
    ]


def broken(kind: str, logs: dict[str, Path]) -> bytes:
    whole = logs["json" if "JSON" in kind else "eval"].read_bytes()
    if kind == "an empty file":
        return b""
    if kind.startswith("half"):
        return whole[: len(whole) // 2]
    if kind == "JSON without its evaluation":
        return b'{"version": 2, "status": "success", "eval": {}}'
    log = json.loads(logs["json"].read_text())
    if kind == "JSON without samples":
        return json.dumps({**log, "samples": None, "status": "started"}).encode()
    return json.dumps({**log, "samples": [{**log["samples"][0], "events": [], "messages": []}]}).encode()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("an empty file", "the file is empty"),
        ("half a ZIP", "inspect_ai cannot read it: "),
        ("half a JSON", "inspect_ai cannot read it: "),
        ("JSON without its evaluation", "inspect_ai cannot read it: "),
        ("JSON without samples", "the log has no samples; its status is 'started'"),
        ("JSON in which no model was called", "sample sum, epoch 1: no model was called"),
    ],
)
def test_what_is_malformed_is_one_line(
    kind: str, said: str, logs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.eval"
    path.write_bytes(broken(kind, logs))
    with pytest.raises(SystemExit, match="2"):
        score.main([str(path), "coach=rules", "format=inspect"])
    [line] = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert said in line


def test_a_zip_of_something_else_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.eval"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("header.json", "[]")
    with pytest.raises(ConfigError, match=r"other\.eval: inspect_ai cannot read it: "):
        read(path)
