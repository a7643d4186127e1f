"""REINFORCE++ whose first loss kills the process that computes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from learners.reinforcepp import ReinforcePP
from learners.types import Batch, LossMetrics
from tests.learners.parts.chorus import die_once


class Fatal(ReinforcePP):
    @dataclass
    class Config(ReinforcePP.Config):
        dies: str

    config: Config

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, LossMetrics]:
        die_once(Path(self.config.dies))
        return super().loss(logprobs, batch)
