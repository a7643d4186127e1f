"""The learner's records. torch and transformers are imported for annotations only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from coaches.base import Verdict
from coaches.recording.times import Times
from conf import ConfigError
from conf.ranges import Count, Natural, NonNegative, Positive, Range
from envs.types import Episode, Message, Task, Turn

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Metrics = dict[str, float]
LossMetrics = Mapping[str, "torch.Tensor | float"]
"""Of a micro-batch. Tensors have one number each, and stay on their device until the optimiser step ends."""
DTYPES = ("float32", "bfloat16")
DEVICES = ("cpu", "cuda", "mps", "xpu")
SCHEDULES = ("constant", "cosine")


@dataclass
class Optimizer:
    """AdamW settings, and how many steps a batch of rows is trained for."""

    lr: NonNegative
    betas: list[Annotated[float, Range(least=0, below=1)]]
    weight_decay: NonNegative
    max_grad_norm: Positive
    warmup_steps: Natural
    """Optimiser steps over which the rate rises linearly from 0 to ``lr``."""
    schedule: str
    """``constant``, or ``cosine`` down to a tenth of ``lr`` at the end of the run."""
    minibatches: Count
    """Optimiser steps that one batch of rows is split into."""
    epochs: Count
    """How often each row is trained on."""

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ConfigError(
                f"optimizer.schedule must be one of {', '.join(SCHEDULES)}, not {self.schedule!r}"
            )
        if len(self.betas) != 2:
            raise ConfigError(f"optimizer.betas must be two numbers, not {self.betas}")


@dataclass
class ModelConfig:
    """Settings common to every kind of model; the ``Config`` of a kind inherits them and adds its own."""

    dtype: str
    """Of the weights: ``float32`` or ``bfloat16``."""
    autocast: bool
    """Compute in bfloat16 whatever the dtype of the weights, in generation and in updates alike."""
    head_float32: bool
    """Compute logits in float32, under autocast too; their gradient has the dtype of the layers' products."""
    gradient_checkpointing: bool
    device: str
    """``auto`` (a GPU when there is one), or a torch device such as ``cpu`` or ``cuda:1``."""
    max_prompt_tokens: Count
    """A longer prompt loses its middle (``learners.generators.chat``) and is counted."""
    max_new_tokens: Count
    """A completion that reaches this length is truncated there: its ``finish_reason`` is ``length``."""
    update_tokens: Count
    """Tokens in one micro-batch of an update; a longer row is a micro-batch of its own."""
    chat: dict[str, Any]
    """Extra arguments of the chat template, e.g. ``enable_thinking: false``."""
    optimizer: Optimizer

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"model.dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if not re.fullmatch(rf"auto|({'|'.join(DEVICES)})(:\d+)?", self.device):
            known = ", ".join(DEVICES)
            raise ConfigError(
                f"model.device must be auto or one of {known}, maybe with :0, not {self.device!r}"
            )

    @property
    def sampling_dtype(self) -> str:
        """What an engine computes in: ``float32`` or ``bfloat16``."""
        return "bfloat16" if self.autocast else self.dtype


