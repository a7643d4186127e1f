"""Log-probabilities of packed rows are those of each row alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from learners.update import head, logprobs
from learners.update.logprobs import completion_logprobs
from tests.learners.doubles import completion, loaded_model


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_packed_logprobs_equal_those_of_each_row_alone(kind: str) -> None:
    loaded = loaded_model(kind=kind, update_tokens=90)
    rows = [completion(1 + i % 7, prompt=3 + 5 * i % 31, seed=i) for i in range(15)] + [completion(0)]
    packed = completion_logprobs(loaded.model, rows, loaded.config)
    assert packed[-1] == ()
    for row, values in zip(rows[:-1], packed, strict=False):
        ids = torch.tensor([row.prompt_ids + row.token_ids])
        with torch.no_grad():
            table = loaded.model(ids).logits[0].log_softmax(-1)
        start = len(row.prompt_ids)
        expected = [float(table[start + n - 1, token]) for n, token in enumerate(row.token_ids)]
        assert list(values) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "half"),
    [
        ({"head_float32": True}, False),
        ({"head_float32": True, "autocast": True}, True),
        ({"head_float32": False, "autocast": True}, True),
        ({"head_float32": True, "dtype": "bfloat16"}, True),
    ],
)
def test_the_gradient_of_the_head_is_multiplied_in_the_dtype_of_the_layers(
    settings: dict[str, Any], half: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def spy(*arguments: torch.Tensor, bfloat16_gradient: bool) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append(bfloat16_gradient)
        return head.token_logprobs(*arguments, bfloat16_gradient=bfloat16_gradient)

    monkeypatch.setattr(logprobs, "token_logprobs", spy)
    loaded = loaded_model(**settings)
    completion_logprobs(loaded.model, [completion(3)], loaded.config)
    assert asked == [half]
