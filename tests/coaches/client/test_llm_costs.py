"""Cache, rate limits and costs of the coach ``llm``."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from coaches.base import BudgetError, CoachError
from coaches.client import errors
from coaches.client.rate_limit import Admission, RateLimiter
from conf import ConfigError
from tests.coaches import endpoints as e
from tests.coaches.turns import fitted, numbered


def test_a_verdict_is_requested_once_by_any_number_of_processes(tmp_path: Path) -> None:
    with e.serving(e.score(6), e.score(2)) as server:
        first = e.coach(server, cache=tmp_path).judge(fitted())
        again = e.coach(server, cache=tmp_path).judge(fitted())
        assert len(server.requests) == 1
    assert (again.score, again.rationale) == (first.score, first.rationale)
    assert first.usage is not None
    assert again.usage is not None
    assert (first.usage.cached, again.usage.cached) == (False, True)
    assert again.usage.prompt_tokens == first.usage.prompt_tokens == 1000


@pytest.mark.parametrize(
    "change", [{"model": "other"}, {"temperature": 0.5}, {"max_tokens": 99}, {"prompt": "generic"},
               {"extra": {"top_p": 0.5}}]
)  # fmt: skip
def test_a_different_question_is_not_served_from_the_cache(tmp_path: Path, change: dict[str, Any]) -> None:
    with e.serving(e.score(6), e.score(2)) as server:
        before: dict[str, Any] = {"prompt": "dsbench"}
        assert e.coach(server, cache=tmp_path, **before).judge(fitted()).score == 6.0
        assert e.coach(server, cache=tmp_path, **(before | change)).judge(fitted()).score == 2.0


def test_settings_of_the_transport_are_not_part_of_the_cache_key(tmp_path: Path) -> None:
    with e.serving(e.score(6), e.score(2)) as server:
        assert e.coach(server, cache=tmp_path).judge(fitted()).score == 6.0
        hasty = e.coach(server, cache=tmp_path, concurrency=1, deadline=9.0, format_retries=0)
        assert hasty.judge(fitted()).score == 6.0


def test_failures_are_not_cached_and_a_damaged_entry_is_requested_again(tmp_path: Path) -> None:
    with e.serving(e.score(11), e.score(11), e.score(6), e.score(5)) as server:
        coach = e.coach(server, cache=tmp_path)
        with pytest.raises(errors.ScoreRangeError):
            coach.judge(fitted())
        assert list(tmp_path.rglob("*.json")) == []
        assert coach.judge(fitted()).score == 6.0
        [entry] = tmp_path.rglob("*.json")
        for damage in (entry.read_text()[:20], "[]", entry.read_text().replace("6.0", "66.0")):
            entry.write_text(damage)
            assert coach.judge(fitted()).score == 5.0
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


def test_concurrent_threads_with_the_same_question_send_one_request(tmp_path: Path) -> None:
    gate = threading.Event()

    def wait(handler: e.Handler) -> None:
        gate.wait(10)
        e.score(6)(handler)

    with e.serving(wait) as server:
        coach = e.coach(server, cache=tmp_path)
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(coach.judge, fitted()) for _ in range(8)]
            time.sleep(0.3)
            gate.set()
            verdicts = [future.result() for future in futures]
        assert len(server.requests) == 1
    assert [verdict.score for verdict in verdicts] == [6.0] * 8
    assert sum(verdict.usage is not None and not verdict.usage.cached for verdict in verdicts) == 1


def test_the_cache_is_in_the_common_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COACHGYM_CACHE", str(tmp_path))
    with e.serving(e.score(6)) as server:
        e.coach(server, cache=tmp_path, cache_dir=None).judge(fitted())
    assert len(list((tmp_path / "verdicts").rglob("*.json"))) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cache of verdicts"):
        e.coach(server, cache=tmp_path / "file")


def admitted(limiter: RateLimiter, tokens: Sequence[int]) -> list[float]:
    """Returns when each of these concurrent requests is admitted."""

    async def come() -> list[Admission]:
        return await asyncio.gather(*(limiter.admit(count) for count in tokens))

    return [admission.at for admission in asyncio.run(come())]


def test_requests_per_minute_are_not_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coaches.client.rate_limit.WINDOW", 1.0)
    times = admitted(RateLimiter(3, None), [1] * 9)
    assert times == sorted(times)
    assert all(times[i + 3] - times[i] > 0.99 for i in range(6))
    assert times[2] - times[0] < 1.0


def test_tokens_per_minute_are_not_exceeded_and_an_oversized_request_is_sent_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coaches.client.rate_limit.WINDOW", 1.0)
    one, two, three, big, last = admitted(RateLimiter(None, 100), [40, 40, 40, 500, 1])
    assert two - one < 1.0 <= three - one + 0.01
    assert min(big - three, last - big) > 0.99


def test_waiting_for_the_rate_limit_does_not_count_towards_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coaches.client.rate_limit.WINDOW", 2.0)
    with e.serving(e.score(6)) as server:
        coach = e.coach(server, requests_per_minute=2, deadline=5.0)
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(lambda n: coach.judge(numbered(n)), range(8)))) == 8


def test_a_verdict_reports_its_usage_and_cost() -> None:
    prices = {"prompt": 2.0, "completion": 10.0}
    with e.serving(e.score(11), e.status(500), e.score(6)) as server:
        coach = e.coach(server, prices=prices)
        verdict = coach.judge(fitted())
    assert verdict.usage is not None
    assert (verdict.usage.prompt_tokens, verdict.usage.completion_tokens, verdict.usage.calls) == (
        2000,
        100,
        3,
    )
    assert verdict.cost == pytest.approx(2 * (1000 * 2 + 50 * 10) / 1e6)
    assert coach.ledger.spent == pytest.approx(verdict.cost)


@pytest.mark.parametrize(
    "manner", [e.stall(6.0), e.half, e.say(e.verdict(6), tokens=None)]
)  # the endpoint reports no usage
def test_a_request_of_unknown_cost_is_booked_at_its_maximum(manner: e.Manner) -> None:
    with e.serving(manner) as server:
        coach = e.coach(
            server, prices={"prompt": 0.0, "completion": 10.0}, timeout=2.0, deadline=3.0, max_tokens=500
        )
        with contextlib.suppress(CoachError):
            coach.judge(fitted())
        assert coach.ledger.spent == pytest.approx(len(server.requests) * 500 * 10 / 1e6)


def test_the_budget_is_used_and_never_exceeded_by_concurrent_requests() -> None:
    prices, cheap = {"prompt": 0.0, "completion": 10_000.0}, e.say(e.verdict(6), tokens=(10, 100))
    with e.serving(cheap) as server:  # a request may cost 10 USD; these cost 1
        coach = e.coach(server, prices=prices, max_tokens=1000, max_cost=35.0, concurrency=16)

        def judged(number: int) -> bool:
            try:
                coach.judge(numbered(number))
            except BudgetError:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            reached = sum(pool.map(judged, range(60)))
        assert (reached, len(server.requests), coach.ledger.spent) == (26, 26, 26.0)
        with pytest.raises(BudgetError, match=r"budget of 35 USD is used up \(max_cost\): 26.0000 is spent"):
            coach.judge(numbered(100))
