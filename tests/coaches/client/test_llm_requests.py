"""What the coach ``llm`` sends, in which form, and what it never discloses."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from coaches.base import History
from coaches.client import errors
from coaches.reward import CoachReward
from conf import ConfigError
from envs.pipeline import PipelineEnv
from tests.coaches import endpoints as e
from tests.coaches.turns import fitted, numbered
from tests.fakes import FakeBackend, FakeScenario


def test_a_json_schema_is_requested_where_the_endpoint_supports_it() -> None:
    with e.serving(e.score(7)) as server:
        e.coach(server).judge(fitted())
    form = server.requests[0]["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    blame = form["json_schema"]["schema"]["properties"]["blame"]
    assert blame["enum"] == ["engineer", "modeler", "nobody"]


@pytest.mark.parametrize(
    "refusal",
    [e.status(400, "unknown field"), e.status(422), e.status(500, "body.response_format: unexpected value")],
)
def test_after_a_refused_schema_another_form_is_used_and_remembered(refusal: e.Manner) -> None:
    def choosy(handler: e.Handler) -> None:
        form = handler.body.get("response_format", {}).get("type", "off")
        refusal(handler) if form == "json_schema" else e.score(7)(handler)

    with e.serving(choosy) as server:
        coach = e.coach(server, backoff=30.0, deadline=100.0)
        began = time.monotonic()
        coach.judge(numbered(0))
        coach.judge(numbered(1))
        assert time.monotonic() - began < 15.0, "a refused form must not cause a pause"
    forms = [request["response_format"]["type"] for request in server.requests]
    assert forms == ["json_schema", "json_object", "json_object"]
    assert "schema" in server.requests[1]["response_format"]


def test_an_endpoint_without_structured_output_gets_plain_requests() -> None:
    def plain(handler: e.Handler) -> None:
        e.status(400)(handler) if "response_format" in handler.body else e.score(7)(handler)

    with e.serving(plain) as server:
        coach = e.coach(server)
        assert [coach.judge(numbered(n)).score for n in range(3)] == [7.0] * 3
        assert len(server.requests) == 2 + 3


def test_a_request_rejected_in_every_form_does_not_change_the_form_of_the_next() -> None:
    def picky(handler: e.Handler) -> None:
        too_long = "fit(13)" in handler.body["messages"][1]["content"]
        e.status(400, "too long")(handler) if too_long else e.score(7)(handler)

    with e.serving(picky) as server:
        coach = e.coach(server)
        with pytest.raises(errors.RequestError, match="too long"):
            coach.judge(numbered(13))
        coach.judge(numbered(1))
        assert server.requests[-1]["response_format"]["type"] == "json_schema"
        with pytest.raises(errors.RequestError, match="too long"):
            coach.judge(numbered(13))
        assert len(server.requests) == 3 + 1 + 1, "a form that worked before is not the reason"


def test_a_configured_form_is_not_replaced() -> None:
    with e.serving(e.status(400, "no response_format")) as server:
        with pytest.raises(errors.RequestError):
            e.coach(server, structured="json_schema").judge(fitted())
        assert len(server.requests) == 1


def test_settings_reach_the_endpoint_unless_they_are_null() -> None:
    with e.serving(e.score(7)) as server:
        changes: dict[str, Any] = {"extra": {"reasoning_effort": "low"}, "structured": "off"}
        e.coach(server, model="m1", max_tokens_key="max_completion_tokens", **changes).judge(numbered(0))
        e.coach(server, temperature=None).judge(numbered(1))
    first, second = server.requests
    assert first.keys() == {"model", "messages", "max_completion_tokens", "temperature", "reasoning_effort"}
    assert (first["model"], first["temperature"], first["reasoning_effort"]) == ("m1", 0.0, "low")
    assert "temperature" not in second


def test_the_true_answer_is_sent_only_if_configured() -> None:
    turns = History(fitted(), ["forty-two", "42.0"])
    with e.serving(e.score(7)) as server:
        e.coach(server).judge(turns)
        e.coach(server, sees="answer").judge(turns)
    without, with_answer = (json.dumps(request) for request in server.requests)
    assert "forty-two" not in without
    assert "forty-two or 42.0" in with_answer


def test_a_missing_or_non_text_answer_is_a_config_error() -> None:
    coach = e.coach("http://127.0.0.1:9/v1", sees="answer")
    with pytest.raises(
        ConfigError, match="sees is answer for modeler, but these turns come without the answer"
    ):
        coach.judge(fitted())
    with pytest.raises(ConfigError, match="answers that are text"):
        coach.judge(History(fitted(), Path("answer.csv")))


@pytest.mark.filterwarnings("ignore::UserWarning:pettingzoo")
def test_the_wrapper_gives_the_answer_to_the_coach_and_to_no_agent() -> None:
    with e.serving(e.score(7)) as server:
        coach = e.coach(server, sees="answer")
        env = CoachReward(PipelineEnv(FakeScenario(max_turns=1), FakeBackend()), coach)
        env.reset(seed=0, options={"task": "train-3"})
        read = []
        while env.agents:
            read.append(json.dumps(env.last()[0]))
            env.step(None if env.terminations[env.agent_selection] else "Done.")
        env.close()
    assert all("the true answer" in json.dumps(request) for request in server.requests)
    assert not any("true answer" in text for text in read)


def test_the_key_is_sent_but_never_in_errors_logs_verdicts_or_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(e.KEY_ENV, e.KEY)
    caplog.set_level(logging.DEBUG, "coaches")
    leaks = [
        e.status(401, f"Incorrect API key provided: {e.KEY}"),
        e.status(404, f"no model for {e.KEY[:-6]}******"),
        e.say(e.verdict(3, rationale=f"The header says {e.KEY}.")),
    ]
    with e.serving(*leaks) as server:
        coach = e.coach(server, cache=tmp_path, key_env=e.KEY_ENV)
        caught_errors = []
        for number in range(2):
            with pytest.raises(errors.RequestError) as caught:
                coach.judge(numbered(number))
            caught_errors.append(caught.value)
        verdict = coach.judge(numbered(2))
    assert server.authorizations == [f"Bearer {e.KEY}"] * 3
    told = [str(error) + repr(error.__cause__) for error in caught_errors] + [verdict.rationale, caplog.text]
    told += [path.read_text() for path in tmp_path.rglob("*.json")]
    assert len(told) == 5
    assert all("[key]" in text for text in told)
    assert not any(e.KEY[i : i + 8] in text for text in told for i in range(len(e.KEY) - 7))


def test_a_missing_key_and_a_key_in_the_address_are_config_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(e.KEY_ENV, raising=False)
    with pytest.raises(ConfigError, match=e.KEY_ENV):
        e.coach("http://127.0.0.1:9/v1", key_env=e.KEY_ENV)
    for address in (f"http://x:{e.KEY}@127.0.0.1/v1", f"http://127.0.0.1/v1?key={e.KEY}"):
        with pytest.raises(ConfigError) as caught:
            e.coach(address)
        assert e.KEY not in str(caught.value)


def test_no_key_from_the_environment_is_sent_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", e.KEY)
    with e.serving(e.score(7)) as server:
        e.coach(server).judge(fitted())
    assert server.authorizations == ["Bearer none"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "localhost:8000"},
        {"base_url": "http://127.0.0.1:99999/v1"},
        {"base_url": "http://127.0.0.1:x/v1"},
        {"base_url": "http://127.0.0.1:0/v1"},
        {"base_url": "http://[zz]/v1"},
        {"base_url": "http://[::1/v1"},
        {"base_url": "http://a..b/v1"},
        {"base_url": f"http://{'a' * 70}/v1"},
        {"base_url": "http://a b/v1"},
        {"base_url": "http://a/v1\n"},
        {"base_url": "http:///v1"},
        {"base_url": ""},
        {"model": " "},
        {"structured": "sometimes"},
        {"concurrency": 0},
        {"requests_per_minute": 0},
        {"deadline": -1.0},
        {"prompt": "nothing"},
        {"max_cost": 1.0},
    ],
)
def test_invalid_settings_are_one_line_errors(wrong: dict[str, Any]) -> None:
    address = wrong.pop("base_url", "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match=r"^coach(es)? '?llm'?: "):
        e.coach(address, **wrong)
