"""The teaching policy: the same weights for all, its tokenizer and its demonstrations."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

import conf
from conf import ConfigError
from envs.actions.parsing import extract_program
from envs.mathchat.problems import generate
from learners.models.tiny_policy.demonstrations import ENVIRONMENTS, Demonstration, collect
from learners.models.tiny_policy.shipped import FILE, folder_of
from learners.models.tiny_policy.tokenizer import make_tokenizer
from learners.models.tiny_policy.warmstart import SIZE, Size, WarmStart, one_thread, warm_start
from learners.types import LoadedModel
from learners.weights.full import FullWeights

SMALL = Size(vocab=400, hidden=16, intermediate=16, layers=1, heads=2, context=1024)
SHORT = WarmStart(demonstrations=40, steps=4, batch=4, lr=1e-2, warmup=1, seed=0)


def load(env_name: str = "dsbench", seed: int = 0) -> LoadedModel:
    loaded = conf.build("learners.models", conf.load("model", "tiny")).load(env_name, seed)
    assert isinstance(loaded, LoadedModel)
    return loaded


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def small() -> torch.Tensor:
    return weights(warm_start(collect("dsbench", 40, 0), SMALL, SHORT).model)


def reader() -> PreTrainedTokenizerFast:
    return make_tokenizer(["## Role: modeler"], 300)


@pytest.mark.parametrize("env_name", ENVIRONMENTS)
def test_a_run_begins_with_the_values_of_the_file_whatever_its_seed(env_name: str) -> None:
    stored = load_file(folder_of(env_name) / FILE)
    for seed in (0, 7):
        found = dict(load(env_name, seed).model.named_parameters())
        assert found.keys() == stored.keys()
        for name, tensor in stored.items():
            assert (found[name].dtype, tensor.dtype) == (torch.float32, torch.float16)
            assert torch.equal(found[name], tensor.float()), name


def test_every_load_is_an_independent_copy() -> None:
    first, second = load(), load()
    with torch.no_grad():
        next(first.model.parameters()).add_(1.0)
    assert not torch.equal(weights(first.model), weights(second.model))


def test_an_environment_without_demonstrations_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match="none for env=chorus") as caught:
        load("chorus")
    assert "\n" not in str(caught.value)


def test_it_is_below_a_million_parameters_with_tied_embeddings() -> None:
    model = load().model
    assert 0.6e6 < model.num_parameters() < 1.0e6
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_its_architecture_is_that_of_the_file_with_the_largest_vocabulary() -> None:
    planned = conf.build("learners.models", conf.load("model", "tiny")).architecture()
    shipped = load().model.config
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "tie_word_embeddings"):
        assert getattr(planned, key) == getattr(shipped, key)
    assert planned.vocab_size == SIZE.vocab >= shipped.vocab_size


def test_training_it_leaves_the_callers_random_state_and_threads_alone_and_does_not_depend_on_them() -> None:
    torch.manual_seed(5)
    wanted, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    first = small()
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads
    assert torch.equal(first, small())


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


def test_the_chat_template_renders_a_last_reply_whole_as_it_is_sampled() -> None:
    """Trainers that mask the prompt (TRL) need the prompt's ids to begin those of prompt and completion."""
    tokenizer = reader()
    reply = "```python\n## print(1)\n```"
    for demonstration in collect("dsbench", 8, 0):
        chat = [asdict(message) for message in demonstration.messages]
        prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template(
            [*chat, {"role": "assistant", "content": reply}], return_dict=False
        )
        sampled = tokenizer(reply, add_special_tokens=False)["input_ids"]
        assert list(whole) == [*prompt, *sampled, tokenizer.eos_token_id]


def test_a_text_is_rendered_with_the_tokens_that_were_sampled() -> None:
    """So that fine-tuning on exported texts trains on what the policy read and wrote."""
    loaded = load()
    own = {"policy": FullWeights("policy", loaded, reference=False)}
    generator = conf.build("learners.generators", conf.load("generator", "hf"), policies=own)
    for seed, demonstration in enumerate(collect("dsbench", 4, 0)):
        with one_thread():
            sampled = generator.generate("policy", demonstration.messages, seed=seed, order=seed)
        chat = [asdict(message) for message in demonstration.messages]
        whole = loaded.tokenizer.apply_chat_template(
            [*chat, {"role": "assistant", "content": sampled.text}], return_dict=False
        )
        assert list(whole) == [*sampled.prompt_ids, *sampled.token_ids]


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


def test_other_weights_of_it_come_from_a_folder(tmp_path: Path) -> None:
    other = load()
    with torch.no_grad():
        next(other.model.parameters()).add_(1.0)
    other.model.save_pretrained(tmp_path)
    other.tokenizer.save_pretrained(tmp_path)
    again = conf.build("learners.models", conf.load("model", "tiny", path=str(tmp_path)))
    assert torch.equal(weights(again.load("dsbench", 0).model), weights(other.model))
    gone = conf.build("learners.models", conf.load("model", "tiny", path="tuned/nowhere"))
    with pytest.raises(ConfigError, match=r"^model\.path=tuned/nowhere: there is no such folder$"):
        gone.load("dsbench", 0)
