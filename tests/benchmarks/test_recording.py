"""The benchmark of what recorded episodes take on disk."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from benchmarks import recording
from benchmarks.corpus.cases import path_of
from coaches.recording.repeats import SHARED


def test_bytes_are_those_of_the_files_and_of_the_episodes_written_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with lzma.open(path_of("public")) as file:
        lines = file.read().splitlines(keepends=True)[:3]
    (tmp_path / "episodes.jsonl").write_bytes(b"".join(lines))
    (tmp_path / SHARED).write_text('{"key": "k", "value": 1}\n', encoding="utf-8")
    out = tmp_path / "out.json"
    recording.main([str(tmp_path), "--out", str(out)])
    found = json.loads(out.read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in lines]
    assert found["episodes"] == 3
    assert found["turns"] == sum(len(row["turns"]) for row in rows)
    assert found["written"] == sum(map(len, lines))
    assert found["shared"] == 25
    assert found["whole"] == sum(len(json.dumps(row, ensure_ascii=False).encode()) + 1 for row in rows)
    assert f"episodes.jsonl: {found['written'] / 3000:.1f} kB an episode" in capsys.readouterr().out


def test_a_file_without_episodes_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "episodes.jsonl").touch()
    with pytest.raises(SystemExit):
        recording.main([str(tmp_path), "--out", str(tmp_path / "out.json")])
    assert "has no episodes" in capsys.readouterr().err
