"""An update is divided before it is sent: every rank gets its own rows, and nothing else."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from benchmarks.corpus.cases import read
from learners.reinforcepp import ReinforcePP
from learners.runtimes.distributed.ranks import RankGroup, RemoteLearner
from learners.types import Completion, Transition
from learners.update.shares import Position, Share, divide
from tests.learners.doubles import completion, optimizer, transition
from tests.learners.runtimes.test_distributed import Here
from tests.learners.update.test_updater import algorithm


def position(minibatches: int = 1, epochs: int = 1, done: int = 0) -> Position:
    return Position(optimizer(minibatches=minibatches, epochs=epochs), 7, done, 3, 12)


def step(count: int = 13) -> list[Transition]:
    rows = [completion(1 + i * 5 % 7, prompt=3 + i * 11 % 17, seed=i) for i in range(count)]
    return [transition(float(i % 4), episode=f"e{i}", sampled=row) for i, row in enumerate(rows)]


def tokens_of(share: Share, number: int) -> list[tuple[int, ...]]:
    return [tuple(row.token_ids.tolist()) for row in share.step(number, [None] * len(share.rows))]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize(("minibatches", "epochs"), [(1, 1), (3, 1), (2, 3)])
def test_every_row_is_trained_once_an_epoch_by_one_rank(ranks: int, minibatches: int, epochs: int) -> None:
    given, subject = step(), algorithm()
    advantages = subject.advantages(given)
    advantages[4] = None
    kept = sorted(t.completion.token_ids for i, t in enumerate(given) if i != 4)
    shares = divide(given, advantages, subject, position(minibatches, epochs), ranks)
    assert {len(share.steps) for share in shares} == {minibatches * epochs}
    for epoch in range(epochs):
        numbers = range(epoch * minibatches, (epoch + 1) * minibatches)
        assert sorted(row for share in shares for n in numbers for row in tokens_of(share, n)) == kept
    scored = [share.numbers[place] for share in shares for place in share.scored]
    assert sorted(scored) == list(range(12))
    for number in range(minibatches * epochs):
        step_rows = [row for share in shares for row in share.step(number, [None] * len(share.rows))]
        assert math.fsum(row.token_weight * len(row.token_ids) for row in step_rows) == pytest.approx(1.0)
    if epochs == 1:
        assert sum(len(share.rows) for share in shares) == 12, "a row is sent once"


def test_splits_into_minibatches_differ_between_updates_and_do_not_depend_on_ranks() -> None:
    given, subject = step(), algorithm()
    advantages = subject.advantages(given)

    def splits(done: int, ranks: int) -> list[list[tuple[int, ...]]]:
        shares = divide(given, advantages, subject, position(3, 1, done), ranks)
        return [sorted(row for share in shares for row in tokens_of(share, n)) for n in range(3)]

    assert splits(0, 1) == splits(0, 2) == splits(0, 3) != splits(3, 1)


def test_without_rows_to_train_on_no_share_has_a_step() -> None:
    shares = divide([transition(None)], [None], algorithm(), position(2, 2), 2)
    assert [(share.rows, share.steps, share.nbytes) for share in shares] == [((), (), 0)] * 2


def recorded(episodes: int = 8) -> list[Transition]:
    """Returns a step of recorded episodes; a token is about four characters, as in common vocabularies."""
    cases = read("public")[:episodes]
    dice = np.random.default_rng(0)

    def ids(text: str) -> tuple[int, ...]:
        return tuple(dice.integers(0, 150_000, 1 + len(text) // 4).tolist())

    rows: list[Transition] = []
    for case in cases:
        for turn in case.episode.turns:
            sampled = ids(turn.action)
            prompt = ids("".join(message.content for message in turn.observation))
            logprobs = tuple(dice.normal(-1, 1, len(sampled)).astype(np.float32).tolist())
            made = Completion(turn.action, prompt, sampled, logprobs, 0, "stop")
            rows.append(Transition(case.episode.id, turn, made, None, float(len(rows) % 5)))
    return rows


def test_a_recorded_step_costs_a_fraction_of_the_bytes_of_its_turns() -> None:
    """``before``: all transitions of the policy to each rank, as they were once sent."""
    given, subject = recorded(), algorithm()
    advantages = subject.advantages(given)
    sent: list[Any] = []

    def answer(method: str, *args: Any) -> Any:
        if method == "position":
            return position()
        sent.append(args)
        return {"loss": 0.5}, {}

    group = RankGroup([Here(f"rank {n}", answer) for n in range(2)], lambda calls: [c.wait() for c in calls])
    learner = RemoteLearner("modeler", group)
    metrics = learner.update(given, advantages, subject)
    before = 2 * len(pickle.dumps(("modeler", given, advantages, subject), protocol=5))
    after = sum(len(pickle.dumps(args, protocol=5)) for args in sent)
    counted = learner.sent()
    print(f"{len(given)} rows to 2 ranks: {before:,} bytes before, {after:,} now, {counted:,} counted")
    assert after < before / 3
    assert counted == pytest.approx(after, rel=0.1)
    assert learner.sent() == 0, "counted since the last call"
    words = given[0].turn.observation[0].content[:40].encode()
    assert words not in pickle.dumps(sent)
    assert metrics["rows"] == len(given)
    assert metrics["tokens"] == sum(len(t.completion.token_ids) for t in given)
    assert (metrics["loss"], metrics["staleness"]) == (0.5, 3.0)
    assert isinstance(sent[0][2], ReinforcePP)
