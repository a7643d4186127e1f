"""An algorithm from outside of the project needs its advantages, its objective and the shared settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import conf
from conf.commands import compose
from learners.update.packing import pack, to_rows
from tests.learners.doubles import completion, transition

MODULE = '''
"""Policy gradient without baseline."""

from dataclasses import dataclass

from learners.algorithms.advantages import credited_returns, spread_over_tokens
from learners.algorithms.base import PolicyGradient
from learners.algorithms.losses import Objective
from learners.algorithms.settings import Settings


class Plain(PolicyGradient):
    @dataclass
    class Config(Settings):
        strength: float

    def advantages(self, transitions):
        return spread_over_tokens(transitions, credited_returns(transitions, self.config))

    def objective(self, logprobs, ratios, batch):
        value = self.config.strength * ratios.ratio * batch.advantages
        return Objective(value, {"good": batch.advantages > 0.5})
'''


@pytest.fixture
def search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder with the module and its YAML, as the setting that makes Hydra look there."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "plain.py").write_text(MODULE)
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / "plain.yaml").write_text(
        "name: elsewhere.plain\ndefaults: [base]\nstrength: 2.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"hydra.searchpath=[file://{tmp_path}]"


def test_an_algorithm_from_outside_inherits_settings_and_loss(search_path: str) -> None:
    node = compose([search_path, "algorithm=plain"]).algorithm
    assert node.importance_cap == conf.load("algorithm", "grpo").importance_cap
    subject = conf.build("learners", node)
    assert not subject.needs_reference
    rows = [transition(score, episode=f"e{score}", sampled=completion(2)) for score in (2.0, 8.0)]
    advantages = subject.advantages(rows)
    assert advantages == [[pytest.approx(0.2)] * 2, [pytest.approx(0.8)] * 2]
    (batch,) = pack(to_rows(rows, advantages, subject.token_weights(rows)), 100)
    logprobs = batch.sampling_logprobs.clone().requires_grad_()
    loss, metrics = subject.loss(logprobs, batch)
    loss.backward()
    torch.testing.assert_close(logprobs.grad, -2.0 * batch.token_weights * batch.advantages)
    assert metrics["policy_loss"] == float(loss.detach()) == pytest.approx(-2.0 * 0.5)
    assert metrics["good"] == pytest.approx(0.5)
    assert metrics.keys() >= {"importance_limited", "approx_kl"}
