"""Whole weights are shared in parts: each once, in order, in the engines' dtype, a bounded size at a time."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from learners.runtimes.distributed.ranks import Rank, RankGroup, RemoteSource
from learners.types import Place, Shared
from learners.weights import sharing
from learners.weights.sharing import merge, place, share, whole
from tests.learners.runtimes.test_distributed import Here
from tests.learners.weights.test_lending import weights


def export(tensor: torch.Tensor) -> Mapping[str, tuple[Any, ...]]:
    """In place of a handle: the tensor itself."""
    return {"GPU-0": (tensor,)}


def named(*sizes: int) -> list[tuple[str, torch.Tensor]]:
    return [(f"w{i}", torch.full((size,), float(i))) for i, size in enumerate(sizes)]


def test_parts_keep_to_the_limit_and_the_order() -> None:
    parts = list(share(named(4, 4, 9, 1, 1, 2), limit=8 * 4, export=export))
    assert [part.names for part in parts] == [("w0", "w1"), ("w2",), ("w3", "w4", "w5")]
    assert [part.size for part in parts] == [32, 36, 16], "a tensor beyond the limit is alone"
    assert parts[0].dtypes == ("float32", "float32")
    assert parts[1].shapes == ((9,),)
    assert list(share([], export=export)) == []


def test_a_part_is_kept_until_the_next_is_asked_for_and_no_longer() -> None:
    kept: list[weakref.ref[torch.Tensor]] = []

    def watched(tensor: torch.Tensor) -> Mapping[str, tuple[Any, ...]]:
        kept.append(weakref.ref(tensor))
        return {"GPU-0": (len(kept),)}

    def fresh() -> Iterator[tuple[str, torch.Tensor]]:
        for i in range(4):
            yield f"w{i}", torch.ones(8)

    alive = []
    for _ in share(fresh(), limit=32, export=watched):
        alive.append([ref() is not None for ref in kept])
    assert alive == [[True], [False, True], [False, False, True], [False, False, False, True]]
    assert not any(ref() is not None for ref in kept)


@pytest.mark.parametrize("autocast", [False, True])
def test_what_is_shared_is_what_a_file_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autocast: bool
) -> None:
    own = weights(autocast=autocast)
    with own.lend(tmp_path) as lent:
        expected = {k: v for path in lent.folder.glob("*.safetensors") for k, v in load_file(path).items()}
    monkeypatch.setattr(sharing.share, "__kwdefaults__", {"limit": 1000, "export": export})
    shared: dict[str, torch.Tensor] = {}
    for part in own.share():
        assert part.size <= 1000 or len(part.names) == 1
        shared |= {name: h["GPU-0"][0] for name, h in zip(part.names, part.handles, strict=True)}
        assert set(part.dtypes) == {"bfloat16" if autocast else "float32"}
    assert shared.keys() == expected.keys()
    assert all(torch.equal(shared[name], value) for name, value in expected.items())


def test_tied_weights_come_once_by_the_name_of_the_first() -> None:
    one = torch.ones(3)
    assert [name for name, _ in whole({"embed": one, "head": one}, torch.float32)] == ["embed"]
    assert [(name, own.dtype) for name, own in whole({"steps": torch.tensor(2)}, torch.bfloat16)] == [
        ("steps", torch.int64)
    ]


def test_weights_in_host_memory_have_no_gpu_and_adapters_are_nowhere() -> None:
    assert weights().places() == [Place(os.getpid(), None)] == [place(torch.device("cpu"))]
    assert weights("adapter").places() == ()
    with pytest.raises(ValueError, match="the adapter a is lent, not shared"):
        weights("adapter").share()


class Ranks:
    """Two ranks, each with the same weights on a GPU of its own."""

    def __init__(self, *weights: list[tuple[str, torch.Tensor]]) -> None:
        self.asked: list[tuple[int, str, tuple[Any, ...]]] = []
        handles = [Here(f"rank {i}", self._answer(i, own)) for i, own in enumerate(weights)]
        self.group = RankGroup(handles, lambda pending: [one.wait() for one in pending])

    def _answer(self, number: int, own: list[tuple[str, torch.Tensor]]) -> Any:
        rank = Rank.__new__(Rank)

        class Own:
            def places(self) -> list[Place]:
                return [Place(number, f"GPU-{number}")]

            def share(self) -> Iterator[Shared]:
                return share(own, limit=32, export=lambda tensor: {f"GPU-{number}": (number,)})

        rank._weights, rank._shared = {"a": Own()}, {}  # type: ignore[dict-item]

        def answer(method: str, *args: Any) -> Any:
            self.asked.append((number, method, args))
            return getattr(rank, method)(*args)

        return answer

    def source(self) -> RemoteSource:
        return RemoteSource("a", False, None, self.group)  # type: ignore[arg-type]


def test_every_rank_offers_a_part_on_its_own_gpu() -> None:
    ranks = Ranks(named(8, 8), named(8, 8))
    source = ranks.source()
    assert source.places() == [Place(0, "GPU-0"), Place(1, "GPU-1")]
    parts = list(source.share())
    assert [part.names for part in parts] == [("w0",), ("w1",)]
    assert all(part.handles == ({"GPU-0": (0,), "GPU-1": (1,)},) for part in parts)
    starts = [args[1] for number, method, args in ranks.asked if method == "share" and number == 0]
    assert starts == [True, False, False]


def test_an_engine_that_broke_off_starts_from_the_first_part_again() -> None:
    source = Ranks(named(8, 8), named(8, 8)).source()
    assert next(source.share()).names == ("w0",)
    assert [part.names for part in source.share()] == [("w0",), ("w1",)]


@pytest.mark.parametrize("other", [named(8), named(8, 7)])
def test_ranks_that_share_different_weights_stop(other: list[tuple[str, torch.Tensor]]) -> None:
    with pytest.raises(ValueError, match="different weights"):
        list(Ranks(named(8, 8), other).source().share())


def test_parts_of_different_shapes_are_not_merged() -> None:
    (part,) = share(named(8), export=export)
    assert merge([part, part]) == part
    with pytest.raises(ValueError, match="different weights"):
        merge([part, replace(part, dtypes=("bfloat16",))])
