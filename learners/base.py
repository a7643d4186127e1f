"""The learner's protocols: an algorithm never sees an environment, a device or the trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from learners.types import Batch, Completion, Request, Transition

if TYPE_CHECKING:
    import torch

    from envs.types import Message
    from learners.config import RunConfig
    from learners.rollout.episode import Assignment, Rollout
    from learners.rollout.player import Isolation
    from learners.run.build import Parts

Metrics = dict[str, float]
In = TypeVar("In")
Out = TypeVar("Out")


class TrainingError(Exception):
    """The run cannot go on: one clear line says why."""


class LostError(TrainingError):
    """A process that the run needs has died or not answered in time; the newest checkpoint is whole."""

    def __init__(self, message: str, process: str = "") -> None:
        """``process``: the name of the one that was lost."""
        super().__init__(message)
        self.process = process


class EpisodeError(Exception):
    """An episode could not be played to its end, through no fault of its agents: counted, never scored."""


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
    """Samples from the current weights of every policy; built with ``policies``, by name.

    A class whose samples cannot be trained on says so with ``trains = False``. It is built with the names of
    policies alone, and no weights are loaded.
    """

    lockstep: bool
    """Whether requests meet in ``learners.rollout.lockstep``: batches then never depend on timing, and a slot is free
    again only when a whole wave of episodes has ended."""

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """One completion, blocking. Requests of concurrent episodes are batched.

        ``seed`` alone decides the random stream; ``order`` (the episode's number) the place in the batch.

        Raises:
            EpisodeError: there is no completion to be had.
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


class BatchGenerator(Generator, Protocol):
    """One whose requests meet in ``learners.rollout.lockstep``: it samples from the very weights that are trained."""

    def batch(self, policy: str, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in order, as one batch."""
        ...


class Learner(Protocol):
    """A policy's weights and how they learn, wherever they live."""

    def version(self) -> int:
        """How many updates have changed the weights."""
        ...

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """One batch of this policy's rows -> new weights."""
        ...

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Logprobs of the sampled tokens under the frozen reference (KL), natural log."""
        ...

    def save(self, path: Path) -> None:
        """Writes all that a resumed run needs to the file ``path``: weights, optimiser, counters."""
        ...

    def restore(self, path: Path) -> None:
        """Makes everything as it was when ``path`` was written."""
        ...


class Actor(Protocol):
    """What plays an agent's part."""

    def act(
        self, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """See ``Generator.generate``."""
        ...


class Policy(Actor, Protocol):
    """Weights, and how they act and learn: one agent's, or all agents' together."""

    name: str

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
    ) -> Metrics:
        """As ``Learner.update``; the generator has the new weights after ``publish``."""
        ...

    def publish(self) -> None:
        """Gives the generator the weights, if they are newer than those it has."""
        ...

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """As ``Learner.reference_logprobs``."""
        ...

    def save(self, path: Path) -> None:
        """As ``Learner.save``."""
        ...

    def restore(self, path: Path) -> None:
        """As ``Learner.restore``; the generator has those weights then."""
        ...


class Player(Protocol):
    """Plays episodes, many at once."""

    def play(self, assignment: Assignment, *, coached: bool) -> Rollout:
        """Plays one episode to its end; blocking.

        Raises:
            SandboxError, EpisodeError: there is no outcome to count.
        """
        ...

    def isolation(self) -> Isolation:
        """What the programs of these episodes run in."""
        ...

    def close(self) -> None:
        """Ends every sandbox."""
        ...


class Runtime(Protocol):
    """Where objects live and who runs what at once."""

    restarts: int
    """How often a run that raised ``LostError`` is built anew, to go on from its newest checkpoint."""

    def assemble(self, config: RunConfig) -> Parts:
        """Everything that ``config`` names; cheap parts first: a mistake shows before a model loads.

        Raises:
            ConfigError: a part cannot be had, or its settings are wrong.
        """
        ...

    def map(
        self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int, waves: bool
    ) -> list[Out | Exception]:
        """Runs ``fn`` on every item, at most ``limit`` at once; results in the order of the items.

        ``waves``: the next ``limit`` items begin together, as players of one ``learners.rollout.lockstep`` session,
        when the last ones have all ended; otherwise each begins as soon as there is room.

        An ``Exception`` stands where ``fn`` raised it.
        """
        ...

    def each(self, fn: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """Runs ``fn`` on every item, at once where what they work on lives in different places.

        Raises:
            Exception: the first that ``fn`` raised.
        """
        ...

    def close(self) -> None:
        """Ends every process that this runtime has started."""
        ...
