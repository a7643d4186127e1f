"""An update waits for the device at the end of a step, not at every micro-batch: reading a number waits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conf import build, load
from learners.types import LoadedModel
from learners.update.logprobs import completion_logprobs
from learners.update.packing import pack, to_rows
from learners.update.sums import Sums
from learners.update.updater import Updater
from learners.weights.full import FullWeights
from tests.learners.doubles import completion, loaded_model, optimizer, transition

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
}
"""Operations that return numbers, or tensors whose shapes depend on numbers."""


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what would wait for a GPU. Whole tensors are read by ``tolist`` and ``cpu``, of
    which those of floats count: only integers come from the host."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        for name in ("tolist", "cpu"):
            monkeypatch.setattr(torch.Tensor, name, self._counting(getattr(torch.Tensor, name)))

    def _counting(self, original: Any) -> Any:
        def read(tensor: torch.Tensor) -> Any:
            self.count += tensor.is_floating_point()
            return original(tensor)

        return read

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        masks = func.overloadpacket is aten.index and any(
            part is not None and part.dtype == torch.bool for part in args[1]
        )
        self.count += masks or func.overloadpacket in WAITING
        return func(*args, **(kwargs or {}))


def reads(monkeypatch: pytest.MonkeyPatch, loaded: LoadedModel, algorithm: Any) -> tuple[int, int]:
    """What an update of 12 rows reads, and the number of its micro-batches."""
    sampled = [completion(1 + i % 6, prompt=4 + 7 * i % 30, seed=i) for i in range(12)]
    given = [
        transition(float(i * 7 % 11) / 1.1, episode=f"e{i}", sampled=row) for i, row in enumerate(sampled)
    ]
    advantages = [[float(i - 5)] * len(row.token_ids) for i, row in enumerate(sampled)]
    updater = Updater(FullWeights("a", loaded, reference=False), steps=1, seed=0)
    with monkeypatch.context() as patched, Reads(patched) as counter:
        updater.update(given, advantages, algorithm)
    rows = to_rows(given, advantages, [1.0] * len(given))
    return counter.count, len(pack(rows, loaded.config.update_tokens))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(
    ("name", "changes"),
    [("reinforcepp", {}), ("gspo", {}), ("reinforcepp", {"importance_weighting": "sequence"})],
)
def test_what_an_update_reads_does_not_depend_on_its_micro_batches(
    monkeypatch: pytest.MonkeyPatch, name: str, changes: dict[str, Any], steps: int
) -> None:
    """In two steps, the log-probabilities before the update are read too."""
    algorithm = build("learners", load("algorithm", name, **changes))
    found = []
    for tokens in (10_000, 40):
        loaded = loaded_model(update_tokens=tokens, optimizer=optimizer(minibatches=steps))
        found.append(reads(monkeypatch, loaded, algorithm))
    (few, one), (many, several) = found
    assert (one, several > 4) == (1, True)
    assert 0 < few == many < 10 * steps


def test_log_probabilities_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_model(update_tokens=40)
    rows = [completion(3, prompt=20, seed=i) for i in range(6)]
    with monkeypatch.context() as patched, Reads(patched) as counter:
        completion_logprobs(loaded.model, rows, loaded.config)
    assert counter.count == 1


def test_sums_add_numbers_and_tensors_of_any_kind() -> None:
    sums = Sums(torch.device("cpu"))
    assert sums.read() == {}
    sums.add({"a": torch.tensor(1.5, requires_grad=True), "b": torch.tensor([2]), "c": 0.25})
    sums.add({"a": torch.tensor(2.0, dtype=torch.float64), "c": 1, "d": torch.tensor(True)})
    assert sums.read() == {"a": 3.5, "b": 2.0, "c": 1.25, "d": 1.0}
