"""A checkpoint belongs to initial weights, which are told by their bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from conf import ConfigError
from learners.weights import base
from learners.weights.base import fingerprint
from tests.learners.weights.test_weights import WAYS, weights

Named = dict[str, torch.Tensor]


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def named() -> Named:
    numbers = torch.Generator().manual_seed(0)
    return {
        "wide": torch.randn(300, 700, generator=numbers),
        "half": torch.randn(9, 5, generator=numbers).bfloat16(),
        "one": torch.tensor(0.0),
        "none": torch.zeros(0, 3),
    }


def test_the_fingerprint_does_not_depend_on_threads(threads: Callable[[int], None]) -> None:
    found = set()
    for count in (1, 2, 3, 7):
        threads(count)
        found.add(fingerprint(named().items()))
    assert len(found) == 1


def test_the_fingerprint_does_not_depend_on_chunks_nor_on_memory_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fingerprint(named().items())
    strided = named() | {"wide": named()["wide"].t().contiguous().t()}
    assert fingerprint(strided.items()) == whole
    monkeypatch.setattr(base, "CHUNK", 1000)
    assert fingerprint(named().items()) == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda own: own | {"wide": -own["wide"]},
        lambda own: own | {"wide": own["wide"].flip(0)},
        lambda own: own | {"wide": own["wide"].reshape(700, 300)},
        lambda own: own | {"one": torch.tensor(-0.0)},
        lambda own: own | {"one": torch.tensor(0.0, dtype=torch.float64)},
        lambda own: own | {"half": own["half"].view(torch.float16)},
        lambda own: {("other" if key == "one" else key): value for key, value in own.items()},
        lambda own: {key: value for key, value in own.items() if key != "none"},
    ],
    ids=["signs", "order", "shape", "zero", "dtype", "bits of a dtype", "name", "empty"],
)
def test_any_other_bytes_have_another_fingerprint(change: Callable[[Named], Named]) -> None:
    """A sum of absolute values is the same for most of these."""
    assert fingerprint(change(named()).items()) != fingerprint(named().items())


def summed(own: Any) -> float:
    """What checkpoints recorded before: the sum of all absolute values."""
    initial = own._base.parameters if own.adapter else dict(own._frozen.named_parameters())
    return float(sum(parameter.detach().double().abs().sum() for parameter in initial.values()))


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_with_a_sum_of_another_number_of_threads_opens(way: str) -> None:
    own = weights(way)["first"]
    recorded = summed(own) * (1 + 1e-12)
    own.restore(dict(own.state()) | {"origin": recorded})
    with pytest.raises(ConfigError, match="initial weights of first are not those"):
        own.restore(dict(own.state()) | {"origin": recorded * (1 + 1e-6)})


def test_without_a_reference_there_is_no_origin_to_compare() -> None:
    state = weights("full", reference=False)["first"].state()
    assert state["origin"] is None
    weights("full", seed=1, reference=True)["first"].restore(state)
    weights("full", seed=1, reference=False)["first"].restore(weights("full")["first"].state())


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_of_another_shape_is_one_clear_line(way: str) -> None:
    own = weights(way)["first"]
    state = dict(own.state())
    key, value = next(iter(state["model"].items()))
    for model in ({**state["model"], key: value[:1]}, {k: v for k, v in state["model"].items() if k != key}):
        with pytest.raises(ConfigError, match=r"the checkpoint of first has .* of another shape") as caught:
            own.restore(state | {"model": model})
        assert "\n" not in str(caught.value)
