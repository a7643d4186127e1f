"""Chat templates of others: what they refuse, leave out or read is found when the model is built."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from conf import ConfigError
from envs.types import Message
from learners.errors import TrainingError
from learners.generators.chat import ChatFormat
from learners.models.base import prepare_model
from learners.models.chat_template import LATER, merge_system
from learners.models.tiny_policy.tokenizer import make_tokenizer
from learners.run.run import train
from tests.learners.doubles import TEMPLATE, loaded_model, model_config, tokenizer
from tests.test_conf import composed

REFUSES_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% endfor %}"
)
DROPS_SYSTEM = (
    "{% for m in messages if m.role != 'system' %}"
    "<s>{{ m.role }}\n{{ m.content }}<e>{% endfor %}<s>assistant\n"
)
CLOCK = "[{{ strftime_now('%Y%m%d%H%M%S%f') }}]" + TEMPLATE
WORKING = {
    "refuses the system role": REFUSES_SYSTEM + TEMPLATE,
    "needs alternation": ALTERNATES + TEMPLATE,
    "drops the system message": DROPS_SYSTEM,
}


def speaking(template: str | None) -> PreTrainedTokenizerFast:
    made = tokenizer()
    made.chat_template = template
    return made


def text_of(template: str, messages: tuple[Message, ...], **chat: Any) -> str:
    made = speaking(template)
    subject = ChatFormat(made, model_config(chat=chat, max_prompt_tokens=10_000), frozenset({1}), "solver")
    return str(made.decode(subject.prompt(messages))).replace(" ", "")


def chat(*texts: str) -> tuple[Message, ...]:
    return tuple(Message(m.role, text) for m, text in zip(LATER, texts, strict=False))


@pytest.mark.parametrize("template", WORKING.values(), ids=WORKING.keys())
def test_what_a_template_does_not_take_as_system_text_opens_the_first_user_message(template: str) -> None:
    said = text_of(template, chat("be brief", "add", "one", "wrong"))
    assert "user\nbebrief\n\nadd<e>" in said
    assert said.index("assistant\none") < said.index("user\nwrong")
    assert said.count("bebrief") == 1
    prepare_model(loaded_model().model, speaking(template), model_config())


def test_a_template_with_a_system_role_gets_it() -> None:
    assert text_of(TEMPLATE, chat("be brief", "add")).startswith("<s>system\nbebrief<e><s>user\nadd<e>")


def test_tinys_own_template_gets_its_system_message() -> None:
    made = make_tokenizer(["## Role: first of two\n## Task: x\n"] * 3, 400)
    subject = ChatFormat(made, model_config(), frozenset({1}), "solver")
    text = str(made.decode(subject.prompt(chat("## Role: a\nthe rest", "## Task: b\nthe rest"))))
    assert text.startswith("## Role: a\n## Task: b\n")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "needs a chat template"),
        ("{{ raise_exception('no roles\nat all') }}", "its chat template fails: no roles$"),
        ("{{ messages[0].nowhere.content }}", "its chat template fails: .*nowhere"),
        ("{% for m in messages %}", "its chat template fails: .*"),
        ("{{ messages[0]['content'] + 1 }}", "its chat template fails: "),
        ("{{ messages[0]['content'] }}", "leaves out what the role 'user' says"),
        ("", "leaves out what the role"),
        ("{{ messages[-1]['content'] }}", "leaves out what the role"),
        (
            "{% if messages | length > 2 %}{{ raise_exception('one question only') }}{% endif %}" + TEMPLATE,
            "its chat template fails: one question only$",
        ),
    ],
)
def test_a_template_that_agents_cannot_use_is_one_clear_line_when_the_model_is_built(
    template: str | None, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        prepare_model(loaded_model().model, speaking(template), model_config())
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("model ")


def test_a_template_that_fails_later_is_one_clear_line() -> None:
    made = speaking(
        "{% if 'boom' in messages[1].content %}{{ raise_exception('no\nno') }}{% endif %}" + TEMPLATE
    )
    subject = ChatFormat(made, model_config(), frozenset({1}), "solver")
    with pytest.raises(TrainingError, match=r"^solver: its chat template fails: no$"):
        subject.prompt(chat("be brief", "boom"))


def test_a_template_that_reads_the_clock_is_told_the_same_time_in_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    messages = chat("be brief", "add")
    first = text_of(CLOCK, messages)
    assert first.startswith("[20260101120000000000]")
    assert first == text_of(CLOCK, messages)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Later:
            return cls(2031, 5, 5)

    monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", Later)
    assert first == text_of(CLOCK, messages)
    dated = "{% if not date is defined %}{% set date = strftime_now('%Y') %}{% endif %}{{ date }}" + TEMPLATE
    assert text_of(dated, messages).startswith("2026")
    assert text_of(dated, messages, date="7 may").startswith("7may")


def test_only_a_system_message_before_a_user_message_is_merged() -> None:
    system, user, assistant, later = LATER
    for kept in ((), (system,), (user, assistant, later), (system, assistant)):
        assert merge_system(kept) == kept
    merged = merge_system(LATER)
    assert [message.role for message in merged] == ["user", "assistant", "user"]
    assert merged[1:] == LATER[2:]


@pytest.mark.parametrize("template", [REFUSES_SYSTEM + TEMPLATE, CLOCK], ids=["no system role", "clock"])
def test_a_run_with_such_a_template_plays_and_trains(template: str, tmp_path: Path) -> None:
    saved = loaded_model()
    saved.model.save_pretrained(tmp_path / "model")
    speaking(template).save_pretrained(tmp_path / "model")
    run = train(
        composed(
            *("env=mathchat", "experiment=smoke", "model=qwen3-4b", "coach=random", "steps=1"),
            *("algorithm.truncated=keep", "evaluation.every=0", "rollout.tasks=1", "rollout.episodes=2"),
            *(f"model.path={tmp_path}/model", "model.architecture=null", "model.autocast=false"),
            *("model.device=cpu", "model.max_prompt_tokens=100", "model.max_new_tokens=8"),
            f"run_dir={tmp_path}/run",
        )
    )
    assert (run / "checkpoints" / "step-000001").is_dir()
