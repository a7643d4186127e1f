"""The costs of forks: that they are measured, not what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.sandbox import forks


def test_the_least_of_all_rounds_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([(900, 100, 5), (200, 300, 6)])
    monkeypatch.setattr(forks, "_CASES", {"nothing": ("none", 0)})
    monkeypatch.setattr(forks, "_in_process", lambda name, _: forks.Cost(name, 9, 99, next(costs), None))
    assert forks.main(["--rounds", "2", "--out", str(tmp_path / "forks.json")]) == 0
    (cost,) = json.loads((tmp_path / "forks.json").read_text(encoding="utf-8"))["costs"]
    assert cost == {
        "case": "nothing",
        "resident_mb": 9,
        "mappings": 99,
        "empty": [200, 300, 6],
        "snippet": None,
    }


def test_a_case_is_measured_in_a_process_of_its_own() -> None:
    cost = forks._in_process("50 MB", 2)
    assert cost.resident_mb > 50
    assert cost.empty[2] > 0
