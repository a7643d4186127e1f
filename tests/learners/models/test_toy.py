"""The toy model: it is there at once, writes every form of an action, and learns in any environment."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import conf
from conf import ConfigError
from envs.actions.parsing import read_action
from envs.types import Message
from learners.generators.hf import Hf
from learners.models.toy import make_tokenizer
from learners.run.run import train
from learners.types import GenerationRequest, LoadedModel
from learners.weights.full import FullWeights
from tests.learners.parts.settings import settings
from tests.test_docs import EXAMPLES

CHAT = (Message("system", "You are a sorter — naïve, but kind."), Message("user", "## Task: sort 3 1 2"))


def load(seed: int = 0, **changes: Any) -> LoadedModel:
    loaded: LoadedModel = conf.build("learners.models", conf.load("model", "toy", **changes)).load(
        "any", seed
    )
    return loaded


@pytest.mark.parametrize(
    "text",
    ["", "plain", "naïve ≥ 分析 🙂", "```python\nx = 1\n```\n", "``` python", "\x00\x7f\t\r\n", " a  b "],
)
def test_any_text_survives_the_tokenizer(text: str) -> None:
    tokenizer = make_tokenizer()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_equal_seeds_give_equal_weights_and_copies_are_independent() -> None:
    first, again, other = load(0), load(0), load(1)
    weights = [dict(loaded.model.named_parameters()) for loaded in (first, again, other)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())
    with torch.no_grad():
        next(first.model.parameters()).zero_()
    assert next(again.model.parameters()).abs().sum() > 0


def test_its_random_texts_end_and_have_every_form_of_an_action() -> None:
    weights = FullWeights("a", load(), reference=False)
    generator: Hf = conf.build("learners.generators", conf.load("generator", "hf"), policies={"a": weights})
    completions = generator.batch("a", [GenerationRequest(CHAT, seed, 1.0) for seed in range(64)])
    assert sum(completion.finish_reason == "stop" for completion in completions) > 48
    forms = Counter(read_action(completion.text, runs_code=True).form for completion in completions)
    assert {"prose", "unreadable"} < set(forms)
    programs = [read_action(completion.text, runs_code=True).code for completion in completions]
    assert sum(code is not None for code in programs) > 6


def test_it_learns_within_seconds_what_a_coach_rewards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    parts = {
        "coach": {"name": "my_parts.brevity", "limit": 8},
        "model": conf.load("model", "toy", max_new_tokens=24),
    }
    changes = {"steps": 6, "rollout": {"tasks": 4}, "evaluation": {"every": 0}, "checkpoint": {"every": 6}}
    run = train(settings(tmp_path / "run", parts, **changes))
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["lost"] for row in rows] == [0.0] * 6
    scores = [sum(row[f"score/{agent}"] for agent in "abc") for row in rows]
    assert sum(scores[-2:]) > sum(scores[:2]) + 10.0


def test_what_it_saves_loads_without_this_project(tmp_path: Path) -> None:
    loaded = load()
    FullWeights("a", loaded, reference=False).save(tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ids = torch.tensor([tokenizer.encode("## Task: sort\n```python\n")])
    assert ids.tolist() == [loaded.tokenizer.encode("## Task: sort\n```python\n")]
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, loaded.model(ids).logits)


def test_sizes_that_cannot_be_are_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"size\.hidden must be a multiple of 2 \* heads, not 60"):
        load(**{"size.hidden": 60})
    with pytest.raises(ConfigError, match="heads must be at least 1, not 0"):
        load(**{"size.heads": 0})
