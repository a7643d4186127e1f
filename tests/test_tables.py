"""Tables on the terminal lose nothing at 80 columns, and claim nothing that cannot be."""

from __future__ import annotations

import io
import json
import re
from math import nan
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from benchmarks.coaches.__main__ import main as benchmark
from benchmarks.report import terminal
from benchmarks.report.__main__ import main as report
from coaches import episodes, monitor, score
from coaches.base import Verdict
from conf.tables import interval, make_console, make_table
from learners.report import reading
from learners.run.report import before_after

LONG = "the_agent_that_prepares_the_tables_of_the_task"


def shown(table: Table, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    assert all(len(line) <= width for line in out.getvalue().splitlines())
    return out.getvalue()


def column(text: str, place: int) -> str:
    """Returns everything in one column of a table that was printed, in one piece."""
    rows = [re.split("[│┃]", line) for line in text.splitlines()]
    return "".join(row[place].strip() for row in rows if len(row) > place)


def scored(agent: str, scores: list[float]) -> list[score.Scored]:
    row = {"turns": [{"agent": agent, "action": "x"}], "outcome": {"success": True}}
    return [score.Scored(episodes.episode(row), (Verdict(value, "", agent),), (), {}) for value in scores]


def test_the_interval_of_a_score_stays_within_the_scale() -> None:
    text = shown(score.tabulate(scored("a", [9.6, 10.0, 10.0]), "t"))
    assert "10.00]" in text
    assert not re.search(r"10\.[1-9]", text)
    assert "[0.00, " in shown(score.tabulate(scored("a", [0.0, 0.0, 0.4]), "t"))
    assert interval(-3.0, 0.5, ".1f", least=0.0, most=1.0) == "[0.0, 0.5]"


def test_where_there_is_no_interval_a_dash_says_so() -> None:
    assert interval(nan, nan, ".2f") == "–"
    assert "–" in shown(score.tabulate(scored("a", [5.0]), "t"))


@pytest.mark.parametrize(
    "agent", ["data_engineer", LONG, "[planner]", "[/x]", "agent [bold]", "数据工程师" * 8]
)
def test_the_name_of_an_agent_is_shown_whole_at_80_columns(agent: str) -> None:
    text = shown(score.tabulate(scored(agent, [9.0, 10.0] * 500), f"coach on {agent}"))
    assert agent.replace(" ", "") in column(text, 1).replace(" ", "")
    assert "…" not in text
    for number in ("1000", "9.50", "1000/1000", "0.0000"):
        assert number in text.replace("\n", ""), "and whole numbers are on one line" if agent != LONG else ""


def test_usual_names_fit_on_one_line() -> None:
    text = shown(score.tabulate(scored("data_engineer", [9.0, 10.0] * 600), "t"))
    assert "data_engineer" in text
    assert "[9.47, 9.53]" in text
    assert "1200/1200" in text


def test_held_out_results_are_shown_whole_at_80_columns() -> None:
    row = {"episodes": 120.0, "success": 0.5, "fair": 0.75, f"delivered/{LONG}": 0.5, f"turns/{LONG}": 2.0}
    text = shown(before_after(row, row))
    assert f"{LONG}:delivered" in column(text, 1).replace(" ", "")
    assert "…" not in text
    usual = {"episodes": 120.0, "success": 0.5, "fair": 0.75, "delivered/data_engineer": 0.5}
    assert "data_engineer: delivered" in shown(before_after(usual, usual))


def test_the_report_on_a_coach_is_shown_whole_at_80_columns() -> None:
    effect = {"estimate": 1.0, "error": 9.0, "low": -17.0, "high": 19.0}
    means = {f"role/{LONG}": {"turns": 2, "score": 5.0}, "kind/classification": {"turns": 2, "score": 5.0}}
    summary = {
        "means": means,
        "effects": {"role": {LONG: effect}},
        "gap": effect,
        "drift": None,
        "alarms": [],
    }
    text = shown(monitor.tabulate(summary))
    assert f"role{LONG}" in column(text, 1).replace(" ", "")
    assert "-10.00" in text, "two scores differ by at most ten"
    assert "17" not in text


def test_no_column_of_a_wide_table_is_cut() -> None:
    table = make_table("t", [f"{name} {LONG}" for name in "abcdefgh"])
    table.add_row(*(f"{name}{LONG}{name}" for name in "abcdefgh"))
    text = shown(table)
    assert "…" not in text
    for place, name in enumerate("abcdefgh", 1):
        assert f"{name}{LONG}{name}" in column(text, place)


def test_the_benchmark_of_coaches_shows_why_a_verdict_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["coach=counterfactual", "counterfactual.replace=empty", "counterfactual.env=[]"]
    benchmark([*words, "--limit", "1", "--no-retest", "--attacked", "0", "--out", str(tmp_path)])
    said = capsys.readouterr().out
    assert re.search(r"turns without a verdict: \d+ ReplayError; the first: no environment has a task", said)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A file with two failed episodes, whose agents, ids and tasks have long names."""
    turn = {"agent": LONG, "action": "x", "verdict": {"score": 5.0, "rationale": "", "blame": LONG}}
    outcome = {"success": False, "score": 0.0, "failure_code": "missing"}
    rows = [
        {"id": f"{n}-{LONG}", "task": f"task-{LONG}", "kind": LONG, "turns": [turn], "outcome": outcome}
        for n in range(2)
    ]
    path = tmp_path / "episodes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_in_a_pipe_each_row_of_a_table_is_one_line(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(*words: str) -> bool:
        return any(all(word in line for word in words) for line in capsys.readouterr().out.splitlines())

    score.main([str(recorded), "coach=rules"])
    assert line(LONG, "│", "0/2", "0.0000")
    monitor.main([str(recorded)])
    assert line(f"role {LONG}", "│", "5.00")
    report([str(recorded), "--failed"])
    assert line(f"0-{LONG}", f"task-{LONG}", f"│ {LONG}", "missing")
    row = {"episodes": 9.0, "success": 0.5, "fair": 0.7} | {f"delivered/{LONG}": 0.5, f"turns/{LONG}": 2.0}
    make_console().print(before_after(row, row, about=f"{LONG}, {LONG}, {LONG}"))
    assert line(f"{LONG}: delivered", "│", "+0.000")


def test_on_a_narrow_terminal_nothing_of_a_failed_episode_is_cut(recorded: Path) -> None:
    for width in (60, 400):
        console = Console(file=io.StringIO(), width=width)
        terminal.list_failed(reading.read(recorded), terminal.Wanted(), console, None)
        text = str(console.file.getvalue())  # type: ignore[attr-defined]
        assert f"1-{LONG}" in column(text, 1)
        assert f"task-{LONG}" in column(text, 2)


def test_only_one_place_makes_consoles() -> None:
    root = Path(__file__).parents[1]
    made = [
        str(path.relative_to(root))
        for folder in ("conf", "sandbox", "envs", "coaches", "learners", "benchmarks")
        for path in (root / folder).rglob("*.py")
        if re.search(r"\b(Console|get_console)\(|from rich import print", path.read_text(encoding="utf-8"))
    ]
    assert made == ["conf/tables.py"]
