"""The coach ``llm`` with a misbehaving endpoint: every verdict is correct or there is none."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path

import pytest

from coaches.base import CoachError
from coaches.client import errors
from coaches.llm import LLM
from tests.coaches import endpoints as e
from tests.coaches.turns import fitted, numbered

PASSING: dict[str, e.Manner] = {
    "429 with Retry-After": e.status(429, retry_after="0.2"),
    "429 with a date": e.status(429, retry_after=formatdate(time.time() - 10, usegmt=True)),
    "429 without": e.status(429),
    "500": e.status(500),
    "503 with Retry-After": e.status(503, retry_after="0.1"),
    "408": e.status(408),
    "a stall": e.stall(6.0),
    "half a body": e.half,
    "a connection reset": e.reset,
    "a body that never ends": e.drip,
}
SLOW = ("a stall", "a body that never ends")
SILENT: dict[str, tuple[e.Manner, type[CoachError]]] = {
    "no choices": (e.raw(json.dumps({"choices": []})), errors.EmptyReplyError),
    "an empty message": (e.say(""), errors.EmptyReplyError),
    "no content": (e.say(None), errors.EmptyReplyError),
    "a refusal": (e.say(None, message={"refusal": "I cannot judge people."}), errors.RefusalError),
    "a filter": (e.say("", finish_reason="content_filter"), errors.RefusalError),
    "a refusal in prose": (e.say("I'm sorry, I can't help with that."), errors.UnreadableReplyError),
    "invalid JSON": (e.raw("{'choices': ["), errors.BodyError),
    "half of the JSON": (e.raw(e.completion(e.verdict(8))[:-40]), errors.BodyError),
    "another JSON": (e.raw("[1, 2]"), errors.BodyError),
    "a page": (e.raw("<html>Welcome, score 9</html>", content_type="text/html"), errors.BodyError),
    "a score of 11": (e.score(11), errors.ScoreRangeError),
    "a negative score": (e.score(-0.5), errors.ScoreRangeError),
    "no number": (e.say('{"rationale": "", "score": NaN}'), errors.ScoreRangeError),
    "infinity": (e.say('{"rationale": "", "score": 1e999}'), errors.ScoreRangeError),
    "a score in words": (e.score("7"), errors.UnreadableReplyError),
    "a score that is true": (e.score(True), errors.UnreadableReplyError),
    "two scores": (e.say(e.verdict(3) + "\n" + e.verdict(8)), errors.AmbiguousScoreError),
    "one score twice": (e.say('{"rationale": "", "score": 3, "score": 8}'), errors.AmbiguousScoreError),
    "a verdict in prose": (e.say(f"Here you are: {e.verdict(9)}"), errors.UnreadableReplyError),
    "a stranger blamed": (e.say(e.verdict(3, blame="somebody")), errors.UnreadableReplyError),
    "another key": (e.say('{"rationale": "", "score": 3, "final_score": 8}'), errors.UnreadableReplyError),
    "a verdict cut off": (e.say(e.verdict(9), finish_reason="length"), errors.TruncatedReplyError),
    "half a verdict": (e.say(e.verdict(9)[:-3]), errors.UnreadableReplyError),
}


@pytest.mark.parametrize("name", PASSING)
def test_transient_errors_are_retried_until_there_is_a_verdict(name: str) -> None:
    with e.serving(PASSING[name], e.score(6.5)) as server:
        patience = 2.0 if name in SLOW else 30.0
        verdict = e.coach(server, timeout=patience, deadline=60.0).judge(fitted())
    assert (verdict.score, verdict.rationale, verdict.blame, verdict.source) == (
        6.5,
        "It works.",
        None,
        "llm",
    )
    assert verdict.usage is not None
    assert (verdict.usage.calls, len(server.requests)) == (2, 2)
    assert server.requests[0]["messages"] == server.requests[1]["messages"]


@pytest.mark.parametrize("name", PASSING)
def test_persistent_errors_give_no_verdict_within_the_deadline(name: str) -> None:
    with e.serving(PASSING[name]) as server:
        coach = e.coach(server, timeout=1.0, deadline=2.0)
        began = time.monotonic()
        with pytest.raises(CoachError) as caught:
            coach.judge(fitted())
        assert time.monotonic() - began < 12.0
    assert type(caught.value).__name__ in {
        "RateLimitError", "ServerError", "ConnectionLostError", "DeadlineError"
    }  # fmt: skip


@pytest.mark.parametrize("name", SILENT)
def test_an_unusable_reply_is_requested_once_more_with_the_whole_prompt(name: str) -> None:
    with e.serving(SILENT[name][0], e.score(4)) as server:
        assert e.coach(server).judge(fitted()).score == 4.0
    first, second = (request["messages"] for request in server.requests)
    assert second[0] == first[0]
    assert second[1]["content"].startswith(first[1]["content"])
    assert "could not be used" in second[1]["content"]


@pytest.mark.parametrize("name", SILENT)
def test_unusable_replies_give_no_verdict_and_each_has_its_own_cause(name: str) -> None:
    manner, cause = SILENT[name]
    with e.serving(manner) as server:
        with pytest.raises(CoachError) as caught:
            e.coach(server).judge(fitted())
        assert type(caught.value) is cause
        assert len(server.requests) == 2


def test_an_unreachable_server_gives_no_verdict() -> None:
    with e.serving(e.score(9)) as server:
        url = server.url
    with pytest.raises(errors.ConnectionLostError):
        e.coach(url, deadline=0.5).judge(fitted())


@pytest.mark.parametrize("code", [401, 403, 404, 413])
def test_a_permanent_error_is_not_retried(code: int) -> None:
    with e.serving(e.status(code, "model x does not exist")) as server:
        with pytest.raises(errors.RequestError, match=f"status {code}: model x does not exist"):
            e.coach(server).judge(fitted())
        assert len(server.requests) == 1


def test_a_pause_longer_than_the_deadline_is_not_started() -> None:
    with e.serving(e.status(429, retry_after="3600")) as server:
        coach = e.coach(server, deadline=60.0)
        began = time.monotonic()
        for number in range(2):
            with pytest.raises(errors.RateLimitError):
                coach.judge(numbered(number))
        assert time.monotonic() - began < 30.0


def test_no_request_is_sent_while_the_endpoint_asks_to_wait() -> None:
    with e.serving(e.status(429, retry_after="2"), e.score(5)) as server:
        coach = e.coach(server, concurrency=4)
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(coach.judge, numbered(0))
            while not server.requests:
                time.sleep(0.01)
            time.sleep(0.2)
            began = time.monotonic()
            assert coach.judge(numbered(1)).score == 5.0
            assert time.monotonic() - began > 0.5
            assert first.result().score == 5.0


def test_many_threads_share_bounded_concurrency_and_get_their_own_verdicts() -> None:
    def echo(handler: e.Handler) -> None:
        text = handler.body["messages"][1]["content"]
        time.sleep(0.02)
        handler.send(200, e.completion(e.verdict(int(text.split("fit(")[1].split(")")[0]) / 10)))

    with e.serving(echo) as server:
        coach = e.coach(server, concurrency=3)
        with ThreadPoolExecutor(24) as pool:
            verdicts = list(pool.map(lambda n: coach.judge(numbered(n)), range(48)))
        assert [verdict.score for verdict in verdicts] == [n / 10 for n in range(48)]
        assert server.most_busy <= 3


def test_mixed_failures_give_correct_verdicts_or_none(tmp_path: Path) -> None:
    """One request in three gets a good reply, the others every kind of failure in turn."""
    bad = [*PASSING.values(), *(manner for manner, _ in SILENT.values())]
    bad = [manner for manner in bad if manner not in [PASSING[name] for name in SLOW]]

    def chance(handler: e.Handler) -> None:
        number = len(handler.server.requests)
        if number % 3:
            return bad[number // 3 % len(bad)](handler)
        wanted = int(handler.body["messages"][1]["content"].split("fit(")[1].split(")")[0])
        return handler.send(200, e.completion(e.verdict(wanted / 10)))

    def judged(coach: LLM, number: int) -> float | str:
        try:
            return coach.judge(numbered(number)).score
        except CoachError as error:
            return type(error).__name__

    with e.serving(chance) as server:
        began = time.monotonic()
        results: list[list[float | str]] = []
        for _ in range(2):  # a second process would use the same folder
            coach = e.coach(server, cache=tmp_path, concurrency=8, deadline=20.0, timeout=10.0)
            with ThreadPoolExecutor(16) as pool:
                results.append(list(pool.map(lambda n, c=coach: judged(c, n), range(60))))
        assert time.monotonic() - began < 110
    first, second = results
    assert all(isinstance(one, str) or one == n / 10 for run in results for n, one in enumerate(run))
    kept = [n for n, one in enumerate(first) if not isinstance(one, str)]
    assert len(kept) >= 20
    assert [second[n] for n in kept] == [first[n] for n in kept], "nothing is lost on a restart"
