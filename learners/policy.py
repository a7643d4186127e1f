"""One agent: how its weights act and how they learn."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from conf import ConfigError
from envs.types import Message
from learners.base import Algorithm, Generator, Metrics
from learners.logprobs import completion_logprobs
from learners.models.base import LoadedModel
from learners.types import Completion, Transition
from learners.updater import Updater


class SyncedGenerator(Generator, Protocol):
    """A generator that can be told of new weights."""

    version: int

    def sync(self, version: int) -> None: ...


class LocalPolicy:
    """An agent with weights of its own, in this process.

    ``reference``: keep a frozen copy of the initial weights, for algorithms with a KL term; it costs as much
    memory as the weights. It is not part of ``state``: loading the model again makes it again, and
    ``restore`` refuses a state that was trained against another.
    """

    def __init__(
        self,
        agent: str,
        *,
        loaded: LoadedModel,
        generator: SyncedGenerator,
        updater: Updater,
        reference: bool,
    ) -> None:
        self.agent = agent
        self.loaded = loaded
        self.generator = generator
        self.updater = updater
        self._reference = copy.deepcopy(loaded.model).requires_grad_(False) if reference else None
        self._origin = _fingerprint(self._reference) if self._reference is not None else None

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """See ``Generator.generate``."""
        return self.generator.generate(messages, seed=seed, order=order, temperature=temperature)

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """Trains on the rows that have advantages; without any, the weights stay and ``rows`` is 0.

        Returns:
            The updater's metrics, with ``rows`` trained on, ``truncated`` completions and
            ``prompts_at_limit`` (as long as the longest allowed: as good as always, their middle was cut).
        """
        metrics = self.updater.update(transitions, advantages, algorithm)
        if metrics["rows"]:
            self.generator.sync(self.generator.version + 1)
        completions = [transition.completion for transition in transitions]
        limit = self.loaded.config.max_prompt_tokens
        metrics["truncated"] = float(sum(c.finish_reason == "length" for c in completions))
        metrics["prompts_at_limit"] = float(sum(len(c.prompt_ids) >= limit for c in completions))
        return metrics

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Logprobs of the sampled tokens under the initial weights, natural log; one tuple a completion.

        Raises:
            ValueError: this policy keeps no reference.
        """
        if self._reference is None:
            raise ValueError(f"the policy of {self.agent} was built without a reference")
        return completion_logprobs(self._reference, completions, self.loaded.config)

    def state(self) -> Mapping[str, Any]:
        """Weights, optimiser, counters; live tensors, so write them out before the next update."""
        return {
            "model": self.loaded.model.state_dict(),
            "updater": self.updater.state(),
            "version": self.generator.version,
            "reference": self._origin,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Makes everything as it was when ``state`` was taken, exactly.

        Raises:
            ConfigError: ``state`` was trained against other initial weights than this policy's reference.
        """
        if state["reference"] != self._origin:
            raise ConfigError(
                f"the initial weights of {self.agent} are not those its checkpoint was trained from"
            )
        self.loaded.model.load_state_dict(state["model"])
        self.updater.restore(state["updater"])
        self.generator.sync(state["version"])


def _fingerprint(model: Any) -> float:
    """A number that other weights would not give."""
    return float(sum(parameter.double().abs().sum() for parameter in model.parameters()))
