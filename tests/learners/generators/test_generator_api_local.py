"""A team of agents that sample from a real model server on this machine: SmolLM2-135M behind transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.evaluate import __main__, reading
from tests.servers import ModelServer

pytestmark = [pytest.mark.llm, pytest.mark.timeout(900)]


def test_every_agent_samples_from_a_real_server_and_its_tokens_are_counted(
    tmp_path: Path, transformers_server: ModelServer
) -> None:
    server = transformers_server
    __main__.main(
        [
            *("env=mathchat", "sandbox=local", "coach=rules", "evaluation.tasks=1", "evaluation.episodes=2"),
            *("generator=api", f"generator.endpoint.base_url={server.base_url}", f"run_dir={tmp_path}/run"),
            *(f"generator.endpoint.model={server.model}", "generator.endpoint.timeout=300.0"),
            *("generator.endpoint.max_tokens=24", "generator.endpoint.concurrency=1"),
        ]
    )
    evaluation = reading.read(tmp_path / "run")
    assert evaluation.metrics["lost"] == 0.0
    assert evaluation.metrics["episodes"] == 2.0
    assert set(evaluation.effort.by_agent) == {"problem_solver", "code_executor", "verifier"}
    assert evaluation.effort.uncounted_turns == 0
    assert 0 < evaluation.effort.tokens <= 24 * 8
    assert evaluation.effort.prompt_tokens > evaluation.effort.tokens
    assert all(f"score/{agent}" in evaluation.metrics for agent in evaluation.effort.by_agent)
