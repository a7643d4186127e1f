"""The learner's protocols. They know the records of ``learners.types`` and no implementation.

An algorithm never sees an environment, a device or the trainer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from envs.types import Message
from learners.types import (
    Assignment,
    Batch,
    Completion,
    GenerationRequest,
    Isolation,
    Lent,
    LoadedModel,
    LossMetrics,
    Metrics,
    ModelConfig,
    Place,
    Rollout,
    Shared,
    TokenTerms,
    TokenTexts,
    Transition,
)

if TYPE_CHECKING:
    import torch
    from torch.nn import Parameter
    from transformers import PreTrainedConfig


class Algorithm(Protocol):
    """Rewards -> per-token advantages -> loss."""

    needs_reference: bool
    """Whether transitions must carry ``ref_logprobs``."""

    def advantages(self, transitions: Sequence[Transition]) -> list[list[float] | None]:
        """Returns the per-token advantages of every transition of a step, those of all agents, in order.

        Called once on the whole batch, before it is split among agents or workers, so that every statistic is
        global. None: the row is not trained on. Those of an agent that does not learn (``learns``) never are,
        whatever is returned for them.
        """
        ...

    def token_weights(self, transitions: Sequence[Transition]) -> list[float]:
        """Returns each row's weight per token, for the trained rows of ONE agent's optimiser step.

        The loss of the step is ``sum over rows and tokens of weight * token loss``.
        """
        ...

    def loss(self, logprobs: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, LossMetrics]:
        """Returns the scalar loss of a (micro-)batch from new logprobs [N], and metrics as sums over it.

        Metrics are best left as tensors: to make a number of one waits for the device.
        """
        ...


class ModelKind(Protocol):
    """The class that a module of ``learners.models`` exports: ``Kind(config).load(env_name, seed)``."""

    @property
    def config(self) -> ModelConfig: ...

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """Returns weights and tokenizer: equal for equal arguments, and every call an independent copy.

        ``env_name`` and ``seed`` matter to kinds that make their own weights.

        Raises:
            ConfigError: the model is not available; the message is one clear line.
        """
        ...

    def architecture(self) -> PreTrainedConfig:
        """Returns the model's architecture for ``learners.plan``; reads no weights and builds no model.

        Raises:
            ConfigError: the architecture is not known.
        """
        ...


class Source(Protocol):
    """A policy's weights, maybe in another process, as a generator with its own copy sees them.

    Every process among which they are sharded (``Weights.shard``) must make each of these calls.
    """

    name: str
    """Of the policy."""
    adapter: bool
    """Whether the weights are an adapter on a base that others share, not a whole model."""

    @property
    def config(self) -> ModelConfig:
        """The model's settings: precision, lengths, chat template."""
        ...

    def lend(self, root: Path | None, *, base: bool = False) -> AbstractContextManager[Lent]:
        """A folder of this machine with the weights, for an engine to read while the context lasts.

        Whole weights are those of ``transformers``, in ``ModelConfig.sampling_dtype``; an adapter is that of
        ``peft``.

        Args:
            root: where the folder is made; None: in shared memory.
            base: the base of an adapter instead, as it was before training; of a whole model, the model.
                Either with the tokenizer and the generation config.

        Raises:
            ConfigError: there is not enough room in ``root``.
        """
        ...

    def places(self) -> Sequence[Place]:
        """Where the weights are, for ``share``; nothing of an adapter, which is small and only lent."""
        ...

    def share(self) -> Iterator[Shared]:
        """Yields what ``lend`` would write of whole weights, part by part, in GPU memory of ``places``.

        A part can be mapped until the next one is asked for. Tied weights come once.

        Raises:
            ValueError: the weights are an adapter.
        """
        ...

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Returns the logprobs of the sampled tokens under the current weights, one tuple per completion."""
        ...


class Weights(Source, Protocol):
    """One policy's trainable weights in a loaded model, and their initial values, for KL terms."""

    loaded: LoadedModel

    def save(self, folder: Path) -> None:
        """Writes the trained weights and the tokenizer for ``transformers``, or for ``peft`` (an adapter)."""
        ...

    def save_for_engines(self, folder: Path | None, *, base: bool = False) -> None:
        """Writes what ``lend`` lends.

        ``folder``: None in all processes among which the weights are sharded but the first, which need
        their help to gather them.
        """
        ...

    def active(self) -> AbstractContextManager[LoadedModel]:
        """The model, computing with these weights; no other thread has it meanwhile. May be nested."""
        ...

    def reference(self) -> AbstractContextManager[LoadedModel]:
        """The model as it was before training, frozen.

        Raises:
            ValueError: no reference was kept.
        """
        ...

    def score(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """``learners.update.logprobs.batch_logprobs`` under these weights; call it within ``active``."""
        ...

    def parameters(self) -> list[Parameter]:
        """Returns what an optimiser may change."""
        ...

    def shard(self) -> bool:
        """Keeps only this process's share of the weights; to be called before an optimiser is made.

        Returns:
            False where every process keeps whole weights: gradients must then be summed over all processes.
        """
        ...

    def state(self) -> Mapping[str, Any]:
        """Returns the weights and a checksum of their initial values; live tensors."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores the weights to what they were when ``state`` was taken.

        Raises:
            ConfigError: ``state`` was trained from initial weights other than these.
        """
        ...

    def save_merged(self, folder: Path) -> None:
        """Writes a model that needs no other: an adapter is merged into its base."""
        ...


class WeightsKind(Protocol):
    """The class that a module of ``learners.weights`` exports: ``Kind(config).load(...)``."""

    shares_base: bool
    """Whether all policies share one base model, and hence the processes that train it."""

    def load(
        self, kind: ModelKind, names: Sequence[str], env_name: str, seed: int, *, reference: bool
    ) -> Mapping[str, Weights]:
        """Returns the initial weights of the policies in ``names``. ``reference``: keep a frozen copy.

        Raises:
            ConfigError: the model is not available, or does not suit the settings.
        """
        ...


class Generator(Protocol):
    """Samples from the current weights of every policy.

    The class that a module of ``learners.generators`` exports: ``Kind(config, policies=…)``. ``policies``
    maps names to ``Source``s, or to ``Weights`` if ``lockstep``; without ``trains`` it holds names alone.
    """

    trains: bool
    """Whether its completions can be trained on. Without it, no weights are loaded at all."""
    lockstep: bool
    """Whether requests are batched by ``learners.rollout.lockstep``: batches then never depend on timing, but
    a slot is free again only when a whole wave of episodes has ended."""

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """Returns one completion; blocking. Requests of concurrent episodes are batched.

        ``seed`` alone decides the random stream; ``order`` (the number of the episode) the position in the
        batch.

        Raises:
            EpisodeError: no completion could be obtained.
        """
        ...

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        """Takes over the policy's weights, now at ``version``: all later samples come from them.

        Returns:
            ``sync_bytes_written`` and ``sync_bytes_read``, of files, or ``sync_bytes_shared``, of GPU memory
            (``Source.share``); nothing where weights are not copied.

        Raises:
            TrainingError: the weights sampled from are not the trained ones.
        """
        ...

    def sleep(self) -> None:
        """Frees accelerator memory for the updates that follow, as far as possible."""
        ...

    def wake(self) -> None:
        """Prepares to sample again; ``sync`` follows for every policy whose weights changed."""
        ...

    def close(self) -> None:
        """Ends every process and frees all memory; nothing can be sampled any more."""
        ...


class BatchGenerator(Generator, Protocol):
    """A lockstep generator: it samples from the trained weights in place, in the process that trains them."""

    def batch(self, policy: str, requests: Sequence[GenerationRequest]) -> list[Completion]:
        """Returns one completion per request, in order, sampled as one batch."""
        ...


class Learner(Protocol):
    """A policy's weights and their training, in whatever process they live."""

    def version(self) -> int:
        """Returns how many updates have changed the weights."""
        ...

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
        terms: dict[int, TokenTerms] | None = None,
    ) -> Metrics:
        """Trains on one batch of this policy's rows.

        ``terms``: gets what the loss made of each row's tokens, by its number among those with advantages;
        ``algorithm`` must then have the method ``terms`` (``learners.algorithms.base.PolicyGradient``).
        """
        ...

    def texts(self, completions: Sequence[Completion]) -> list[TokenTexts]:
        """Returns the sampled tokens of each completion as text."""
        ...

    def reference_logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        """Returns the logprobs (natural log) of the sampled tokens under the frozen reference, for KL."""
        ...

    def sent(self) -> int:
        """Returns how many bytes of rows were sent to other processes since the last call."""
        ...

    def save(self, path: Path) -> None:
        """Writes everything that a resumed run needs to the file ``path``: weights, optimiser, counters."""
        ...

    def restore(self, path: Path) -> None:
        """Restores everything to what it was when ``path`` was written."""
        ...


class RolloutWorker(Protocol):
    """Plays episodes, many at once."""

    def play(self, assignment: Assignment, *, coached: bool) -> Rollout:
        """Plays one episode to its end; blocking.

        Raises:
            SandboxError, EpisodeError: the episode has no outcome to count.
        """
        ...

    def isolation(self) -> Isolation:
        """Describes the sandboxes in which the programs of these episodes run."""
        ...

    def close(self) -> None:
        """Ends every sandbox."""
        ...
