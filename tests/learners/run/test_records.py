"""``coaches.episodes`` reads back what a run writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from coaches import episodes
from coaches.base import Usage, Verdict
from coaches.recording.times import Times, TurnTimes
from envs.types import Episode, Message, Outcome
from learners.run import records
from learners.types import Rollout
from tests.coaches.turns import ANALYST, ENGINEER, MODELER, TABLES, Story, ok, ran
from tests.learners.doubles import completion


def test_an_episode_is_unchanged_after_writing_and_reading(tmp_path: Path) -> None:
    story = Story("regression", task_type="regression", target_columns=["y"])
    story.act(ENGINEER, codes=ok(TABLES)).act(ENGINEER, "Done.")
    story.act(MODELER, result=ran("error", stderr="no\u2028")).act(MODELER, "No.").act(
        ANALYST, "Nothing to hand in."
    )
    asked = Message("system", "s"), Message("user", "u")
    more = (*asked, Message("assistant", "a"), Message("user", "r"))
    seen = [asked, more, asked, more, asked]
    turns = tuple(replace(turn, observation=read) for turn, read in zip(story.turns, seen, strict=True))
    given = replace(turns[0].files_after[0], path="train.csv")
    listed = tuple(replace(check, imports=("pandas.DataFrame",)) for check in turns[0].checks)
    turns = (replace(turns[0], files_before=(given,), checks=listed), *turns[1:])
    part = Verdict(3.0, "r", None, 0.25, "rules")
    verdicts = (Verdict(2.0, "b", "engineer", 0.25, "balanced", parts=(part, None)), None, part, part, None)
    outcome = Outcome(False, 0.0, {"fair": 0.5}, "missing")
    moments = tuple(TurnTimes(n, n + 0.25, n + 0.5) for n in range(5))
    played = Times(1796000000.125, moments)
    episode = Episode("e1", "t", "regression", 3, turns, outcome)
    rollout = Rollout(episode, (completion(),) * 5, verdicts, times=played)
    path = tmp_path / "episodes.jsonl"
    path.write_text(json.dumps(records.episode_row("train", 4, rollout), ensure_ascii=False) + "\n", "utf-8")
    [(row, read)] = list(episodes.read(path))
    assert (read.id, read.task_id, read.kind, read.phase, read.step) == ("e1", "t", "regression", "train", 4)
    assert read.turns == turns
    assert read.verdicts == verdicts
    assert read.outcome == outcome
    assert read.times == played
    assert [message["content"] for message in row["turns"][1]["observation"]] == ["a", "r"]


def test_tokens_and_cost_of_a_completion_are_written_too(tmp_path: Path) -> None:
    turns = tuple(Story().act(ENGINEER, "Done.").turns)
    verdict = Verdict(2.0, "b", usage=Usage(7, 3, 1, 0.5))
    episode = Episode("e", "t", "k", 0, turns, Outcome(True, 1.0, {}, "ok"))
    rollout = Rollout(episode, (completion(),), (verdict,))
    row = json.loads(json.dumps(records.episode_row("train", 0, rollout)))
    assert row["turns"][0]["verdict"]["usage"]["prompt_tokens"] == 7
    assert episodes.episode(row).verdicts == (replace(verdict, usage=None),)
