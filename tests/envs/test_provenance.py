"""Provenance of files, from constructed turns."""

from dataclasses import replace

from envs.episode.provenance import FileChange, last_changes, last_writer
from sandbox.base import FileInfo
from tests.coaches.turns import ANALYST, ENGINEER, MODELER, Story, ok

ONE, TWO = FileInfo("x", 1, "1"), FileInfo("x", 1, "2")


def test_the_last_agent_to_change_a_file_is_its_writer() -> None:
    story = Story().act(ENGINEER, codes=ok(["X_train.pkl"])).act(MODELER, codes=ok(["model.pkl"]))
    story.act(MODELER, codes=ok(["X_train.pkl"])).act(ANALYST)
    assert last_changes(story.turns) == {
        "X_train.pkl": FileChange("modeler", 2, "X_train.pkl 2"),
        "model.pkl": FileChange("modeler", 1, "model.pkl 1"),
    }


def test_an_unchanged_file_has_no_writer_and_a_removed_one_has() -> None:
    [turn] = Story().act(ENGINEER).turns
    assert last_changes([replace(turn, files_before=(ONE,), files_after=(ONE,))]) == {}
    assert last_changes([replace(turn, files_before=(ONE,), files_after=())]) == {
        "x": FileChange("engineer", 0, None)
    }
    assert last_changes([]) == {}


def test_a_change_between_turns_belongs_to_no_turn() -> None:
    first, second = Story().act(ENGINEER).act(MODELER).turns
    turns = [replace(first, files_after=(ONE,)), replace(second, files_before=(TWO,), files_after=(TWO,))]
    assert last_changes(turns) == {"x": FileChange(None, 1, "2")}


def test_changes_of_a_file_too_large_to_hash_are_seen_by_its_size() -> None:
    [turn] = Story().act(ENGINEER).turns
    before, after = FileInfo("x", 10**9, ""), FileInfo("x", 2 * 10**9, "")
    changes = last_changes([replace(turn, files_before=(before,), files_after=(after,))])
    assert changes == {"x": FileChange("engineer", 0, "")}


def test_the_last_writer_is_the_turn_that_gave_a_file_its_content() -> None:
    given, made, again = FileInfo("train.csv", 3, "a"), FileInfo("x", 1, "b"), FileInfo("x", 2, "c")
    between = FileInfo("y", 1, "d")
    files = [
        ((given,), (given, made)),
        ((given, made), (given, again)),
        ((given, again), (given, again)),
        ((given, again, between), (again, between)),
    ]
    story = Story().act(ENGINEER).act(MODELER).act(MODELER).act(ANALYST)
    turns = [
        replace(turn, files_before=before, files_after=after)
        for turn, (before, after) in zip(story.turns, files, strict=True)
    ]
    assert [last_writer(turns[:n], "x") for n in range(5)] == [None, 0, 1, 1, 1]
    assert last_writer(turns[:3], "train.csv") is None
    assert last_writer(turns, "train.csv") is None
    assert last_writer(turns, "y") is None
