"""What a published model says of sampling never reaches a run: training is on the whole distribution."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

import conf
from conf import ConfigError
from learners.config import RunConfig
from learners.generators.hf import Hf
from learners.generators.vllm.engine import VllmEngine
from learners.generators.vllm.requests import ServedWeights, TokenRequest
from learners.types import Completion, LoadedModel
from learners.weights.full import FullWeights
from tests.learners.doubles import loaded_model, messages, model_config
from tests.test_conf import composed

PUBLISHED: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "temperature": 0.6, "top_p": 0.5, "top_k": 2, "min_p": 0.3},
    "penalties": {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    "contradiction": {"do_sample": False, "temperature": 0.1, "top_k": 1},
    "a single beam": {"num_beams": 1, "length_penalty": 0.5, "early_stopping": True},
    "lengths": {"max_new_tokens": 1, "min_new_tokens": 60},
    "suppressed": {"suppress_tokens": list(range(3, 40)), "bad_words_ids": [[5]]},
}


def hub(folder: Path, settings: dict[str, Any]) -> LoadedModel:
    """A model as it is published, with these settings in its ``generation_config.json``."""
    saved = loaded_model()
    saved.model.save_pretrained(folder)
    saved.tokenizer.save_pretrained(folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    node = conf.load("model", "qwen3-4b", path=str(folder), architecture=None, device="cpu", autocast=False)
    node.max_prompt_tokens, node.max_new_tokens = 100, 20
    loaded: LoadedModel = conf.build("learners.models", node).load("any", 0)
    return loaded


def said(loaded: LoadedModel) -> list[Completion]:
    generator = Hf(
        Hf.Config(max_batch=4), policies={"solver": FullWeights("solver", loaded, reference=False)}
    )
    return [generator.generate("solver", messages("abc"), seed=seed, order=0) for seed in range(3)]


@pytest.mark.parametrize("settings", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_a_published_generation_config_changes_no_sample_and_no_logprob(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    plain, given = hub(tmp_path / "plain", {}), hub(tmp_path / "given", settings)
    assert said(given) == said(plain)
    weights = FullWeights("solver", given, reference=False)
    weights.save(tmp_path / "saved")  # some that can be read cannot be written
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "saved").generation_config.eos_token_id == 1


class Recorded(SimpleNamespace):
    """Anything that is made with keyword arguments."""


def test_vllm_is_asked_for_the_whole_distribution_whatever_the_model_publishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    engine = SimpleNamespace(add_request=lambda key, prompt, settings, lora_request: asked.append(settings))

    def start(arguments: Any) -> Any:
        asked.append(arguments)
        return engine

    vllm, platforms = ModuleType("vllm"), ModuleType("vllm.platforms")
    made: dict[str, Any] = {"EngineArgs": Recorded, "SamplingParams": Recorded}
    vars(vllm).update(made | {"LLMEngine": SimpleNamespace(from_engine_args=start)})
    vars(platforms)["current_platform"] = SimpleNamespace(is_cpu=lambda: True)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.platforms", platforms)
    config = SimpleNamespace(enforce_eager=None, kv_cache_gb=1.0, max_num_seqs=4, tensor_parallel=1)
    subject = VllmEngine(Path("x"), config, model_config(), share=1.0, lora={})  # type: ignore[arg-type]
    subject.add("1", TokenRequest([1], 0, 1.0, 5, frozenset({1}), ServedWeights()))
    arguments, settings = asked
    assert arguments.generation_config == "vllm"
    assert (settings.temperature, settings.top_p, settings.top_k, settings.min_p) == (1.0, 1.0, -1, 0.0)
    assert not [key for key in vars(settings) if "penalty" in key or "words" in key]


@pytest.mark.parametrize("temperature", [0.0, 0.5, 0.999, 2.0])
def test_training_at_another_temperature_is_one_clear_line_and_evaluating_is_free(temperature: float) -> None:
    with pytest.raises(ConfigError, match=r"rollout\.temperature must be 1 when training") as caught:
        RunConfig.read(composed("env=mathchat", f"rollout.temperature={temperature}"))
    assert "\n" not in str(caught.value)
    changes = ("env=mathchat", f"evaluation.temperature={temperature}")
    assert RunConfig.read(composed(*changes)).evaluation.temperature == temperature
    idle = composed("env=mathchat", f"rollout.temperature={temperature}", "steps=0")
    assert RunConfig.read(idle).rollout.temperature == temperature
