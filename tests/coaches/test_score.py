from __future__ import annotations

import json
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

import conf
from coaches import score
from tests.coaches.turns import ENGINEER, MODELER, TABLES, Story, ok, ran

RULES = conf.build("coaches", conf.load("coach", "rules"))


def story() -> Story:
    return Story().act(ENGINEER, codes=ok(TABLES)).act(MODELER, result=ran("error")).act(MODELER, "No.")


def row(told: Story, **extra: Any) -> dict[str, Any]:
    turns = [
        {
            "agent": turn.agent,
            "action": turn.action,
            "result": None if turn.result is None else asdict(turn.result),
            "files": [asdict(file) for file in turn.files_after],
            "checks": [asdict(check) for check in turn.checks],
            "mine": turn.index,
        }
        for turn in told.turns
    ]
    return {"turns": turns, "roles": [asdict(ENGINEER), asdict(MODELER)], "mine": [1, 2], **extra}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_turn_gets_the_verdict_of_the_live_episode_and_nothing_else_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "e.jsonl", row(story()), row(story(), outcome={"success": False}))
    score.main([str(path), "coach=rules", "coach.delivered=9"])
    lines = read(tmp_path / "e.scored.jsonl")
    told = story().turns
    rules = conf.build("coaches", conf.load("coach", "rules", delivered=9.0))
    for line in lines:
        assert line["mine"] == [1, 2]
        assert [turn["mine"] for turn in line["turns"]] == [0, 1, 2]
        for place, turn in enumerate(line["turns"]):
            verdict = rules.judge(told[: place + 1])
            assert (turn["verdict"]["score"], turn["verdict"]["blame"]) == (verdict.score, verdict.blame)
    assert lines[0]["turns"][0]["verdict"]["score"] == 9.0
    shown = capsys.readouterr().out
    assert "rules on 2 episodes" in shown
    assert "2/2" in shown, "the modeler is blamed in both"


def test_an_earlier_result_is_replaced_only_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "e.jsonl", row(story()))
    score.main([str(path), "coach=rules"])
    before = (tmp_path / "e.scored.jsonl").read_text()
    with pytest.raises(SystemExit):
        score.main([str(path), "coach=random"])
    out = tmp_path / "e.scored.jsonl"
    message = f"error: {out} exists: name another place with --out, or replace it with --overwrite\n"
    assert capsys.readouterr().err == message
    assert out.read_text() == before
    score.main([str(path), "coach=random", "--overwrite"])
    assert out.read_text() != before


def test_scored_episodes_can_be_scored_again_by_a_hindsight_coach(tmp_path: Path) -> None:
    path = write(tmp_path / "e.jsonl", row(story(), outcome={"success": False}))
    score.main([str(path), "coach=rules"])
    score.main([str(tmp_path / "e.scored.jsonl"), "coach=hindsight", "--out", str(tmp_path / "h.jsonl")])
    [line] = read(tmp_path / "h.jsonl")
    assert {turn["verdict"]["source"] for turn in line["turns"]} == {"hindsight"}
    assert line["turns"][0]["verdict"]["parts"][0]["source"] == "rules"


def test_turns_without_a_verdict_are_null_and_counted_by_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(
        tmp_path / "e.jsonl", {"turns": [{"agent": "a", "action": "mute"}, {"agent": "b", "action": "4 x"}]}
    )
    settings = [
        "coach=tests.coaches.scripted",
        "coach.kinds={}",
        "coach.add=1",
        "coach.mute=false",
        "coach.blame=null",
    ]
    score.main([str(rows), *settings])
    [line] = read(tmp_path / "e.scored.jsonl")
    assert [turn["verdict"] and turn["verdict"]["score"] for turn in line["turns"]] == [None, 5.0]
    assert "without a verdict: 1 TimeoutError; the first: no word" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["coach=ruels"], "there is no coach called 'ruels': did you mean rules?"),
        (["coach.ran=3"], "You must specify 'coach'"),
        (["rules"], "error: 'rules' is not a setting: write <name>=<value>\n"),
        (["/other/traces.jsonl"], "error: '/other/traces.jsonl' is not a setting: write <name>=<value>\n"),
        (["coach=rules", "coach.rum=3"], "rum"),
        (["coach=learners.grpo"], "learners.grpo.Grpo has no method judge or judge_episode"),
        (
            ["coach=learned", "coach.path=no.json"],
            "error: no.json cannot be read: No such file or directory\n",
        ),
        (
            ["coach=calibrated", "coach.map=no.json"],
            "error: no.json cannot be read: No such file or directory\n",
        ),
        (["coach=rules", "--out", "{path}/there"], "e.jsonl is not a folder\n"),
        (["coach=hindsight"], "episode 1 has no outcome"),
        (["coach=rules", "--out", "{path}"], "is the file that is read"),
        (["coach=rules", "--out", "same", "--otlp", "same"], "error: --otlp is the file of --out: same\n"),
        (["coach=rules", "env=dsbenhc"], "there is no env called 'dsbenhc': did you mean dsbench?"),
    ],
)
def test_user_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    path = write(tmp_path / "e.jsonl", row(story()))
    before = path.read_bytes()
    with pytest.raises(SystemExit) as caught:
        score.main([str(path), *(word.format(path=path) for word in words)])
    said = capsys.readouterr().err
    assert caught.value.code == 2
    assert said.startswith("error: ")
    assert complaint in said
    assert said.count("\n") == 1
    assert path.read_bytes() == before


def test_the_interval_of_a_mean_is_the_usual_t_interval_for_groups_of_one() -> None:
    values = [3.0, 4.0, 8.0, 1.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert score.mean_of([[value] for value in values]) == pytest.approx((4.0, low, high))
    doubled = score.mean_of([[value, value] for value in values])
    assert doubled == pytest.approx((4.0, low, high)), "turns of one episode are no evidence of their own"
    assert isnan(score.mean_of([[1.0, 2.0]])[1])
    assert isnan(score.mean_of([[]])[0])
