from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from conf import ConfigError
from learners.algorithms import contract, members

ROWS: Any = [SimpleNamespace(learns=True, completion=SimpleNamespace(token_ids=(1,) * n)) for n in (2, 3)]
LOGPROBS = torch.zeros(4, requires_grad=True)
BATCH: Any = None


class Own:
    """An algorithm that returns what it is told to."""

    needs_reference = False

    def __init__(self, returned: Any = None) -> None:
        self.returned = returned

    def advantages(self, transitions: Any) -> Any:
        return self.returned

    def token_weights(self, transitions: Any) -> Any:
        return self.returned

    def loss(self, logprobs: Any, batch: Any) -> Any:
        return self.returned


def test_what_is_right_passes_unchanged() -> None:
    rows: Any = [[0.5, 1], None]
    assert contract.advantages(Own(rows), ROWS) == rows
    weights = [0.5, 0.25]
    assert contract.token_weights(Own(weights), ROWS) is weights
    value = LOGPROBS.sum()
    assert contract.loss(Own((value, {"kl": torch.tensor(1.0)})), LOGPROBS, BATCH)[0] is value
    members.check_members(Own())


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "must be a list"),
        (torch.zeros(2), "must be a list"),
        ([None], "has 1 entries for 2 transitions"),
        ([[0.0], None], "row 0: has 1 entries for 2 tokens"),
        ([0.5, 0.5], "row 0: must be a list"),
        ([[0.0, math.nan], None], "row 0: entry 1 must be a finite number; got float nan"),
        ([None, [0.0, 0.0, math.inf]], "row 1: entry 2"),
        ([None, [0.0, "1", 0.0]], "row 1: entry 1"),
        ([torch.zeros(2), None], "row 0: must be a list"),
    ],
)
def test_advantages_of_another_shape_are_one_line(returned: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"Own.advantages.*{said}"):
        contract.advantages(Own(returned), ROWS)


@pytest.mark.parametrize("returned", [None, [0.5], [0.5, None], [0.5, math.nan], [0.5, [0.5]], 0.5])
def test_token_weights_of_another_shape_are_one_line(returned: Any) -> None:
    with pytest.raises(ConfigError, match=r"Own\.token_weights"):
        contract.token_weights(Own(returned), ROWS)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (LOGPROBS.sum(), "must return a loss and metrics"),
        ((LOGPROBS, {}), r"no dimensions; got a tensor of torch.float32 and shape \(4,\)"),
        ((0.5, {}), "must be a tensor"),
        ((torch.tensor(3), {}), "must be a tensor"),
        ((torch.tensor(3.0), {}), "does not depend on logprobs"),
        ((LOGPROBS.sum(), None), "metrics must map"),
        ((LOGPROBS.sum(), {"kl": LOGPROBS}), "metric 'kl' must be one number"),
        ((LOGPROBS.sum(), {1: 0.5}), "metric 1"),
    ],
)
def test_a_loss_of_another_shape_is_one_line(returned: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=f"Own.loss.*{said}"):
        contract.loss(Own(returned), LOGPROBS, BATCH)


@pytest.mark.parametrize("member", ["advantages", "token_weights", "loss", "needs_reference"])
def test_a_member_that_is_missing_is_named(member: str) -> None:
    lacking = type("Lacking", (Own,), {member: None})()
    with pytest.raises(ConfigError, match=f"Lacking: lacks (the method )?{member}"):
        members.check_members(lacking)