@dataclass(frozen=True)
class LoadedModel:
    """One agent's weights, ready to act and to learn: in eval mode, on its device, with the attention of
    ``learners.models.attention``."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    """Has a chat template and an end-of-turn token (``eos_token``)."""
    config: ModelConfig

    @property
    def chat(self) -> Mapping[str, Any]:
        """Extra arguments of the chat template."""
        return self.config.chat

    @property
    def device(self) -> torch.device:
        return self.model.device


@dataclass(frozen=True)
class Bill:
    """Token counts and price of a completion, as the server that sampled it reports them."""

    prompt_tokens: int | None
    tokens: int | None
    cost: float
    """US dollars."""


@dataclass(frozen=True)
class Completion:
    """What a policy sampled, token in and token out: training uses these very ids and logprobs."""

    text: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    """The sampled ids, including the end-of-turn token when it was sampled."""
    logprobs: tuple[float, ...]
    """log π(token) at temperature 1, natural log, one per token of ``token_ids``."""
    weight_version: int
    finish_reason: Literal["stop", "length"]
    bill: Bill | None = None
    """From a server that reports no ids: the three tuples above are empty, and it cannot be trained on."""

    @property
    def prompt_tokens(self) -> int | None:
        """Length of the prompt; None where a server did not report it."""
        return self.bill.prompt_tokens if self.bill else len(self.prompt_ids)

    @property
    def tokens(self) -> int | None:
        """Number of sampled tokens; None where a server did not report it."""
        return self.bill.tokens if self.bill else len(self.token_ids)


@dataclass(frozen=True)
class GenerationRequest:
    """The prompt of one completion and how to sample it: see ``learners.base.Generator.generate``."""

    messages: Sequence[Message]
    seed: int
    temperature: float


@dataclass(frozen=True)
class Assignment:
    """One episode to play."""

    id: str
    task: Task
    seed: int
    order: int
    """Its number among the episodes played together: its position in every batch."""
    temperature: float


@dataclass(frozen=True)
class Rollout:
    """One played episode: its turns, and per turn what was sampled and what the coach said of it."""

    episode: Episode
    completions: tuple[Completion, ...]
    verdicts: tuple[Verdict | None, ...]
    """None where the coach reached no verdict, and throughout when the episode was not coached."""
    coach_errors: Mapping[str, int] = field(default_factory=dict)
    """Number of turns without a verdict, by cause."""
    times: Times | None = field(default=None, compare=False)
    """When it was played; None: unknown. It is no part of what was played."""

    def transitions(self) -> list[Transition]:
        """Returns the training rows, in the order of play."""
        return [
            Transition(
                episode=self.episode.id,
                turn=turn,
                completion=completion,
                verdict=verdict,
                reward=None if verdict is None else verdict.score,
            )
            for turn, completion, verdict in zip(
                self.episode.turns, self.completions, self.verdicts, strict=True
            )
        ]


@dataclass(frozen=True)
class Isolation:
    """What programs run in, for the records of a run."""

    backend: str
    guarantees: tuple[str, ...]
    libraries: Mapping[str, str]
    warning: str
    """Names the guarantees that the sandbox cannot give, in one line for a person; empty if it gives all."""


@dataclass(frozen=True)
class Transition:
    """One action of one agent as a training row.

    A program that the coach scored 7.5, sampled as three tokens after a prompt of two::

        Transition(
            episode="train-0-4",
            turn=turn,                                    # envs.types.Turn: what was seen, said and run
            completion=Completion(
                text="x = 1",
                prompt_ids=(11, 12),
                token_ids=(21, 22, 2),                    # 2 ends the turn
                logprobs=(-0.7, -0.1, -0.2),
                weight_version=4,
                finish_reason="stop",
            ),
            verdict=Verdict(7.5, "correct"),
            reward=7.5,
        )

    ``Algorithm.advantages`` turns the rewards of all transitions of a step into one number per sampled token,
    here say ``[0.9, 0.9, 0.9]``.
    """

    episode: str
    turn: Turn
    completion: Completion
    verdict: Verdict | None
    reward: float | None
    """The action's score; None where the coach reached no verdict: masked and counted, never guessed."""
    ref_logprobs: tuple[float, ...] | None = None
    """Under the agent's frozen reference, one per sampled token; None if the algorithm does not need them."""
    learns: bool = True
    """Whether the agent's policy is updated. If not, the row is neither trained on nor in any statistics, but
    its reward counts in the returns of those before it."""


@dataclass(frozen=True)
class TokenTexts:
    """The L sampled tokens of a completion as text."""

    pieces: tuple[str, ...]
    """[L]: joined, they are the sampled text. "" for a token without text of its own: one that ends the turn,
    or one that holds only a part of a character, which belongs to the token that completes it."""
    names: Mapping[int, str]
    """What the tokenizer calls the tokens whose piece is "", by their place."""


