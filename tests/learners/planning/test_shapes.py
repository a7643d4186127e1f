"""Sizes: those of the real models, which are built without weights, and of peft's adapters in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoConfig, DynamicCache, GPT2Config, PreTrainedConfig

import conf
from conf import ConfigError
from learners.planning.shapes import meta_model, read_shapes
from tests.learners.doubles import loaded_model

PUBLISHED = {
    "qwen3-4b": 4_022_468_096,
    "qwen3-4b-thinking-2507": 4_022_468_096,
    "r1-distill-qwen-1.5b": 1_777_088_000,
}
"""Parameters, as the models' weight files have them."""


def architecture(name: str) -> PreTrainedConfig:
    config = conf.build("learners.models", conf.load("model", name)).architecture()
    assert isinstance(config, PreTrainedConfig)
    return config


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_a_model_of_the_papers_has_the_parameters_that_were_published(name: str, parameters: int) -> None:
    config = architecture(name)
    model, shapes = meta_model(config), read_shapes(config)
    assert sum(p.numel() for p in model.parameters()) == shapes.parameters == parameters
    assert {p.device.type for p in model.parameters()} == {"meta"}
    outside = [p for key, p in model.named_parameters() if ".layers." not in key]
    assert shapes.outside == sum(p.numel() for p in outside)
    assert (shapes.head_dim, shapes.vocab) == (128, 151936)


@pytest.mark.parametrize("targets", [["all-linear"], ["q_proj", "v_proj"]])
@pytest.mark.parametrize("name", ["qwen3-4b", "r1-distill-qwen-1.5b"])
def test_an_adapter_has_the_parameters_that_peft_makes(name: str, targets: list[str]) -> None:
    config = architecture(name)
    config.num_hidden_layers = 3
    config.layer_types = ["full_attention"] * 3
    model = meta_model(config)
    wanted = "all-linear" if targets == ["all-linear"] else targets
    with torch.device("meta"):
        model.add_adapter(LoraConfig(r=32, target_modules=wanted, task_type="CAUSAL_LM"))
    made = sum(p.numel() for key, p in model.named_parameters() if "lora_" in key)
    assert read_shapes(config).adapter(32, targets) == made > 0


def test_an_adapter_on_no_layer_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"weights\.targets names no layer .* it has: q_proj"):
        read_shapes(architecture("qwen3-4b")).adapter(8, ["query"])


def test_the_cache_size_of_a_token_is_that_of_a_real_cache() -> None:
    model = loaded_model(0, "qwen3").model
    cache = DynamicCache()
    model(input_ids=torch.ones(1, 7, dtype=torch.long), past_key_values=cache, use_cache=True)
    layers: list[Any] = cache.layers
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
    assert read_shapes(model.config).cache(4) * 7 == held > 0


def test_an_unsupported_architecture_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="not 'gpt2'"):
        read_shapes(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=50))


def test_an_invalid_architecture_in_the_settings_is_one_clear_line() -> None:
    for facts in ({"hidden_size": 8}, {"model_type": "qwen99"}):
        settings = conf.to_dict(conf.load("model", "qwen3-4b")) | {"architecture": facts}
        kind = conf.build("learners.models", settings)
        with pytest.raises(ConfigError, match=r"model\.architecture") as caught:
            kind.architecture()
        assert "\n" not in str(caught.value)


def test_without_settings_the_architecture_is_read_from_the_folder(tmp_path: Path) -> None:
    saved = loaded_model(0, "qwen3").model
    saved.config.save_pretrained(str(tmp_path))
    node = conf.load("model", "qwen3-4b", path=str(tmp_path), architecture=None)
    config = conf.build("learners.models", node).architecture()
    assert read_shapes(config) == read_shapes(saved.config)
    assert isinstance(config, type(AutoConfig.for_model("qwen3")))
