"""Full weights and adapters: what each trains, what stays unchanged, and what other libraries load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import conf
from conf import ConfigError
from learners.base import Weights
from learners.generators.hf import Hf
from learners.models.base import prepare_model
from learners.policy import Policy
from learners.reinforcepp import ReinforcePP
from learners.types import Completion, LoadedModel, Transition
from learners.update.learner import LocalLearner
from learners.update.logprobs import completion_logprobs
from learners.update.updater import Updater
from tests.learners.doubles import loaded_model, messages, optimizer, transition

NAMES = ("first", "second", "third")
WAYS = ("full", "adapter")


class Kind:
    """A model kind that needs no files."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes

    def load(self, env_name: str, seed: int) -> LoadedModel:
        return loaded_model(seed, **self.changes)


def weights(way: str, *, seed: int = 0, reference: bool = True, **model: Any) -> dict[str, Weights]:
    settings = {"rank": 4, "alpha": 8.0} if way == "adapter" else {}
    built = conf.build("learners.weights", conf.load("weights", way, **settings))
    model = {"optimizer": optimizer(lr=0.02)} | model
    loaded: dict[str, Weights] = built.load(Kind(**model), NAMES, "any", seed, reference=reference)
    return loaded


def team(policies: dict[str, Weights]) -> dict[str, Policy]:
    generator = Hf(Hf.Config(max_batch=8), policies=policies)
    return {
        name: Policy(name, generator, LocalLearner(own, Updater(own, steps=9, seed=0)))
        for name, own in policies.items()
    }


def algorithm() -> ReinforcePP:
    built: ReinforcePP = conf.build("learners", conf.load("algorithm", "reinforcepp", truncated="keep"))
    return built


def experience(policy: Policy) -> list[Transition]:
    return [
        transition(float(i), episode=f"e{i}", sampled=policy.act(messages("x" * i), seed=i, order=i))
        for i in range(6)
    ]


def learn(policy: Policy) -> dict[str, float]:
    rows = experience(policy)
    metrics = policy.update(rows, algorithm().advantages(rows), algorithm())
    policy.publish()
    return metrics


def says(policy: Policy) -> Completion:
    return policy.act(messages("abc"), seed=5, order=0)


def logprobs(own: Weights, rows: list[Completion]) -> list[tuple[float, ...]]:
    with own.active() as loaded:
        return completion_logprobs(loaded.model, rows, loaded.config)


@pytest.mark.parametrize("way", WAYS)
def test_a_policy_learns_and_the_others_do_not_change(way: str) -> None:
    policies = team(weights(way))
    before = {name: says(policy) for name, policy in policies.items()}
    metrics = learn(policies["second"])
    assert metrics["rows"] == 6
    assert metrics["mismatch_kl"] < 1e-7, "sampled from the trained weights themselves"
    assert says(policies["second"]).logprobs != before["second"].logprobs
    assert says(policies["second"]).weight_version == 1
    assert says(policies["first"]) == before["first"]
    assert says(policies["third"]) == before["third"]


@pytest.mark.parametrize("way", WAYS)
def test_the_reference_is_the_initial_weights_also_after_training(way: str) -> None:
    own = weights(way)
    policies = team(own)
    rows = [row.completion for row in experience(policies["first"])]
    reference = policies["first"].reference_logprobs(rows)
    assert reference == logprobs(own["first"], rows)
    learn(policies["first"])
    learn(policies["second"])
    assert policies["first"].reference_logprobs(rows) == reference
    assert logprobs(own["first"], rows) != reference


def test_a_reference_in_host_memory_is_the_same_reference() -> None:
    kind = conf.build("learners.weights", conf.load("weights", "full", offload_reference=True))
    own = kind.load(Kind(), NAMES[:1], "any", 0, reference=True)["first"]
    rows = [row.completion for row in experience(team({"first": own})["first"])]
    with own.reference() as loaded:
        assert completion_logprobs(loaded.model, rows, loaded.config) == logprobs(own, rows)


def test_adapters_share_one_base_that_no_update_changes() -> None:
    adapters = weights("adapter")
    bases = {id(own.loaded.model) for own in adapters.values()}
    assert len(bases) == 1
    model = adapters["first"].loaded.model
    base = {key: p.detach().clone() for key, p in model.named_parameters() if "lora_" not in key}
    for policy in team(adapters).values():
        learn(policy)
    assert all(torch.equal(model.get_parameter(key), value) for key, value in base.items())
    sizes = [sum(p.numel() for p in own.parameters()) for own in adapters.values()]
    assert len(set(sizes)) == 1
    assert sizes[0] < sum(value.numel() for value in base.values())
    named = dict(model.named_parameters())
    assert not any("lm_head" in key for key in named if "lora_" in key)


