"""A Llama with 0.8 million parameters, whose weights ship with the package, so that any machine can train a
team.

It is a teaching policy, not a language model. Its training data are a few thousand sampled demonstrations of
mixed quality for the roles of one environment. It reads only the ``## `` headings of a chat, and writes only
the words of its scripts. What it does not know is which choices fit which task: reinforcement learning has to
find that out.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedConfig

from envs.styles import check_style
from learners.models.base import check_context
from learners.models.hub import folder_at, from_pretrained
from learners.models.tiny_policy.shipped import folder_of
from learners.models.tiny_policy.warmstart import SIZE, llama_config
from learners.types import LoadedModel, ModelConfig


class Tiny:
    """One base model per environment: like a published model, it is the same for every agent, ``seed`` and
    machine."""

    @dataclass
    class Config(ModelConfig):
        style: str
        """The default of ``env.style``: it was made to read this style."""
        path: str | None
        """A folder with other weights of it, as ``learners.export`` writes them; None: those that ship."""

        def __post_init__(self) -> None:
            super().__post_init__()
            check_style("model.style", self.style)
            check_context("tiny", self, SIZE.context)

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """See ``ModelKind.load``; ``seed`` has no effect.

        Raises:
            ConfigError: no weights ship for this environment, or there are none in ``path``.
        """
        return from_pretrained(
            folder_at(self.config.path) if self.config.path else folder_of(env_name), self.config
        )

    def architecture(self) -> PreTrainedConfig:
        """Assumes the largest vocabulary; the real one depends on the environment."""
        return llama_config(SIZE, SIZE.vocab)
