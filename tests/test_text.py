"""Text that cannot be encoded is replaced wherever it enters, and in the same way everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coaches import episodes
from coaches.base import CoachError, Usage, Verdict
from coaches.client import wire
from coaches.client.cache import VerdictCache
from coaches.client.errors import RequestError
from coaches.prompting import parse
from conf.text import finite, loads, replace_unencodable
from envs.dsbench.spec import TABLES, read_spec
from envs.mathchat import loader
from sandbox.host import replies
from tests.coaches import endpoints as e
from tests.coaches.turns import fitted

LONE = "\\ud83d"
"""A lone surrogate as JSON writes it."""


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("a\ud800b", "a\ufffdb"),
        ("\udfff", "\ufffd"),
        ("a\0c数", "a\ufffdc数"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("plain 😀", "plain 😀"),
    ],
)
def test_lone_surrogates_and_nul_are_replaced_and_pairs_are_joined(text: str, replaced: str) -> None:
    assert replace_unencodable(text) == replaced
    assert loads(json.dumps({text: [text]})) == {replaced: [replaced]}
    replaced.encode()


def test_a_reply_with_a_lone_surrogate_is_a_verdict_that_every_file_takes(tmp_path: Path) -> None:
    content = '{"rationale": "good ' + LONE + '", "blame": "nobody", "score": 7}'
    with e.serving(e.say(content)) as server:
        verdicts = [e.coach(server, cache=tmp_path).judge(fitted()) for _ in range(2)]
    assert [verdict.rationale for verdict in verdicts] == ["good \ufffd"] * 2
    assert verdicts[1].usage is not None
    assert verdicts[1].usage.cached


def test_a_cache_of_before_that_holds_one_still_opens(tmp_path: Path) -> None:
    cache = VerdictCache(tmp_path)
    cache.once("00aa", lambda: Verdict(7.0, "good", "modeler", 0.1, "llm", Usage(1, 2, 1, 0.5)))
    path = tmp_path / "00" / "00aa.json"
    path.write_text(path.read_text().replace("good", LONE).replace("modeler", LONE))
    again = cache.once("00aa", lambda: pytest.fail("it is asked again"))
    assert (again.rationale, again.blame) == ("\ufffd", "\ufffd")


def test_the_verdict_of_any_coach_can_be_written() -> None:
    assert Verdict(1.0, "mine \ud83d", source="mine").rationale == "mine \ufffd"


@pytest.mark.parametrize("key", ["content", "reasoning_content"])
def test_a_completion_with_a_lone_surrogate_is_cleaned(key: str) -> None:
    message = {"role": "assistant", "content": "x"} | {key: "a\ud83d"}
    reply = wire.reply(wire.body(json.dumps({"choices": [{"message": message}]})))
    assert "a\ufffd" in reply.text


def test_the_message_of_an_error_status_is_cleaned() -> None:
    error = wire.status_error(400, {}, '{"error": {"message": "no ' + LONE + '"}}', {})
    assert isinstance(error, RequestError)
    assert str(error) == "status 400: no \ufffd"
    with pytest.raises(CoachError) as caught:
        parse.judgement('{"rationale": "", "score": "' + LONE + '"}', ["a"])
    str(caught.value).encode()


def test_recorded_episodes_are_cleaned_and_so_is_what_is_written_of_them(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_text('{"turns": [{"agent": "a", "action": "' + LONE + '", "mine": "' + LONE + '"}]}\n')
    [(row, one)] = episodes.read(path)
    assert one.turns[0].action == "\ufffd"
    json.dumps(row, ensure_ascii=False).encode()


def test_task_files_are_cleaned(tmp_path: Path) -> None:
    path = tmp_path / "problems.json"
    path.write_text('[{"problem": "What is ' + LONE + '?", "answer": "1"}]')
    fields = {field: [field] for field in ("problem", "answer", "id", "kind")}
    [problem] = loader.load([str(path)], fields)
    assert problem.task.prompt == "## Problem: What is \ufffd?"
    spec = tmp_path / "task.yaml"
    given = (TABLES / "auto_mpg" / "task.yaml").read_text(encoding="utf-8")
    lines = [line for line in given.splitlines() if not line.startswith(("id:", "source:"))]
    spec.write_text("\n".join([*lines, f'id: "{LONE}"']))
    assert read_spec(spec).id == "\ufffd"


def test_texts_of_a_guest_are_cleaned_in_the_same_way() -> None:
    assert replies.text("a\ud83d") == "a\ufffd"


def test_floats_that_json_does_not_have_become_null() -> None:
    value = {"a": (float("nan"), 1.5), "b": [float("inf"), "x", None, {"c": -float("inf")}]}
    assert finite(value) == {"a": [None, 1.5], "b": [None, "x", None, {"c": None}]}
