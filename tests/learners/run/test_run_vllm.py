"""A real run with real vLLM: every agent samples from its updated weights.

Apart from the other tests of the generator: a process has one at a time.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from learners.generators.vllm import Vllm, weight_check
from learners.run.run import train
from tests.learners.doubles import messages
from tests.test_conf import composed

RUN = (
    "env=mathchat",
    "model=smollm2",
    "generator=vllm",
    "coach=random",
    "sandbox=local",
    "steps=2",
    "rollout.tasks=1",
    "rollout.episodes=1",
    "evaluation.every=0",
    "checkpoint.every=9",
    "algorithm.truncated=keep",
    "algorithm.adv_norm=none",
    "model.autocast=false",
    "model.gradient_checkpointing=false",
    "model.max_prompt_tokens=64",
    "model.max_new_tokens=8",
    "model.optimizer.lr=0.001",
    "model.optimizer.warmup_steps=0",
    "generator.kv_cache_gb=0.5",
    "generator.deadline=250",
)
"""As small as a real run can be; the learning rate is far too high, so that every step changes the
samples."""


@pytest.mark.vllm
@pytest.mark.llm
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "weights", [("weights=adapter", "weights.rank=8"), ("weights=full",)], ids=["adapter", "full"]
)
def test_three_agents_of_a_real_run_sample_from_the_weights_that_they_have_learned(
    weights: tuple[str, ...], tmp_path: Path, smollm2_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SmolLM2, two steps: what the engine says of the probe after every sync, and the trainer."""
    monkeypatch.setenv("COACHGYM_CACHE", str(smollm2_cache))
    checks: dict[str, list[tuple[float, float, float]]] = {}
    sync = Vllm.sync

    def followed(subject: Vllm, policy: str, version: int) -> None:
        served = subject._served[policy]
        old = served.checked
        sync(subject, policy, version)
        assert old is not None
        assert subject.generate(policy, messages("hi"), seed=0, order=0).weight_version == version
        assert served.checked is not None
        trace = served.checked.trace
        count = len(trace.prompt) - 1
        (new,) = served.source.logprobs([trace.completion])
        checks.setdefault(policy, []).append(
            (
                weight_check.distance(trace.logprobs, new),
                weight_check.distance(trace.logprobs[:count], old.expected[:count]),
                weight_check.distance(trace.logprobs[:count], old.trace.logprobs[:count]),
            )
        )

    monkeypatch.setattr(Vllm, "sync", followed)
    path = train(composed(*RUN, *weights, f"run_dir={tmp_path}/run"))
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    agents = ("problem_solver", "code_executor", "verifier")
    assert set(checks) == set(agents)
    for agent in agents:
        assert [row[f"rows/{agent}"] > 0 for row in rows] == [True, True]
        assert len(checks[agent]) == 2
        for gap, from_old_trainer, from_old_engine in checks[agent]:
            assert gap < 1e-3
            assert min(from_old_trainer, from_old_engine) > 0.01
