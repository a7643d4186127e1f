"""The content of files, kept turn by turn for a coach that examines them."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import pytest

import conf
from coaches.base import AnyCoach, History, Verdict, reads_files
from coaches.judging.verdicts import prefix
from coaches.replay import kept
from coaches.reward import CoachReward
from envs.pipeline import PipelineEnv
from envs.types import Outcome, Turn
from sandbox.store import ArtifactStore
from tests.fakes import FakeBackend, FakeScenario, program

ACTIONS = [
    program("open('a.txt', 'w').write('1')"),
    program("open('a.txt', 'w').write('2')"),
    program("open('b.txt', 'w').write('2')"),
    "Done.",
    "It holds 2.",
]


class Reader:
    """Remembers the files that it was given."""

    reads_files = True

    def __init__(self) -> None:
        self.moments: list[list[dict[str, bytes]] | None] = []

    def judge(self, history: Sequence[Turn]) -> Verdict:
        self.moments.append(
            None if (found := kept.moments(history)) is None else [dict(one) for one in found]
        )
        return Verdict(5.0, "")


class Late(Reader):
    judge = None  # type: ignore[assignment]

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        Reader.judge(self, turns)
        return [None] * len(turns)


def play(coach: AnyCoach) -> tuple[Turn, ...]:
    env = CoachReward(PipelineEnv(FakeScenario(), FakeBackend()), coach)
    env.reset(seed=0)
    for action in ACTIONS:
        env.step(action)
    env.close()
    turns: tuple[Turn, ...] = env.unwrapped.turns
    return turns


def test_a_coach_that_reads_files_has_those_of_every_turn_also_after_the_last_one() -> None:
    first: dict[str, bytes] = {}
    second, third = {"a.txt": b"1"}, {"a.txt": b"2"}
    last = third | {"b.txt": b"2"}
    coach = Reader()
    play(coach)
    assert coach.moments[0] == [first, second]
    assert coach.moments[-1] == [first, second, third, last, last, last]
    late = Late()
    play(late)
    assert late.moments == [coach.moments[-1]]


def test_nothing_is_kept_for_a_coach_that_does_not_read_files() -> None:
    coach = Reader()
    coach.reads_files = False
    play(coach)
    assert coach.moments == [None] * 5


def test_whether_files_are_read_is_asked_of_every_coach_within() -> None:
    rules = conf.build("coaches", conf.load("coach", "rules"))
    hindsight = conf.build("coaches", conf.load("coach", "hindsight"))
    assert not reads_files(rules)
    assert not reads_files(hindsight)
    hindsight.coach = Reader()
    assert reads_files(hindsight)
    ensemble = conf.build("coaches", conf.load("coach", "ensemble"))
    ensemble.members = [rules, hindsight]
    assert reads_files(ensemble)


def test_a_prefix_keeps_the_store_and_a_copy_for_another_process_does_not() -> None:
    turns = play(Reader())
    history = History(turns, "answer", store=ArtifactStore())
    part = prefix(history, 2)
    assert isinstance(part, History)
    assert (part.answer, part.store) == ("answer", history.store)
    again = pickle.loads(pickle.dumps(history))
    assert (again.answer, again.store) == ("answer", None)


@pytest.mark.parametrize("place", [0, 3])
def test_a_file_that_did_not_fit_is_left_out(place: int) -> None:
    turns = play(Reader())
    store = ArtifactStore()
    assert store.put(b"1") == turns[0].files_after[0].sha256
    found = kept.moments(History(turns, None, store=store))
    assert found is not None
    assert [dict(one) for one in found] == [{}, {"a.txt": b"1"}, {}, {}, {}, {}]
    assert kept.moments(turns[:place]) is None
