"""Builds the model that all variants train: random weights of a given shape, the same for the same seed."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from benchmarks.update.workload import SHAPES, Job
from conf import build, load
from learners.models.base import prepare_model
from learners.types import LoadedModel, ModelConfig


def loaded(job: Job) -> LoadedModel:
    """Returns the model in eval mode on its device; all other settings are those of
    ``conf/model/smollm2.yaml``."""
    config = _config(job)
    torch.manual_seed(job.seed)
    return prepare_model(_model(job), placeholder_tokenizer(), config)


def _config(job: Job) -> ModelConfig:
    changes: dict[str, Any] = {
        "autocast": job.precision == "bfloat16",
        "gradient_checkpointing": job.checkpointing,
        "device": job.device,
        "max_prompt_tokens": job.prompt,
        "max_new_tokens": job.completion,
        "update_tokens": job.micro_tokens,
        "optimizer.warmup_steps": 0,
    }
    config: ModelConfig = build("learners.models", load("model", "smollm2", **changes)).config
    return config


def _model(job: Job) -> PreTrainedModel:
    shape = SHAPES[job.shape]
    settings: dict[str, Any] = {
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "max_position_embeddings": max(8192, job.prompt + job.completion),
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    if shape.kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**settings))  # type: ignore[no-untyped-call]
    return LlamaForCausalLM(LlamaConfig(**settings))  # type: ignore[no-untyped-call]


def placeholder_tokenizer() -> PreTrainedTokenizerFast:
    """Returns one without words: loaded models and trainers need a tokenizer, although no text is tokenized
    here."""
    core = Tokenizer(models.WordLevel({"<s>": 0, "<e>": 1, "<p>": 2}, unk_token="<p>"))
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, bos_token="<s>", eos_token="<e>", pad_token="<p>", unk_token="<p>"
    )
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    return tokenizer
