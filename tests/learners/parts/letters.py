"""A random model that speaks single letters (``tests.learners.doubles``)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers import PreTrainedConfig

from learners.types import LoadedModel, ModelConfig
from tests.learners.doubles import loaded_model


class Letters:
    @dataclass
    class Config(ModelConfig):
        kind: str

    def __init__(self, config: Config) -> None:
        self.config = config

    def architecture(self) -> PreTrainedConfig:
        config: PreTrainedConfig = loaded_model(0, self.config.kind).model.config
        return config

    def load(self, env_name: str, seed: int) -> LoadedModel:
        return replace(loaded_model(seed, self.config.kind), config=self.config)
