"""The teaching policy: trained once, cached, the same for all; its tokenizer and its demonstrations."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

import conf
from conf import ConfigError
from envs.actions.parsing import extract_program
from envs.mathchat.problems import generate
from learners.models import tiny
from learners.models.tiny_policy.demonstrations import Demonstration, collect
from learners.models.tiny_policy.tokenizer import make_tokenizer
from learners.types import LoadedModel

SMALL: dict[str, dict[str, Any]] = {
    "size": {"vocab": 400, "hidden": 16, "intermediate": 16, "layers": 1, "heads": 2, "context": 1024},
    "warm_start": {"demonstrations": 40, "steps": 4, "batch": 4, "lr": 1e-2, "warmup": 1, "seed": 0},
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COACHGYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(env_name: str = "dsbench", seed: int = 0, **changes: Any) -> LoadedModel:
    node = conf.load("model", "tiny", **{**SMALL, **changes})
    loaded = conf.build("learners.models", node).load(env_name, seed)
    assert isinstance(loaded, LoadedModel)
    return loaded


def weights(loaded: LoadedModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in loaded.model.parameters()])


def reader() -> PreTrainedTokenizerFast:
    return make_tokenizer(["## Role: modeler"], 300)


def test_it_is_trained_once_and_then_read_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    made = load()
    monkeypatch.setattr(tiny, "warm_start", lambda *_: pytest.fail("made a second time"))
    read = load(seed=7)
    assert torch.equal(weights(made), weights(read))
    assert made.tokenizer.chat_template == read.tokenizer.chat_template
    assert [path.name for path in cache.iterdir() if path.is_dir()] == [
        path.name for path in cache.glob("tiny-dsbench-*") if path.is_dir()
    ]


def test_the_policies_of_a_team_look_the_base_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = conf.build("learners.models", conf.load("model", "tiny", **SMALL))
    first = weights(model.load("dsbench", 0))
    monkeypatch.setattr(tiny, "collect", lambda *_: pytest.fail("sampled the demonstrations again"))
    assert torch.equal(first, weights(model.load("dsbench", 0)))


def test_every_load_is_an_independent_copy() -> None:
    first, second = load(), load()
    with torch.no_grad():
        next(first.model.parameters()).add_(1.0)
    assert not torch.equal(weights(first), weights(second))


def test_the_same_settings_give_the_same_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = weights(load())
    monkeypatch.setenv("COACHGYM_CACHE", str(tmp_path / "elsewhere"))
    torch.manual_seed(99)
    assert torch.equal(first, weights(load()))


def test_other_settings_or_another_environment_give_another_base(cache: Path) -> None:
    load()
    load("mathchat")
    load(warm_start={**SMALL["warm_start"], "steps": 5})
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 3


def test_training_it_leaves_the_callers_random_state_and_threads_alone() -> None:
    torch.manual_seed(5)
    wanted, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    load()
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


def test_an_environment_without_demonstrations_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="none for env=chorus") as caught:
        load("chorus")
    assert "\n" not in str(caught.value)


def test_a_cache_that_is_not_writable_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COACHGYM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match="COACHGYM_CACHE"):
        load()


def test_the_shipped_size_is_below_a_million_parameters_with_tied_embeddings() -> None:
    size = conf.load("model", "tiny")["size"]
    loaded = load(size=dict(size))
    assert 0.6e6 < loaded.model.num_parameters() < 1.0e6
    assert loaded.model.lm_head.weight is loaded.model.get_input_embeddings().weight


def test_its_architecture_is_that_of_the_trained_model_with_the_largest_vocabulary() -> None:
    planned = conf.build("learners.models", conf.load("model", "tiny", **SMALL)).architecture()
    trained = load().model.config
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "tie_word_embeddings"):
        assert getattr(planned, key) == getattr(trained, key)
    assert planned.vocab_size == SMALL["size"]["vocab"] >= trained.vocab_size


def test_the_chat_template_reads_headings_and_the_latest_result_alone() -> None:
    chat = [
        {"role": "system", "content": "## Role: modeler (2 of 3)\nYou train the model."},
        {
            "role": "user",
            "content": "## Task: binary\nLong story\n## From data_engineer: ok\nwords\n### stdout",
        },
        {"role": "assistant", "content": "## Not a heading\n```python\n1\n```"},
        {"role": "user", "content": "## Result of turn 1 of 4: error\n### exit code 1"},
        {"role": "assistant", "content": "again"},
        {"role": "user", "content": "## Result of turn 2 of 4: ok\n### exit code 0"},
    ]
    text = reader().apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert text == (
        "## Role: modeler (2 of 3)\n## Task: binary\n## From data_engineer: ok\n"
        "## Result of turn 2 of 4: ok\n<|reply|>"
    )


def test_the_tokenizer_preserves_any_text_and_each_digit_is_a_token() -> None:
    tokenizer = reader()
    text = 'X = pd.read_csv("é.csv")\n    x[12] == 345  # 日本\t\n'
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    words = [str(tokenizer.decode([i])) for i in ids]
    assert [word for word in words if word.isdigit()] == list("12345")


def test_demonstrations_depend_on_the_seed_and_cover_every_role() -> None:
    for env_name, agents in (
        ("dsbench", {"data_engineer", "modeler", "analyst"}),
        ("mathchat", {"problem_solver", "code_executor", "verifier"}),
    ):
        shown = collect(env_name, 60, 3)
        assert shown == collect(env_name, 60, 3) != collect(env_name, 60, 4)
        assert {_agent(one) for one in shown} == agents


def test_most_demonstrations_stop_after_a_good_result_and_try_again_after_a_bad_one() -> None:
    said: dict[str, Counter[bool]] = {"good": Counter(), "bad": Counter(), "first": Counter()}
    for one in collect("dsbench", 2000, 0):
        last = one.messages[-1].content.split("\n")[0]
        state = last.split(": ", 1)[1] if last.startswith("## Result") else "first"
        well = state.startswith("ok") and all(part.split()[1] == "ok" for part in _artifacts(state))
        kind = "first" if state == "first" else "good" if well else "bad"
        said[kind][extract_program(one.reply) is not None] += 1
    assert _share(said["first"]) > 0.93
    assert 0.1 < _share(said["good"]) < 0.3
    assert 0.55 < _share(said["bad"]) < 0.75


def test_demonstrations_for_mathchat_use_no_shipped_problem() -> None:
    shipped = {record["problem"] for record in generate()}
    seen = {
        one.messages[1].content.split("\n")[0].removeprefix("## Problem: ")
        for one in collect("mathchat", 500, 0)
    }
    assert not seen & shipped


def test_headings_in_demonstrations_are_the_environments_own() -> None:
    scenario = conf.build("envs", conf.load("env", "mathchat"))
    for task in scenario.tasks("heldout"):
        assert task.prompt.startswith("## Problem: ")
    for one in collect("mathchat", 20, 0):
        assert one.messages[1].content.startswith("## Problem: ")


def _agent(one: Demonstration) -> str:
    return one.messages[0].content.split()[2]


def _artifacts(state: str) -> list[str]:
    return state.split("; printed")[0].split("; ", 1)[1].split(", ")


def _share(counts: Counter[bool]) -> float:
    return counts[True] / counts.total()
