"""A policy: what an agent acts and learns with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from envs.types import Message
from learners.base import Algorithm, Generator, Learner
from learners.errors import TrainingError
from learners.types import Completion, Metrics, TokenTerms, TokenTexts, Transition


class Policy:
    """One agent's policy, or all agents' shared one: acts through a generator and learns through a learner.

    Both may live in other processes, and the generator serves other policies too.
    """

    def __init__(self, name: str, generator: Generator, learner: Learner | None = None) -> None:
        """``learner``: None for a policy that only acts: all other methods then raise ``TrainingError``."""
        self.name = name
        self.generator = generator
        self._learner = learner
        self._published = 0
        self._moved: Counter[str] = Counter()

    @property
    def learns(self) -> bool:
        """Whether it can be updated, saved and restored."""
        return self._learner is not None

    @property
    def learner(self) -> Learner:
        """The learner.

        Raises:
            TrainingError: this policy has none.
        """
        if self._learner is None:
            raise TrainingError(
                f"the policy {self.name} only acts here: it has no weights to train, save or load"
            )
        return self._learner

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """See ``Generator.generate``."""
        return self.generator.generate(self.name, messages, seed=seed, order=order, temperature=temperature)

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
        terms: dict[int, TokenTerms] | None = None,
    ) -> Metrics:
        """See ``Learner.update``; the generator has the new weights only after ``publish``."""
        return self.learner.update(transitions, advantages, algorithm, terms)

    def texts(self, completions: Sequence[Completion]) -> list[TokenTexts]:
        """See ``Learner.texts``."""
        return self.learner.texts(completions)

    def publish(self) -> None:
        """Gives the generator the weights if they are newer than those it has."""
        version = self.learner.version()
        if version != self._published:
            self._moved.update(self.generator.sync(self.name, version))
            self._published = version

    def traffic(self) -> Metrics:
        """Returns the bytes that updates and weight syncs moved since the last call; nothing that is 0.

        ``update_bytes``: rows sent to other processes; ``sync_bytes_written`` and ``sync_bytes_read``: files
        of weights; ``sync_bytes_shared``: weights in GPU memory (``Generator.sync``).
        """
        moved, self._moved = self._moved, Counter()
        moved["update_bytes"] = self.learner.sent()
        return {name: float(count) for name, count in moved.items() if count}

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """See ``Learner.reference_logprobs``."""
        return self.learner.reference_logprobs(completions)

    def save(self, path: Path) -> None:
        """See ``Learner.save``."""
        self.learner.save(path)

    def restore(self, path: Path) -> None:
        """See ``Learner.restore``; the generator then samples from the restored weights."""
        self.learner.restore(path)
        self._published = self.learner.version()
        self.generator.sync(self.name, self._published)
