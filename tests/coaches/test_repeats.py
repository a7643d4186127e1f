"""What repeats in recorded episodes is written once, and read back exactly."""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from benchmarks.corpus.cases import path_of
from coaches import episodes
from coaches.episodes import RecordedEpisode
from coaches.recording import repeats
from coaches.recording.fields import BadRowError
from conf import ConfigError
from envs.types import Episode, Message, Outcome, Turn
from learners.run import records
from learners.run.folder import RunFolder
from learners.types import Rollout
from sandbox.artifacts import ArtifactCheck
from sandbox.base import FileInfo
from tests.coaches.turns import ANALYST, ENGINEER, MODELER, Story, ran
from tests.learners.doubles import completion

LONG = "x = 1  # as long as a text must be to be left out where it repeats, and a little longer\n"
TEXTS = (
    "",
    "Done.",
    LONG,
    f"```python\n{LONG}```",
    LONG * 2,
    '{"joined": [0]}',
    "é\u2028\x00" * 40,
    "\\" * 99,
)
FACTS: tuple[dict[str, Any], ...] = ({}, {"n": 1}, {"n": 1.0}, {"n": True}, {"n": None, "columns": ["a"] * 9})


def run_folder(path: Path) -> RunFolder:
    path.mkdir(exist_ok=True)
    return RunFolder(path, FileLock(path / ".lock"))


def written(folder: RunFolder, *rollouts: Rollout) -> Path:
    """Writes episodes as a run does, and beside them in full."""
    log = records.EpisodeLog(folder)
    for rollout in rollouts:
        log.write("train", 3, rollout)
        folder.append("whole", records.episode_row("train", 3, rollout))
    return folder.path / "episodes.jsonl"


def assert_equal(path: Path) -> None:
    """The rows and records of a run's file are those of the file in full, types of numbers included."""
    short, whole = list(episodes.read(path)), list(episodes.read(path.with_name("whole.jsonl")))
    assert len(short) == len(whole) > 0
    for (row, one), (full, other) in zip(short, whole, strict=True):
        assert json.dumps(row, sort_keys=True) == json.dumps(full, sort_keys=True)
        assert repr(one) == repr(other)


def drawn(rng: random.Random) -> Rollout:
    """An episode of random turns that repeat texts, checks and files in any order."""
    turns: list[Turn] = []
    read: dict[str, tuple[Message, ...]] = {}
    files: tuple[FileInfo, ...] = ()
    for index in range(rng.randint(1, 9)):
        role = rng.choice((ENGINEER, MODELER, ANALYST))
        said = [
            rng.choice(TEXTS),
            *(turn.action for turn in turns),
            *(turn.observation[-1].content for turn in turns),
        ]
        more = [
            Message(
                rng.choice(("system", "user", "assistant")), "".join(rng.choices(said, k=rng.randint(1, 4)))
            )
            for _ in range(rng.randint(1, 3))
        ]
        read[role.name] = (*read.get(role.name, ()), *more)
        before = files if rng.random() < 0.7 else files[1:]
        after = tuple(FileInfo(name, rng.randint(0, 1), "0" * 64) for name in rng.sample("abcde", 3))
        action = rng.choice(TEXTS)
        code = rng.choice((None, "pass", action[10:40] or None, LONG))
        checks = tuple(
            ArtifactCheck(name, "ok", "", rng.choice(FACTS), rng.choice(((), ("builtins.slice", "a\x00b"))))
            for name in rng.sample("abc", 2)
        )
        turn = Story().act(role, action, rng.choice((None, ran(stdout=LONG, stderr=LONG[3:])))).turns[0]
        turns.append(
            replace(
                turn,
                index=index,
                attempt=sum(earlier.agent == role.name for earlier in turns),
                observation=read[role.name],
                code=code,
                files_before=before,
                files_after=after if rng.random() < 0.9 else before,
                checks=checks,
            )
        )
        files = turns[-1].files_after
    episode = Episode("e", "t", "k", 0, tuple(turns), Outcome(False, 0.0, {"fair": 0.0}, "missing"))
    return Rollout(episode, (completion(),) * len(turns), (None,) * len(turns))


def test_random_episodes_are_unchanged_after_writing_and_reading(tmp_path: Path) -> None:
    with run_folder(tmp_path) as folder:
        path = written(folder, *(drawn(random.Random(seed)) for seed in range(50)))
        assert path.stat().st_size < 0.7 * path.with_name("whole.jsonl").stat().st_size
    assert_equal(path)


def rollout_of(row: Mapping[str, Any], one: RecordedEpisode) -> Rollout:
    assert one.outcome is not None
    episode = Episode(one.id, one.task_id, one.kind, row["seed"], one.turns, one.outcome)
    return Rollout(episode, (completion(),) * len(one.turns), one.verdicts)


