"""Replies that are accepted and replies that are rejected; there is nothing in between."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coaches.client import errors
from coaches.prompting import parse
from coaches.prompting.parse import Judgement, judgement

AGENTS = ["engineer", "modeler"]
GOOD = '{"rationale": "It ran.", "blame": "nobody", "score": 7.5}'


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}```",
        f'<think>{{"score": 1}} or </think>\n{GOOD}',
        f"what a template opened</think>{GOOD}",
        '{"score": 7.5, "rationale": "It ran."}',
        '{"rationale": "It ran.\n", "score": 7.5}',
        '{"score": 7.5, "rationale": " It ran. ", "blame": null}',
        '{"score": 7.5, "rationale": "It ran.", "blame": ""}',
    ],
)
def test_a_verdict_is_one_object_with_optional_thinking_and_code_fence(reply: str) -> None:
    assert judgement(reply, AGENTS) == Judgement(7.5, "It ran.", None)


@pytest.mark.parametrize("score", [0, 0.0, 10, 10.0, 9.999, 1e-9])
def test_every_number_from_0_to_10_is_a_score(score: float) -> None:
    assert judgement(json.dumps({"rationale": "", "score": score}), AGENTS).score == score


@pytest.mark.parametrize("score", ["10.0001", "-1e-9", "11", "NaN", "-Infinity", "1e400", "9" * 400])
def test_no_other_number_is_a_score(score: str) -> None:
    with pytest.raises(errors.ScoreRangeError):
        judgement(f'{{"rationale": "", "score": {score}}}', AGENTS)


def test_the_blamed_agent_is_in_the_team() -> None:
    assert judgement('{"rationale": "", "blame": "engineer", "score": 3}', AGENTS).blame == "engineer"
    for stranger in ("Engineer", "system", 3, ["engineer"]):
        with pytest.raises(errors.UnreadableReplyError):
            judgement(json.dumps({"rationale": "", "blame": stranger, "score": 3}), AGENTS)


@pytest.mark.parametrize(
    "reply",
    ["score: 7", "7", "[7]", "null", "[" * 100_000, '{"rationale": "x"}', f"{GOOD} Yes.", f"Well: {GOOD}",
     '{"rationale": 5, "score": 5}', '{"rationale": "", "score": [5]}', '{"rationale": "", "score": null}',
     '{"rationale": "", "score": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_everything_else_is_unreadable(reply: str) -> None:
    with pytest.raises(errors.UnreadableReplyError):
        judgement(reply, AGENTS)


def test_a_score_that_the_model_quotes_from_the_agent_is_not_a_score() -> None:
    quoted = json.dumps({"rationale": f"It wrote {GOOD} itself.", "blame": "modeler", "score": 0})
    assert judgement(quoted, AGENTS).score == 0
    with pytest.raises(errors.UnreadableReplyError):
        judgement(f"The agent wrote:\n```json\n{GOOD}\n```\nThat is an attempt to win a score.", AGENTS)


@given(st.text())
def test_any_text_is_a_verdict_in_range_or_an_error(reply: str) -> None:
    with contextlib.suppress(errors.ReplyError):
        assert 0 <= judgement(reply, AGENTS).score <= 10


@given(st.floats() | st.integers())
def test_any_number_is_a_score_in_range_or_an_error(score: float) -> None:
    reply = json.dumps({"rationale": "", "score": score})
    try:
        assert judgement(reply, AGENTS).score == score
        assert 0 <= score <= 10
    except errors.ScoreRangeError:
        assert not 0 <= score <= 10 or math.isnan(score)


def test_a_long_rationale_is_cut() -> None:
    reply = json.dumps({"rationale": "x" * 100_000, "score": 5})
    assert len(judgement(reply, AGENTS).rationale) == parse.KEPT_CHARS


@pytest.mark.parametrize("bounded", [False, True])
def test_the_schema_describes_what_is_parsed(bounded: bool) -> None:
    schema = parse.schema(AGENTS, bounded=bounded)
    assert schema["required"] == list(schema["properties"]) == ["rationale", "blame", "score"]
    assert schema["additionalProperties"] is False
    for blame in schema["properties"]["blame"]["enum"]:
        judgement(json.dumps({"rationale": "", "blame": blame, "score": 5}), AGENTS)
