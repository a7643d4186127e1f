"""Who&When: which messages are turns, what they were labelled with, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from coaches import score
from coaches.traces import formats
from conf import ConfigError


def run(*history: tuple[str, str], **extra: Any) -> dict[str, Any]:
    """A run of the algorithm-generated part; the messages are (name, content)."""
    messages = [{"name": name, "role": "user", "content": content} for name, content in history]
    label = {"mistake_agent": "Coder", "mistake_step": "1", "mistake_reason": "why"}
    rest = {"question": "q?", "question_ID": "x1", "ground_truth": "4", "is_correct": False}
    return {**rest, **label, "history": messages, "system_prompt": {"Coder": "You code."}} | extra


CHAT = run(
    ("Planner", "Compute 2 + 2."),
    ("Coder", "```python\nprint(2 + 2)\n```"),
    ("Computer_terminal", "exitcode: 0 (execution succeeded)\nCode output: 4\n"),
    ("Coder", "```python\n1/0\n```"),
    ("Computer_terminal", "exitcode: 1 (execution failed)\nCode output: Traceback\nZeroDivisionError"),
    ("Planner", "It is 4."),
    ("Computer_terminal", "There is no code from the last 1 message for me to execute."),
)
MAGENTIC = {
    "question": "q?",
    "ground_truth": 4,
    "is_corrected": False,
    "mistake_agent": "WebSurfer",
    "mistake_step": "3",
    "history": [
        {"role": "human", "content": "q?"},
        {"role": "Orchestrator (thought)", "content": "plan"},
        {"role": "Orchestrator (-> WebSurfer)", "content": "Search."},
        {"role": "WebSurfer", "content": "I searched."},
        {"role": "Orchestrator (termination condition)", "content": "done"},
    ],
}


def write(folder: Path, **runs: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for name, one in runs.items():
        (folder / f"{name}.json").write_text(one if isinstance(one, str) else json.dumps(one, indent=1))
    return folder


def read(path: Path, *, skip_bad: bool = False) -> tuple[list[formats.Pair], list[str]]:
    assert formats.chosen(path, None) == "who_and_when"
    return formats.read_all(path, "who_and_when", roles=None, skip_bad=skip_bad)


def test_terminals_are_results_of_the_turn_before_and_every_turn_keeps_its_place(tmp_path: Path) -> None:
    [(row, episode)], _ = read(write(tmp_path / "w", chat=CHAT))
    turns = episode.turns
    assert [(turn["message"], turn["answers"]) for turn in row["turns"]] == [
        (0, []),
        (1, [2]),
        (3, [4]),
        (5, [6]),
    ]
    assert [turn.agent for turn in turns] == ["Planner", "Coder", "Coder", "Planner"]
    results = [None if one.result is None else (one.result.status, one.result.stdout) for one in turns]
    assert results == [None, ("ok", "4\n"), ("error", ""), None], "that nothing ran is no result"
    assert turns[2].result is not None
    assert turns[2].result.stderr == "Traceback\nZeroDivisionError"
    assert turns[1].code == "print(2 + 2)"
    assert turns[1].role.instructions == "You code."
    assert (turns[0].role.can_run_code, turns[1].role.can_run_code) == (False, True)
    assert [one.content for one in turns[0].observation] == ["q?"]
    assert [one.content.split(":")[0] for one in turns[3].observation] == ["Coder", "Computer_terminal"] * 2
    assert row["label"] == {"agent": "Coder", "message": 1, "reason": "why"}
    assert (row["part"], row["answer"], episode.id, episode.task_id) == (
        "algorithm-generated",
        "4",
        "chat",
        "x1",
    )
    assert episode.outcome is not None
    assert not episode.outcome.success


def test_the_orchestrator_is_one_agent_and_the_human_none(tmp_path: Path) -> None:
    [(row, episode)], _ = read(write(tmp_path / "w", run=MAGENTIC))
    assert [turn.agent for turn in episode.turns] == [
        "Orchestrator",
        "Orchestrator",
        "WebSurfer",
        "Orchestrator",
    ]
    assert [turn["message"] for turn in row["turns"]] == [1, 2, 3, 4]
    assert (row["part"], row["answer"]) == ("hand-crafted", "4")
    assert row["missing"] == ["instructions of roles"]
    heard = [one.content for one in episode.turns[2].observation]
    assert heard == ["human: q?", "Orchestrator: Search."], "thoughts are not heard"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "not valid JSON"),
        ("[]", "it is not a JSON object"),
        (run() | {"history": 3}, "history must be list, not int"),
        (run(), "history has no message of an agent"),
        (run() | {"history": [3]}, "history[0]:  is not an object"),
        (run() | {"history": [{"name": "a"}]}, "history[0]: content is missing"),
        (run() | {"history": [{"content": "a"}]}, "history[0]: role is missing"),
        (CHAT | {"mistake_step": "7"}, "mistake_step must be the place of a message, from 0 to 6, not '7'"),
        (CHAT | {"mistake_step": "-1"}, "mistake_step must be the place of a message"),
        (CHAT | {"mistake_step": None}, "mistake_step must be str or int, not NoneType"),
        (CHAT | {"is_correct": "no"}, "is_correct must be bool, not str"),
        (CHAT | {"system_prompt": {"Coder": 3}}, "Coder must be str, not int"),
    ],
)
def test_what_is_malformed_is_one_line_and_can_be_left_out(tmp_path: Path, text: Any, complaint: str) -> None:
    path = write(tmp_path / "w", **{"1": CHAT, "2": text})
    with pytest.raises(ConfigError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path / "2.json"))
    assert complaint in message
    assert "\n" not in message
    pairs, bad = read(path, skip_bad=True)
    assert [one.id for _, one in pairs] == ["1"]
    assert len(bad) == 1


def test_what_has_no_label_is_scored_all_the_same_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = {key: value for key, value in CHAT.items() if key == "history"}
    path = write(tmp_path / "w", **{"2": CHAT, "10": bare, "3": "no"})
    score.main([str(path), "coach=rules", "--skip-bad"])
    told = capsys.readouterr().out
    assert "read as format=who_and_when, which has no files, checks, tokens and times" in told
    assert "missing in 1 of 2 episodes: outcome" in told
    assert "skipped: 1 record; the first" in told
    rows = [json.loads(line) for line in (tmp_path / "w.scored.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["2", "10"], "2 before 10"
    assert all(turn["verdict"] for row in rows for turn in row["turns"])
    score.main([str(tmp_path / "w.scored.jsonl"), "coach=random"])
    assert "read as" not in capsys.readouterr().out, "scores are in our own format"


@pytest.mark.parametrize("name", [".", "../w.1", "../w.1/"])
def test_scores_of_a_folder_lie_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(write(tmp_path / "w.1", a=CHAT))
    score.main([name, "coach=rules"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.1", "w.1.scored.jsonl"]


def test_a_format_is_named_where_the_content_does_not_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "w", a=CHAT)
    for word, complaint in {
        "format=otpl": "format must be one of coachgym, atif, inspect, otlp, who_and_when, not 'otpl'",
        "format=otlp": "resourceSpans is missing",
        "format=coachgym": "is not the folder of a run",
    }.items():
        with pytest.raises(SystemExit):
            score.main([str(path), "coach=rules", word])
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count("\n") == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit):
        score.main([str(tmp_path / "empty"), "coach=rules"])
    assert "is not the folder of a run" in capsys.readouterr().err
