"""The LLM coach end to end, with SmolLM2-135M behind real model servers on this machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest

import envs
from coaches.base import Verdict
from coaches.client.errors import ReplyError
from coaches.llm import LLM
from envs.types import Turn
from tests.coaches import endpoints as e
from tests.coaches.turns import ENGINEER, MODELER, TABLES, Story, ok, ran
from tests.fakes import FakeBackend, program
from tests.servers import ModelServer, model_server

pytestmark = [pytest.mark.llm, pytest.mark.timeout(1500)]

SIZES = {
    "seen": 800, "action": 500, "code": 500, "output": 300, "files": 300, "earlier": 200, "answer": 50,
    "audits": 100,
}  # fmt: skip
"""Short prompts for a model of 135 million parameters on one thread."""


@pytest.fixture(scope="module")
def vllm_server(smollm2_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    if util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    [model] = smollm2_cache.iterdir()
    with model_server("vllm", model, tmp_path_factory.mktemp("server") / "log") as server:
        yield server


def coach(server: ModelServer, structured: str, cache: Path | None = None, max_tokens: int = 256) -> LLM:
    return e.coach(
        server.base_url,
        cache=cache,
        model=server.model,
        structured=structured,
        sizes=SIZES,
        max_tokens=max_tokens,
        concurrency=1,
        timeout=300.0,
        deadline=300.0,
    )


def histories() -> list[tuple[Turn, ...]]:
    """Returns two turns of a mathchat episode in their context, and two of a table pipeline."""
    env = envs.make("mathchat", sandbox=FakeBackend())
    env.reset(seed=0)
    sequences = []
    for action in ("Add up the numbers below 10.", program("print(sum(range(10)))")):
        env.step(action)
        sequences.append(env.turns)
    env.close()
    story = Story().act(ENGINEER, codes=ok(TABLES))
    sequences.append(tuple(story.turns))
    story.act(MODELER, result=ran("error", stderr="KeyError: 'age'"))
    return [*sequences, tuple(story.turns)]


def judged(judge: LLM, turns: list[tuple[Turn, ...]]) -> tuple[dict[int, Verdict], Counter[str]]:
    """Returns the verdicts by number of the turn, and the causes of missing ones."""
    verdicts, causes = dict[int, Verdict](), Counter[str]()
    for number, history in enumerate(turns):
        try:
            verdicts[number] = judge.judge(history)
        except ReplyError as error:  # any other error would be the server's and not the model's
            causes[f"{type(error).__name__}: {error}"] += 1
    return verdicts, causes


@pytest.mark.vllm
def test_with_a_grammar_no_reply_of_a_real_model_is_malformed_and_most_are_verdicts(
    vllm_server: ModelServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = histories()
    verdicts, causes = judged(coach(vllm_server, "auto", tmp_path), turns)
    with capsys.disabled():
        print(f"\nSmolLM2-135M, structured: {len(verdicts)} of {len(turns)} turns judged {dict(causes)}")
    assert len(verdicts) >= len(turns) / 2
    assert {cause.partition(":")[0] for cause in causes} <= {"TruncatedReplyError", "ScoreRangeError"}
    for number, verdict in verdicts.items():
        assert verdict.score in range(11)
        assert verdict.blame in {None, *(turn.agent for turn in turns[number])}
        assert verdict.usage is not None
        assert verdict.usage.prompt_tokens > 400 > verdict.usage.completion_tokens > 5
    again, _ = judged(coach(vllm_server, "auto", tmp_path), [turns[number] for number in verdicts])
    assert [verdict.score for verdict in again.values()] == [verdict.score for verdict in verdicts.values()]
    assert all(verdict.usage and verdict.usage.cached for verdict in again.values())


@pytest.mark.parametrize("structured", ["auto", "off"])
def test_a_reply_without_a_grammar_is_a_verdict_or_a_counted_error(
    transformers_server: ModelServer, structured: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """This server accepts a schema and ignores it, so that ``auto`` gets free text as well."""
    turns = histories()[-1:]  # it may be asked about twice, with replies up to the token limit
    verdicts, causes = judged(coach(transformers_server, structured, max_tokens=64), turns)
    with capsys.disabled():
        print(f"\nSmolLM2-135M, {structured}: {len(verdicts)} of {len(turns)} turns judged {dict(causes)}")
    assert len(verdicts) + causes.total() == len(turns)
    assert all(0 <= verdict.score <= 10 for verdict in verdicts.values())
