"""The command that writes reports and prints failed episodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.corpus.cases import path_of
from benchmarks.report.__main__ import main
from coaches import episodes

CORPUS = path_of("public")
MISSING = "dsbench-airport_altitude-0-never_saved-0"


def test_failed_episodes_are_listed_with_culprit_and_chain(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(CORPUS), "--failed", "--agent=data_engineer", "--code=missing", "--task=airport_altitude"])
    shown = capsys.readouterr().out
    assert MISSING in shown
    assert "X_test.pkl missing" in shown
    assert "1 of 120 episodes; by culprit: data_engineer 1" in shown


def test_filters_leave_out_what_they_do_not_admit(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(CORPUS), "--failed", "--agent", "modeler", "--code", "ids"])
    assert "0 of" in capsys.readouterr().out


def test_an_episode_is_printed_with_its_culprit_and_its_handoffs(capsys: pytest.CaptureFixture[str]) -> None:
    main([str(CORPUS), "--episode", MISSING])
    shown = capsys.readouterr().out
    assert "culprit: data_engineer, turn 2: X_test.pkl missing when data_engineer ended" in shown
    assert "handed over: X_test.pkl missing, nobody → turn" in shown
    assert "← explains the failure" in shown


@pytest.mark.parametrize("words", [("--failed",), ("--episode", "e\x1b[2J")])
def test_nothing_recorded_acts_on_the_terminal(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, bad = tmp_path / "episodes.jsonl", "\x1b[2J\x9b2J\u202e[red]plain[/red]\nculprit: boss"
    turn = {
        "agent": bad,
        "action": "x",
        "checks": [{"name": bad, "code": bad, "detail": bad}],
        "verdict": {"score": 1, "rationale": bad, "blame": bad, "source": bad},
    }
    roles = [{"name": bad, "produces": [{"name": bad}]}]
    row = {
        "id": "e\x1b[2J",
        "roles": roles,
        "task": bad,
        "turns": [turn],
        "outcome": {"success": False, "failure_code": bad},
    }
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    main([str(path), *words])
    shown = capsys.readouterr().out
    assert not {"\x1b", "\x9b", "\u202e"} & set(shown)
    assert not any(each.startswith("culprit: boss") for each in shown.splitlines())
    assert "[red]plain[/red]" in shown


def test_times_that_nobody_recorded_are_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "episodes.jsonl"
    turns = [
        {"agent": "a", "action": "x", "result": result}
        for result in ({"exit_code": 1}, {"status": "ok", "wall_s": 1.5})
    ]
    path.write_text(json.dumps({"id": "e", "task": "t", "turns": turns}) + "\n", encoding="utf-8")
    main([str(path), "--episode", "e"])
    shown = capsys.readouterr().out
    assert "ended in error, time unknown" in shown
    assert "ended in ok, 1.50 s" in shown


def test_a_long_output_is_printed_without_its_middle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "episodes.jsonl"
    turn = {"agent": "a", "action": "x" * 9000}
    path.write_text(json.dumps({"id": "e", "turns": [turn]}) + "\n", encoding="utf-8")
    main([str(path), "--episode", "e"])
    assert "[… 1000 characters …]" in capsys.readouterr().out


def test_a_file_without_episodes_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "episodes.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--failed"])
    assert "has no episodes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--episode", "none"], "there is no episode 'none'"),
        (["--agent", "modeler"], "--agent narrows the list of --failed"),
        (["--agent", "nobody", "--failed"], "--agent: no episode has 'nobody'; there are analyst"),
        (["--code", "wrongcode", "--failed"], "--code: no failed episode has 'wrongcode'; there are "),
        (["--step", "7", "--failed"], "--step: no episode has 7; there are 0"),
        (["--episode", "x", "--failed"], "not allowed with"),
        (["--out", str(CORPUS), "--overwrite"], "is what is shown"),
        (["--step", "-1", "--failed"], "must be at least 0"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(CORPUS), *words])
    assert caught.value.code == 2
    shown = capsys.readouterr().err
    assert complaint in shown
    assert shown.count("\n") == 1


def test_a_page_beside_a_file_is_not_replaced_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text('{"turns": [{"agent": "a", "action": "b"}]}\n', encoding="utf-8")
    main([str(path)])
    first = (tmp_path / "episodes.html").read_bytes()
    with pytest.raises(SystemExit):
        main([str(path)])
    assert "exists: name another place" in capsys.readouterr().err
    main([str(path), "--overwrite"])
    assert (tmp_path / "episodes.html").read_bytes() == first


def test_a_bad_line_is_left_out_and_named_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text('{"turns": [{"agent": "a", "action": "b"}]}\n{"turns": []}\n', encoding="utf-8")
    main([str(path), "--skip-bad"])
    assert "left out: " in capsys.readouterr().err


def test_an_environment_lends_its_roles_to_lines_that_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [row] = [row for row, _ in episodes.read(CORPUS) if row["id"] == MISSING]
    del row["roles"]
    (tmp_path / "old.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(tmp_path / "old.jsonl"), "--failed"])
    assert "set env=<name>" in capsys.readouterr().err
    main([str(tmp_path / "old.jsonl"), "env=dsbench", "--failed"])
    assert "X_test.pkl missing" in capsys.readouterr().out
