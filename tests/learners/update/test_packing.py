"""Packing: every row whole, once, end to end with the others in its micro-batch."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from learners.types import Batch, Completion
from learners.update.packing import Row, pack, split_indices, to_rows
from tests.learners.doubles import completion, transition


def rows(count: int = 23, seed: int = 0) -> list[Row]:
    dice = random.Random(seed)
    made = []
    for i in range(count):
        sampled = completion(dice.randint(1, 9), prompt=dice.randint(1, 30), seed=i)
        made.append(Row.of(sampled, [dice.gauss(0, 1) for _ in sampled.token_ids], dice.random()))
    return made


@pytest.mark.parametrize("max_tokens", [1, 40, 100, 10_000])
def test_every_row_is_packed_once_whole_and_with_its_own_positions(max_tokens: int) -> None:
    given = rows()
    seen: list[int] = []
    for batch in pack(given, max_tokens):
        assert sum(batch.lengths) == len(batch.ids) == len(batch.position)
        for ids, position in zip(
            batch.ids.split_with_sizes(batch.lengths),
            batch.position.split_with_sizes(batch.lengths),
            strict=True,
        ):
            (index,) = [
                i
                for i, r in enumerate(given)
                if [*r.prompt_ids.tolist(), *r.token_ids.tolist()] == ids.tolist()
            ]
            assert position.tolist() == list(range(len(given[index])))
            seen.append(index)
        assert len(batch.ids) <= max_tokens or len(batch.lengths) == 1
    assert sorted(seen) == list(range(len(given)))


def test_trained_tokens_follow_their_sources_and_carry_the_numbers_of_their_rows() -> None:
    given = rows()
    for batch in pack(given, 100):
        assert torch.equal(batch.ids[batch.source + 1], batch.target)
        for number in batch.row.unique().tolist():  # type: ignore[no-untyped-call]
            where, row = batch.row == number, given[number]
            assert batch.target[where].tolist() == row.token_ids.tolist()
            assert batch.sampling_logprobs[where].tolist() == pytest.approx(row.logprobs.tolist())
            assert batch.advantages[where].tolist() == row.advantages.tolist()
            assert batch.token_weights[where].tolist() == pytest.approx(
                [row.token_weight] * len(row.advantages)
            )


def test_the_example_in_the_docstring_of_batch_is_what_packing_gives() -> None:
    examples = [((11, 12), (21, 22, 2)), ((13,), (23, 2)), ((14,), (2,))]
    given = [
        Row.of(Completion("", prompt, ids, (0.0,) * len(ids), 0, "stop"), [1.0] * len(ids), 0.1)
        for prompt, ids in examples
    ]
    (batch,) = pack(given, 100)
    assert batch.ids.tolist() == [11, 12, 21, 22, 2, 13, 23, 2, 14, 2]
    assert batch.position.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 0, 1]
    assert batch.lengths == (5, 3, 2)
    assert batch.source.tolist() == [1, 2, 3, 5, 6, 8]
    assert batch.target.tolist() == [21, 22, 2, 23, 2, 2]
    assert batch.row.tolist() == [0, 0, 0, 1, 1, 2]
    lines = str(Batch.__doc__)
    for name in ("ids", "position", "lengths", "source", "target", "row"):
        (line,) = [line for line in lines.splitlines() if line.split()[:1] == [name] and ":" not in line]
        assert list(map(int, line.split()[1:])) == list(getattr(batch, name))


def test_rows_share_micro_batches_so_that_there_are_hardly_more_than_their_tokens_need() -> None:
    given = rows(200)
    total = sum(map(len, given))
    for max_tokens in (100, 400):
        assert total / max_tokens <= len(pack(given, max_tokens)) < 1.05 * total / max_tokens + 1


def test_reference_logprobs_are_those_of_all_rows_or_none() -> None:
    given = [replace(row, ref_logprobs=np.full_like(row.logprobs, -i)) for i, row in enumerate(rows())]
    for batch in pack(given, 100):
        assert batch.ref_logprobs is not None
        assert batch.ref_logprobs.tolist() == (-batch.row.float()).tolist()
    (batch,) = pack([*given, rows()[0]], 10**6)
    assert batch.ref_logprobs is None


def test_parts_have_every_row_once_and_about_the_same_number_of_tokens() -> None:
    given = rows(50)
    parts = split_indices(given, 3)
    assert sorted(i for part in parts for i in part) == list(range(50))
    loads = [sum(len(given[i]) for i in part) for part in parts]
    assert max(loads) - min(loads) <= max(map(len, given))
    assert split_indices(given[:1], 3) == [[0], [], []]


def test_rows_that_cannot_be_trained_on_are_errors() -> None:
    with pytest.raises(ValueError, match="sampled token"):
        pack([Row.of(completion(0), [], 1.0)], 100)
    with pytest.raises(ValueError, match="2 advantages for 3 tokens"):
        to_rows([transition(1.0)], [[0.0, 0.0]], [1.0])
    assert pack([], 100) == []
