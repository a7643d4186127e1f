"""Small stand-ins for the learner's tests: random models and made-up transitions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from coaches.base import Verdict
from envs.types import Message, Role, Turn
from learners.models.base import prepare_model
from learners.types import Completion, LoadedModel, ModelConfig, Optimizer, Transition

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .\n[]"
TEMPLATE = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}<e>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def optimizer(**changes: Any) -> Optimizer:
    plain = Optimizer(
        lr=1e-3,
        betas=[0.9, 0.95],
        weight_decay=0.0,
        max_grad_norm=1.0,
        warmup_steps=0,
        schedule="constant",
        minibatches=1,
        epochs=1,
    )
    return replace(plain, **changes)


def model_config(**changes: Any) -> ModelConfig:
    plain = ModelConfig(
        dtype="float32",
        autocast=False,
        head_float32=False,
        gradient_checkpointing=False,
        device="cpu",
        max_prompt_tokens=160,
        max_new_tokens=24,
        update_tokens=512,
        chat={},
        optimizer=optimizer(),
    )
    return replace(plain, **changes)


def tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer with one id per character; ``<s>`` opens and ``<e>`` ends a message."""
    vocabulary = {token: i for i, token in enumerate(["<s>", "<e>", "<u>", *LETTERS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<u>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    built = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, eos_token="<e>", bos_token="<s>", unk_token="<u>"
    )
    built.chat_template = TEMPLATE
    return built


def loaded_model(seed: int = 0, kind: str = "llama", **changes: Any) -> LoadedModel:
    """Returns a random two-layer model of hidden size 32, peaked enough that completions end.

    ``wide`` is a llama whose heads are as large as the kernels of vLLM for CPUs want them.
    """
    torch.manual_seed(seed)
    tokens = tokenizer()
    sizes: dict[str, Any] = {
        "vocab_size": len(tokens),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "tie_word_embeddings": kind != "qwen3",
        "bos_token_id": tokens.bos_token_id,
        "eos_token_id": tokens.eos_token_id,
    }
    model: PreTrainedModel
    if kind == "wide":
        sizes |= {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    if kind != "qwen3":
        model = LlamaForCausalLM(LlamaConfig(**sizes))  # type: ignore[no-untyped-call]
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=8))  # type: ignore[no-untyped-call]
    return prepare_model(model, tokens, model_config(**changes))


def saved_model(folder: Path) -> list[str]:
    """Writes a random model to ``folder``; returns settings of a short run that trains on every row."""
    loaded = loaded_model()
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    model = {
        "path": folder,
        "architecture": "null",
        "autocast": "false",
        "device": "cpu",
        "max_prompt_tokens": 100,
        "max_new_tokens": 20,
        "optimizer.warmup_steps": 0,
    }
    parts = ["env=mathchat", "experiment=smoke", "model=qwen3-4b", "coach=random", "algorithm.truncated=keep"]
    return [*parts, *(f"model.{name}={value}" for name, value in model.items())]


def messages(text: str) -> tuple[Message, ...]:
    return (Message("system", "be brief"), Message("user", text))


def completion(
    length: int = 3, prompt: int = 5, seed: int = 0, finish_reason: str = "stop", vocabulary: int = 40
) -> Completion:
    numbers = torch.Generator().manual_seed(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(0, vocabulary, (count,), generator=numbers).tolist())

    return Completion(
        text="",
        prompt_ids=ids(prompt),
        token_ids=ids(length),
        logprobs=tuple((-3 * torch.rand(length, generator=numbers)).tolist()),
        weight_version=0,
        finish_reason=finish_reason,  # type: ignore[arg-type]
    )


def transition(
    reward: float | None,
    *,
    agent: str = "solver",
    episode: str = "e0",
    index: int = 0,
    attempt: int = 0,
    task: str = "t0",
    kind: str = "math",
    sampled: Completion | None = None,
    reference: tuple[float, ...] | None = None,
) -> Transition:
    turn = Turn(
        task_id=task,
        kind=kind,
        agent=agent,
        role=Role(agent, "", 4),
        index=index,
        attempt=attempt,
        observation=(),
        action="",
        code=None,
        result=None,
        files_before=(),
        files_after=(),
        checks=(),
        last=False,
    )
    verdict = None if reward is None else Verdict(min(10.0, max(0.0, reward)), "")
    return Transition(episode, turn, sampled or completion(), verdict, reward, reference)
