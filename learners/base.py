"""The learner's protocols: an algorithm never sees an environment, a device or the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from learners.types import Batch, Completion, Transition

if TYPE_CHECKING:
    import torch

    from envs.types import Message

Metrics = dict[str, float]
In = TypeVar("In")
Out = TypeVar("Out")


class TrainingError(Exception):
    """The run cannot go on: one clear line says why."""


class Algorithm(Protocol):
    """Rewards -> per-token advantages -> loss."""

    needs_reference: bool
    """Whether transitions must carry ``ref_logprobs``."""

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Per-token advantages of every transition of a step, all agents' together and in order.

        Called once on the whole batch, before it is split among agents or workers, so that every statistic is
        global. None: the row is not trained on.
        """
        ...

    def weights(self, transitions: Sequence[Transition]) -> list[float]:
        """Each row's weight per token, for the rows of ONE agent's optimiser step that are trained on.

        The loss of the step is ``sum over rows, tokens of weight * token loss``.
        """
        ...

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, Metrics]:
        """The scalar loss of a (micro-)batch from new logprobs [N], and metrics as sums over it."""
        ...


class Generator(Protocol):
    """Samples from the current weights of every policy; built with ``policies``, by name."""

    lockstep: bool
    """Whether requests meet in ``learners.lockstep``: batches then never depend on timing, and a slot is free
    again only when a whole wave of episodes has ended."""

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """One completion, blocking. Requests of concurrent episodes are batched.

        ``seed`` alone decides the random stream; ``order`` (the episode's number) the place in the batch.
        """
        ...

    def sync(self, policy: str, version: int) -> None:
        """The policy's weights changed and are now ``version``: all later samples come from them.

        Raises:
            TrainingError: what is sampled from is not what was trained.
        """
        ...

    def sleep(self) -> None:
        """Leaves the accelerator's memory to the updates that follow, as far as it can."""
        ...

    def wake(self) -> None:
        """Makes ready to sample again; ``sync`` follows for every policy whose weights changed."""
        ...

    def close(self) -> None:
        """Ends every process and frees all memory; nothing is sampled any more."""
        ...


class Policy(Protocol):
    """Weights, and how they act and learn: one agent's, or all agents' together."""

    name: str

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion: ...

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """One batch of this policy's rows -> new weights; the generator has them after ``publish``."""
        ...

    def publish(self) -> None:
        """Gives the generator the weights, if they are newer than those it has."""
        ...

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Logprobs of the sampled tokens under the frozen reference (KL), natural log."""
        ...

    def state(self) -> Mapping[str, Any]:
        """All that a resumed run needs: weights, optimiser, counters."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...


class Runtime(Protocol):
    """Where objects live and who runs what at once."""

    def map(
        self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int, waves: bool
    ) -> list[Out | Exception]:
        """Runs ``fn`` on every item, at most ``limit`` at once; results in the order of the items.

        ``waves``: the next ``limit`` items begin together, as players of one ``learners.lockstep`` session,
        when the last ones have all ended; otherwise each begins as soon as there is room.

        An ``Exception`` stands where ``fn`` raised it.
        """
        ...
