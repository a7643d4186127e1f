"""Adapters belong to roles of any name: each role trains its own matrices, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import conf
from conf import ConfigError
from learners.weights.adapter import AdapterWeights
from tests.learners.doubles import optimizer
from tests.learners.weights.test_weights import Kind, learn, team

ROLES = (
    *("mlp", "q_proj", "layers", "lora_A", "lora_B", "a.b", "default", "base_layer", "model", "weight", "0"),
    *("adapter_0", "keys", "Prüfer 一", "data scientist", "analyst", "ana"),
)


def adapters(*names: str, **settings: Any) -> dict[str, AdapterWeights]:
    built = conf.build("learners.weights", conf.load("weights", "adapter", rank=2, alpha=4.0, **settings))
    loaded: dict[str, AdapterWeights] = built.load(
        Kind(optimizer=optimizer(lr=0.02)), names, "any", 0, reference=True
    )
    return loaded


def values(own: AdapterWeights) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in own.state()["model"].items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_every_role_has_its_own_matrices_and_no_others() -> None:
    own = adapters(*ROLES)
    model = own["mlp"].loaded.model
    parameters = [id(p) for weights in own.values() for p in weights.parameters()]
    assert len(parameters) == len(set(parameters)) == len(ROLES) * 2 * 7 * 2  # 2 factors, 7 layers, 2 blocks
    factors = {id(p) for key, p in model.named_parameters() if ".lora_A." in key or ".lora_B." in key}
    assert set(parameters) == factors
    assert len({tuple(values(weights)) for weights in own.values()}) == 1, "names do not contain the role"


@pytest.mark.parametrize("role", ["mlp", "lora_A", "a.b", "base_layer"])
def test_only_the_matrices_of_the_role_that_learns_change(role: str, tmp_path: Path) -> None:
    own = adapters("analyst", role, "q_proj")
    model = own[role].loaded.model
    policies = team(dict(own))
    before = {name: values(weights) for name, weights in own.items()}
    rest = {id(p): p.detach().clone() for p in model.parameters()}
    assert learn(policies[role])["rows"] == 6
    after = {name: values(weights) for name, weights in own.items()}
    assert {name for name in own if not same(before[name], after[name])} == {role}
    changed = {id(p) for p in model.parameters() if not torch.equal(p, rest[id(p)])}
    assert changed <= {id(p) for p in own[role].parameters()}
    own[role].save(tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert all(torch.equal(saved[f"base_model.model.{key}"], value) for key, value in after[role].items())
    assert len(saved) == len(after[role])


@pytest.mark.parametrize("role", ["analyst", "q_proj", "default"])
def test_a_checkpoint_that_names_the_role_in_its_tensors_still_opens(role: str) -> None:
    """As checkpoints did: ``….lora_A.analyst.weight``."""
    own = adapters("other", role)
    state = own[role].state()
    former = {f"{k.removesuffix('.weight')}.{role}.weight": v.clone() + 1 for k, v in state["model"].items()}
    own[role].restore({"model": former, "origin": state["origin"]})
    assert same(values(own[role]), dict(zip(state["model"], former.values(), strict=True)))


@pytest.mark.parametrize("targets", [["lm_head"], ["embed_tokens"], ["q_proj", "lm_head"]])
def test_layers_that_sampling_would_not_adapt_are_one_clear_line(targets: list[str]) -> None:
    with pytest.raises(
        ConfigError, match=r"weights adapter: .*(lm_head|embed_tokens) cannot be adapted"
    ) as caught:
        adapters("analyst", targets=targets)
    assert "\n" not in str(caught.value)