@dataclass(frozen=True)
class TokenTerms:
    """What the loss made of the L sampled tokens of a row, in the first epoch that trained it."""

    logprobs: tuple[float, ...]
    """[L]: log pi(token) under the weights of that optimiser step, natural log."""
    ratio: tuple[float, ...]
    """[L]: to the policy before the update, as the objective has it."""
    importance: tuple[float, ...]
    """[L]: the weight of the objective for the difference between that policy and the one that sampled."""
    marks: Mapping[str, tuple[int, ...]]
    """Metric -> the places of the tokens that it counts: ``clip_fraction``, ``importance_limited``."""


@dataclass(frozen=True)
class Batch:
    """Packed training rows of one agent: R rows end to end, T tokens in all, N of them trained.

    There is no padding. ``lengths`` keeps the attention of the rows apart and ``position`` restarts in each.

    Three rows, written ``prompt | completion``::

        row 0:  11 12 | 21 22 2        row 1:  13 | 23 2        row 2:  14 | 2

    They make a batch of R=3 and T=10::

        ids       11 12 21 22  2 13 23  2 14  2
        position   0  1  2  3  4  0  1  2  0  1
        lengths    5  3  2

    Only the N=6 sampled tokens are trained. Token n, ``target[n]``, is predicted from the hidden state of the
    token before it, which is number ``source[n]``::

        source     1  2  3  5  6  8
        target    21 22  2 23  2  2
        row        0  0  0  1  1  2

    ``sampling_logprobs``, ``advantages``, ``token_weights`` and the like have the same order of N tokens.
    """

    ids: torch.Tensor
    """int64 [T]."""
    position: torch.Tensor
    """int64 [T]: position within the row, from 0."""
    lengths: tuple[int, ...]
    """Tokens of each of the R rows, prompt and completion; T in all."""
    source: torch.Tensor
    """int64 [N]: index into the T hidden states from which trained token n is predicted."""
    target: torch.Tensor
    """int64 [N]: id of the sampled token."""
    row: torch.Tensor
    """int64 [N]: number of the row within the optimiser step to which token n belongs."""
    sampling_logprobs: torch.Tensor
    """float32 [N]: at sampling time, as the inference engine computed them."""
    prox_logprobs: torch.Tensor | None
    """float32 [N]: the trainer's own from before the update (the proximal policy). None where the update is a
    single optimiser step: the logprobs of its forward pass are then the proximal ones."""
    ref_logprobs: torch.Tensor | None
    """float32 [N], or None."""
    advantages: torch.Tensor
    """float32 [N]."""
    token_weights: torch.Tensor
    """float32 [N]: a token's share of the loss, normalised over the *whole* optimiser step, all micro-batches
    and workers, so that the step's loss is the plain sum of the losses of its micro-batches."""


@dataclass(frozen=True)
class Lent:
    """A folder of weights. Whoever reads it changes nothing in it."""

    folder: Path
    written: int
    """Bytes that were written for whoever asked; 0 if another one had asked before."""
    size: int
    """Bytes of its files."""


@dataclass(frozen=True)
class Place:
    """Where a process has whole weights, or can gather them."""

    process: int
    """Its id."""
    gpu: str | None
    """UUID of the GPU; None: in host memory."""


@dataclass(frozen=True)
class Shared:
    """Some of the weights, in GPU memory that other processes can map until the next part is asked for; what
    they have mapped by then stays."""

    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    """``bfloat16`` and the like."""
    shapes: tuple[tuple[int, ...], ...]
    handles: tuple[Mapping[str, tuple[Any, ...]], ...]
    """For each tensor: UUID of a GPU that has it -> arguments with which torch rebuilds it in another
    process."""
    size: int
    """Bytes of the tensors."""