def test_new_adapters_depend_on_name_and_seed_alone() -> None:
    def drawn(name: str, seed: int = 0) -> dict[str, torch.Tensor]:
        torch.rand(1)  # other random numbers drawn before do not matter
        return {k: v.clone() for k, v in weights("adapter", seed=seed)[name].state()["model"].items()}

    one, again, other = drawn("first"), drawn("first"), drawn("first", seed=1)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)
    assert not torch.equal(next(iter(one.values())), next(iter(drawn("second").values())))


@pytest.mark.parametrize("way", WAYS)
def test_a_restored_policy_continues_to_learn_bit_for_bit(way: str, tmp_path: Path) -> None:
    policies = team(weights(way))
    for policy in policies.values():
        learn(policy)
    for name, policy in policies.items():
        policy.save(tmp_path / name)
    expected = {name: (learn(policy), says(policy)) for name, policy in policies.items()}
    others = team(weights(way))
    for name, policy in others.items():
        policy.restore(tmp_path / name)
    assert {name: (learn(policy), says(policy)) for name, policy in others.items()} == expected


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_of_other_initial_weights_is_refused(way: str) -> None:
    state = weights(way)["first"].state()
    with pytest.raises(ConfigError, match="initial weights of first are not those"):
        weights(way, seed=1)["first"].restore(state)


def test_a_checkpoint_of_another_rank_is_refused() -> None:
    built = conf.build("learners.weights", conf.load("weights", "adapter", rank=2, alpha=8))
    other = built.load(Kind(), NAMES, "any", 0, reference=True)["first"]
    with pytest.raises(ConfigError, match="adapter of another shape"):
        weights("adapter")["first"].restore(other.state())


def test_full_weights_load_in_transformers(tmp_path: Path) -> None:
    own = weights("full")
    policies = team(own)
    learn(policies["first"])
    own["first"].save(tmp_path)
    rows = [row.completion for row in experience(policies["first"])]
    loaded = own["first"].loaded
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    elsewhere = prepare_model(model, loaded.tokenizer, loaded.config).model
    assert completion_logprobs(elsewhere, rows, loaded.config) == logprobs(own["first"], rows)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == loaded.tokenizer.chat_template


def test_an_adapter_loads_in_peft_on_its_base(tmp_path: Path) -> None:
    own = weights("adapter")
    policies = team(own)
    for policy in policies.values():
        learn(policy)
    own["second"].save(tmp_path)
    rows = [row.completion for row in experience(policies["second"])]
    config = replace(own["second"].loaded.config)
    elsewhere: Any = PeftModel.from_pretrained(loaded_model().model, str(tmp_path)).eval().base_model.model
    for got, expected in zip(
        completion_logprobs(elsewhere, rows, config), logprobs(own["second"], rows), strict=True
    ):
        assert list(got) == pytest.approx(list(expected), abs=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_base_loads_in_transformers_as_it_was_before_training(way: str, tmp_path: Path) -> None:
    own = weights(way)
    policies = team(own)
    rows = [row.completion for row in experience(policies["first"])]
    learn(policies["first"])
    own["first"].save_for_engines(tmp_path, base=True)
    model = loaded_model().model if way == "adapter" else own["first"].loaded.model
    config, tokens = own["first"].config, AutoTokenizer.from_pretrained(tmp_path)
    elsewhere = prepare_model(AutoModelForCausalLM.from_pretrained(tmp_path), tokens, config).model
    assert completion_logprobs(elsewhere, rows, config) == completion_logprobs(model, rows, config)
    assert elsewhere.generation_config is not None
    assert model.generation_config is not None
    assert elsewhere.generation_config.eos_token_id == model.generation_config.eos_token_id
    assert tokens.chat_template == own["first"].loaded.tokenizer.chat_template


@pytest.mark.parametrize("way", WAYS)
def test_logprobs_are_those_of_the_current_weights(way: str) -> None:
    own = weights(way)
    policies = team(own)
    rows = [row.completion for row in experience(policies["first"])]
    before = own["first"].logprobs(rows)
    assert before == logprobs(own["first"], rows)
    learn(policies["first"])
    assert own["first"].logprobs(rows) == logprobs(own["first"], rows) != before
    assert own["second"].logprobs(rows) == before


def test_an_adapter_in_bfloat16_weights_is_float32() -> None:
    own = weights("adapter", dtype="bfloat16")["first"]
    assert {p.dtype for p in own.parameters()} == {torch.float32}
    assert learn(team({"first": own})["first"])["rows"] == 6


def test_targets_that_the_model_lacks_are_one_clear_line() -> None:
    built = conf.build("learners.weights", conf.load("weights", "adapter", targets=["no_such_layer"]))
    with pytest.raises(ConfigError, match=r"weights adapter: .*no_such_layer"):
        built.load(Kind(), NAMES, "any", 0, reference=False)
    with pytest.raises(ConfigError, match="at least 1"):
        conf.build("learners.weights", conf.load("weights", "adapter", rank=0))
