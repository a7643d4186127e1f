"""What a report says of handoffs, on recorded episodes with planted faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.corpus.cases import path_of
from coaches import episodes
from coaches.episodes import RecordedEpisode
from learners.report.handoffs import Broken, Handoff, broken, diagnose, handoffs

CORPUS = path_of("public")


@pytest.fixture(scope="module")
def recorded() -> dict[str, RecordedEpisode]:
    return {one.id: one for _, one in episodes.read(CORPUS)}


def test_a_file_that_was_never_saved_is_the_first_link_of_the_chain(
    recorded: dict[str, RecordedEpisode],
) -> None:
    episode = recorded["dsbench-airport_altitude-0-never_saved-0"]
    found = diagnose(episode.turns, episode.outcome)
    assert found is not None
    assert found.culprit.agent == "data_engineer"
    assert found.artifact == "X_test.pkl"
    assert found.chain == "X_test.pkl missing → analyst without submission.csv → missing"
    assert broken(episode.turns)[0] == Broken("data_engineer", "X_test.pkl", "missing", 1)


def test_a_handoff_names_the_writer_the_first_reader_and_the_version(
    recorded: dict[str, RecordedEpisode],
) -> None:
    episode = recorded["dsbench-airport_altitude-0-never_saved-0"]
    by_name = {one.artifact: one for one in handoffs(episode.turns)}
    reader = next(turn for turn in episode.turns if turn.agent == "modeler")
    sha = next(file.sha256 for file in reader.files_before if file.path == "X_train.pkl")
    assert by_name["X_train.pkl"] == Handoff("X_train.pkl", 0, reader.index, sha, "ok")
    analyst = next(turn for turn in episode.turns if turn.agent == "analyst")
    assert by_name["X_test.pkl"] == Handoff("X_test.pkl", None, analyst.index, None, "missing")


def test_a_sound_episode_has_no_diagnosis_and_no_broken_handoff(recorded: dict[str, RecordedEpisode]) -> None:
    sound = [one for one in recorded.values() if one.outcome is not None and one.outcome.success]
    assert sound
    assert all(diagnose(one.turns, one.outcome) is None for one in sound)
    whole = [one for one in sound if not broken(one.turns)]
    assert all(each.code == "ok" for one in whole for each in handoffs(one.turns))


def test_every_failed_episode_has_a_chain_that_ends_in_its_outcome(
    recorded: dict[str, RecordedEpisode],
) -> None:
    for one in recorded.values():
        if one.outcome is not None and not one.outcome.success:
            found = diagnose(one.turns, one.outcome)
            assert found is not None
            assert found.chain.endswith(f" → {one.outcome.failure_code}")


def test_the_chain_names_a_broken_artifact_that_the_next_agent_reads(tmp_path: Path) -> None:
    first, second = ({"name": name, "kind": "csv"} for name in ("first.csv", "second.csv"))
    answer = {"name": "answer.csv", "kind": "csv"}
    roles = [
        {"name": "maker", "produces": [first, second]},
        {"name": "user", "requires": [second], "produces": [answer]},
    ]
    missing = [{"name": name, "code": "missing"} for name in ("first.csv", "second.csv")]
    turns = [
        {"agent": "maker", "action": "x", "checks": missing},
        {"agent": "user", "action": "x", "checks": [missing[1], {"name": "answer.csv", "code": "missing"}]},
    ]
    path = tmp_path / "episodes.jsonl"
    outcome = {"success": False, "score": 0.0, "failure_code": "missing"}
    path.write_text(json.dumps({"roles": roles, "turns": turns, "outcome": outcome}) + "\n", encoding="utf-8")
    [(_, one)] = episodes.read(path)
    found = diagnose(one.turns, one.outcome)
    assert found is not None
    assert found.artifact == "first.csv"
    assert found.chain == "second.csv missing (and 1 more) → user without answer.csv → missing"


def test_an_episode_without_an_outcome_is_not_diagnosed(recorded: dict[str, RecordedEpisode]) -> None:
    assert diagnose(next(iter(recorded.values())).turns, None) is None


def test_where_no_files_are_recorded_the_checks_alone_say_what_arrived(tmp_path: Path) -> None:
    file = {"name": "plan.csv", "kind": "csv"}
    roles = [{"name": "first", "produces": [file]}, {"name": "second", "requires": [file]}]
    turns = [
        {"agent": one, "action": "x", "checks": [{"name": "plan.csv", "code": "ok"}]}
        for one in ("first", "second")
    ]
    path = tmp_path / "episodes.jsonl"
    path.write_text(json.dumps({"roles": roles, "turns": turns}) + "\n", encoding="utf-8")
    [(_, one)] = episodes.read(path)
    assert [each.code for each in handoffs(one.turns)] == ["ok"]
