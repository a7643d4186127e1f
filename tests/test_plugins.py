"""Parts outside the repository, one Python file and one YAML file each, are trained with like bundled
ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]

ENVIRONMENT = '''
"""Two agents take turns to say something loud."""

from dataclasses import dataclass

from envs.types import Outcome, Role, Task


class Chorus:
    @dataclass
    class Config:
        words: list[str]
        max_turns: int

    name = "chorus"
    context = "full"
    preload = ()
    libraries = ()
    timeout = 1.0

    def __init__(self, config):
        self.words = config.words
        self.roles = tuple(
            Role(name, "Say the word.", config.max_turns, can_run_code=False)
            for name in ("caller", "answerer")
        )

    def tasks(self, split):
        words = self.words[:-1] if split == "train" else self.words[-1:]
        return [Task(word, f"## Task: say {word}", "word", word) for word in words]

    def check(self, task, role, files, sandbox):
        return ()

    def grade(self, task, turns, sandbox):
        said = any(task.answer in turn.action for turn in turns)
        return Outcome(said, float(said), {"fair": float(said)}, "ok" if said else "unsaid")
'''

COACH = '''
"""Likes vowels."""

from dataclasses import dataclass

from coaches.base import Verdict


class Vowels:
    @dataclass
    class Config:
        likes: str
        each: float

    def __init__(self, config):
        self.config = config

    def judge(self, history):
        vowels = sum(history[-1].action.lower().count(letter) for letter in self.config.likes)
        return Verdict(min(10.0, vowels * self.config.each), f"{vowels} vowels", source="vowels")
'''

ALGORITHM = '''
"""Policy gradient with the batch's mean as baseline."""

from dataclasses import dataclass


class Vanilla:
    @dataclass
    class Config:
        scale: float

    needs_reference = False

    def __init__(self, config):
        self.scale = config.scale

    def advantages(self, transitions):
        rewards = [t.reward for t in transitions if t.reward is not None]
        mean = sum(rewards) / max(1, len(rewards))
        return [
            None if t.reward is None else [self.scale * (t.reward - mean)] * len(t.completion.token_ids)
            for t in transitions
        ]

    def token_weights(self, transitions):
        return [1.0 / sum(len(t.completion.token_ids) for t in transitions)] * len(transitions)

    def loss(self, logprobs, batch):
        loss = -(batch.token_weights * batch.advantages * logprobs).sum()
        return loss, {"vanilla_loss": float(loss.detach())}
'''

MODEL = '''
"""A Llama of a few thousand random weights that speaks single bytes."""

from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from learners.models.base import prepare_model
from learners.types import ModelConfig
from learners.models.tiny_policy.tokenizer import make_tokenizer


class Letters:
    @dataclass
    class Config(ModelConfig):
        hidden: int

    def __init__(self, config):
        self.config = config

        self.tokenizer = make_tokenizer(["say it"], 300)

    def architecture(self):
        return LlamaConfig(
            vocab_size=len(self.tokenizer), hidden_size=self.config.hidden,
            intermediate_size=self.config.hidden, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=512, pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id, bos_token_id=None,
        )

    def load(self, env_name, seed):
        torch.manual_seed(seed)
        return prepare_model(LlamaForCausalLM(self.architecture()), self.tokenizer, self.config)
'''

VALUES: dict[str, dict[str, Any]] = {
    "env/chorus": {"name": "annex.chorus", "words": ["aha", "oho", "ehe"], "max_turns": 1},
    "coach/vowels": {"name": "annex.vowels", "likes": "aeiou", "each": 2.5},
    "algorithm/vanilla": {"name": "annex.vanilla", "scale": 0.1},
    "model/letters": {
        "name": "annex.letters",
        "hidden": 16,
        "dtype": "float32",
        "autocast": False,
        "head_float32": False,
        "gradient_checkpointing": False,
        "device": "cpu",
        "max_prompt_tokens": 256,
        "max_new_tokens": 8,
        "update_tokens": 512,
        "chat": {},
        "optimizer": {
            "lr": 0.01,
            "betas": [0.9, 0.95],
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "warmup_steps": 0,
            "schedule": "constant",
            "minibatches": 1,
            "epochs": 1,
        },
    },
}


@pytest.fixture
def annex(tmp_path: Path) -> Path:
    """A folder outside the repository with four parts and their YAML files."""
    (tmp_path / "annex").mkdir()
    modules = {"chorus": ENVIRONMENT, "vowels": COACH, "vanilla": ALGORITHM, "letters": MODEL}
    for name, source in modules.items():
        (tmp_path / "annex" / f"{name}.py").write_text(source)
    for name, values in VALUES.items():
        path = tmp_path / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(values), path)
    return tmp_path


def train(annex: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the training command in the folder, with the folder and the checkout on the path."""
    parts = ["env=chorus", "coach=vowels", "algorithm=vanilla", "model=letters", "experiment=smoke"]
    return subprocess.run(
        [sys.executable, "-m", "learners.train", "--config-dir", "conf", *parts, "run_dir=run", *arguments],
        cwd=annex,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{annex}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def rows(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON Lines file; ``splitlines`` would also split at line separators inside
    texts."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_an_environment_a_coach_an_algorithm_and_a_model_from_outside_train_a_team(annex: Path) -> None:
    done = train(annex)
    assert done.returncode == 0, done.stderr
    turns = [turn for episode in rows(annex / "run" / "episodes.jsonl") for turn in episode["turns"]]
    assert {turn["agent"] for turn in turns} == {"caller", "answerer"}
    judged = [turn["verdict"] for turn in turns if turn["verdict"] is not None]
    assert {verdict["source"] for verdict in judged} == {"vowels"}
    steps = [row for row in rows(annex / "run" / "metrics.jsonl") if row["phase"] == "train"]
    assert len(steps) == 3
    assert all(any("vanilla_loss" in key for key in row) for row in steps)


@pytest.mark.slow
def test_a_mistake_in_a_part_from_outside_is_one_clear_line(annex: Path) -> None:
    done = train(annex, "coach.each=much")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: coach.each must be a number")
    assert "Traceback" not in done.stderr
    assert not (annex / "run" / "episodes.jsonl").exists()
