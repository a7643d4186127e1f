"""The benchmark of the report's page."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.corpus.cases import path_of
from learners.report import reading

CORPUS = path_of("public")


@pytest.mark.browser
def test_recorded_episodes_are_repeated_and_every_view_is_measured() -> None:
    pytest.importorskip("playwright.sync_api")
    measured = page.measure(reading.read(CORPUS), episodes=150, rounds=1)
    assert measured.episodes == 150
    assert set(measured.seconds) == {"opened", *page.FILTERS, "search"}


def test_without_a_browser_it_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as stopped:
        page.main([str(CORPUS), "--out", str(tmp_path / "page.json")])
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "needs playwright" in line or "needs Chromium" in line
