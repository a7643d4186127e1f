"""Exported rows load in datasets and train in TRL's trainers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.corpus.cases import path_of
from benchmarks.export.__main__ import main
from coaches import score

pytestmark = pytest.mark.examples

CORPUS = path_of("public")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("judged") / "episodes.jsonl"
    score.main([str(CORPUS), "coach=rules", "--out", str(path)])
    return path


@pytest.fixture
def model() -> tuple[Any, Any]:
    """A random byte-level model and its tokenizer."""
    transformers = pytest.importorskip("transformers")
    from learners.models.toy import make_tokenizer

    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = transformers.LlamaConfig(
        **size, vocab_size=len(tokenizer), num_attention_heads=2, pad_token_id=tokenizer.pad_token_id
    )
    return config, tokenizer


def rows(judged: Path, out: Path, *words: str) -> Any:
    datasets = pytest.importorskip("datasets")
    main([str(judged), "--out", str(out), "--most=8", *words])
    return datasets.load_dataset(
        "json", data_files=str(out), split="train", cache_dir=str(out.parent / "cache")
    )


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    common = {"output_dir": str(folder), "max_steps": 2, "per_device_train_batch_size": 2, "use_cpu": True}
    return (
        common
        | {"bf16": False, "gradient_checkpointing": False, "save_strategy": "no", "report_to": []}
        | more
    )


def test_the_best_actions_train_in_sft(judged: Path, tmp_path: Path, model: tuple[Any, Any]) -> None:
    trl, transformers = pytest.importorskip("trl"), pytest.importorskip("transformers")
    config, tokenizer = model
    data = rows(judged, tmp_path / "sft.jsonl", "--what=sft", "--agent=verifier")
    trainer = trl.SFTTrainer(
        transformers.AutoModelForCausalLM.from_config(config),
        trl.SFTConfig(**settings(tmp_path / "out", max_length=8192)),
        train_dataset=data.select_columns(["prompt", "completion"]),
        processing_class=tokenizer,
    )
    assert trainer.train().training_loss > 0


def test_pairs_train_in_dpo_and_as_a_reward_model(
    judged: Path, tmp_path: Path, model: tuple[Any, Any]
) -> None:
    trl, transformers = pytest.importorskip("trl"), pytest.importorskip("transformers")
    config, tokenizer = model
    data = rows(judged, tmp_path / "pairs.jsonl", "--what=preferences", "--margin=1")
    pairs = data.select_columns(["prompt", "chosen", "rejected"])
    trainer = trl.DPOTrainer(
        transformers.AutoModelForCausalLM.from_config(config),
        ref_model=transformers.AutoModelForCausalLM.from_config(config),
        args=trl.DPOConfig(**settings(tmp_path / "out", max_length=8192)),
        train_dataset=pairs,
        processing_class=tokenizer,
    )
    assert trainer.train().training_loss > 0
    config.num_labels = 1
    rewards = trl.RewardTrainer(
        transformers.AutoModelForSequenceClassification.from_config(config),
        args=trl.RewardConfig(**settings(tmp_path / "rewards", max_length=8192)),
        train_dataset=pairs,
        processing_class=tokenizer,
    )
    assert rewards.train().training_loss > 0