def test_the_corpus_is_read_as_it_is_and_unchanged_after_writing(tmp_path: Path) -> None:
    with lzma.open(path_of("public"), "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()[::40]
    (tmp_path / "old.jsonl").write_text("\n".join(lines), encoding="utf-8")
    old = list(episodes.read(tmp_path / "old.jsonl"))
    assert [row for row, _ in old] == [json.loads(line) for line in lines]
    with run_folder(tmp_path / "run") as folder:
        path = written(folder, *(rollout_of(row, one) for row, one in old))
    assert_equal(path)
    assert [replace(one, phase="", step=0) for _, one in episodes.read(path)] == [
        replace(one, phase="", step=0) for _, one in old
    ]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with run_folder(tmp_path / "run") as folder:
        return written(folder, *(drawn(random.Random(seed)) for seed in range(12)))


def test_single_lines_can_be_read_where_the_shared_values_are(recorded: Path) -> None:
    lines = recorded.read_text(encoding="utf-8").split("\n")[:-1]
    part = recorded.with_name("part.jsonl")
    part.write_text("\n".join(reversed(lines[5:9])), encoding="utf-8")
    whole = [row for row, _ in episodes.read(recorded)]
    assert [row for row, _ in episodes.read(part)] == whole[5:9][::-1]


def test_lines_without_their_shared_values_are_refused(recorded: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.jsonl"
    alone.write_bytes(recorded.read_bytes())
    with pytest.raises(ConfigError, match=r"alone.jsonl, line 1: .*-[0-9a-f]{16}' .*shared.jsonl") as error:
        list(episodes.read(alone))
    assert "\n" not in str(error.value)


def test_shared_values_that_have_been_changed_are_refused(recorded: Path) -> None:
    shared = recorded.with_name(repeats.SHARED)
    shared.write_text(shared.read_text(encoding="utf-8").replace('"max_turns": 3', '"max_turns": 4'), "utf-8")
    with pytest.raises(ConfigError, match=r"shared.jsonl, line \d+: the value of '.*' has been changed"):
        list(episodes.read(recorded))


def test_shared_values_are_written_again_after_a_resumption_has_truncated_them(tmp_path: Path) -> None:
    played = [drawn(random.Random(seed)) for seed in range(20)]
    with run_folder(tmp_path) as folder:
        log = records.EpisodeLog(folder)
        log.write("train", 0, played[0])
        sizes = folder.sizes()
        for rollout in played[1:]:
            log.write("train", 1, rollout)
        folder.truncate(sizes)
        for resumed in (log, records.EpisodeLog(folder)):
            for rollout in played:
                resumed.write("train", 1, rollout)
        assert len(list(episodes.read(tmp_path / "episodes.jsonl"))) == 41
        keys = [row["key"] for row in folder.rows("shared")]
        assert len(keys) == len(set(keys))


TURN: dict[str, Any] = {
    "agent": "a",
    "observation": [],
    "action": "0123",
    "code": None,
    "files": [],
    "checks": [],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": [2, 9]}, "code: .* not within the action"),
        ({"code": ["a", 1]}, "code: .* not the place"),
        ({"checks": ["a.csv"]}, "'a.csv' is the name of no earlier check"),
        ({"files": ["a.csv"]}, "'a.csv' is the path of no file before"),
        ({"observation": [{"role": "user", "content": {"joined": [{"action": 1}]}}]}, "stands for no text"),
        ({"observation": [{"role": "user", "content": {"joined": [{"action": -1}]}}]}, "stands for no text"),
        ({"observation": [{"role": "user", "content": {"joined": [{"stdout": 0}]}}]}, "stands for no text"),
        ({"observation": [{"role": "user", "content": {"joined": [{"secret": 0}]}}]}, "stands for no text"),
        ({"observation": [{"role": "user", "content": {"joined": [7]}}]}, "stands for no text"),
        ({"observation": [{"role": "user", "content": {"shared": 7}}]}, "7 is in a file that is missing"),
    ],
)
def test_short_forms_that_stand_for_nothing_are_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    row = {"turns": [TURN, TURN | change]}
    with pytest.raises(BadRowError, match=rf"turns\[1\]: .*{message}"):
        repeats.restored(row, repeats.Shared(tmp_path / repeats.SHARED))


def test_a_small_line_cannot_ask_for_any_amount_of_text(tmp_path: Path) -> None:
    turns: list[dict[str, Any]] = [TURN | {"observation": [{"role": "user", "content": LONG}]}]
    for place in range(40):
        message = {"role": "user", "content": {"joined": [{"read": place}, {"read": place}]}}
        turns.append(TURN | {"observation": [message]})
    with pytest.raises(BadRowError, match="longer than"):
        repeats.restored({"turns": turns}, repeats.Shared(tmp_path / repeats.SHARED))
