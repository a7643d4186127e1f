"""What is measured, and the records of a measurement. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

CHECKPOINTING = "model.gradient_checkpointing"


@dataclass(frozen=True)
class Case:
    """Updates of one model in one process."""

    name: str
    words: tuple[str, ...]
    """Settings of the run, as on the command line of ``learners.train``."""
    random: bool
    """Random weights in place of the model's own."""
    prompt: int
    """Tokens of each row's prompt, and below those of its completion."""
    completion: int
    rows: int
    """Rows of a micro-batch; an update has two such batches."""

    def settings(self) -> list[str]:
        """Returns the settings of the run, with the lengths of the rows."""
        length = self.prompt + self.completion
        own = {
            "model.max_prompt_tokens": self.prompt,
            "model.max_new_tokens": self.completion,
            "model.update_tokens": self.rows * length,
            "model.optimizer.warmup_steps": 0,
        }
        return ["env=dsbench", "policies=shared", *self.words, *(f"{key}={own[key]}" for key in own)]

    def tiny(self, words: Sequence[str]) -> Case:
        """Returns the same updates of a Qwen3 of the sizes that ``words`` set, with random weights."""
        kept = [word for word in self.words if word.split("=")[0] in ("weights", CHECKPOINTING)]
        return replace(self, words=("model=qwen3-4b", *words, *kept), random=True)


SMOLLM2 = ("model=smollm2",)
QWEN3 = ("model=qwen3-4b", "model.architecture.num_hidden_layers=4")
"""Of 36 layers, one eighth is 4.5."""
FULL, ADAPTERS = ("weights=full",), ("weights=adapter",)
PLAIN = (f"{CHECKPOINTING}=false",)
CASES = (
    Case("smollm2-full", (*SMOLLM2, *FULL), False, 32, 480, 2),
    Case("smollm2-adapters", (*SMOLLM2, *ADAPTERS), False, 32, 480, 2),
    Case("smollm2-full-kept", (*SMOLLM2, *FULL, *PLAIN), False, 32, 480, 1),
    Case("qwen3-4b-eighth-full", (*QWEN3, *FULL), True, 32, 480, 1),
    Case("qwen3-4b-eighth-adapters", (*QWEN3, *ADAPTERS), True, 32, 480, 1),
)
TINY = tuple(
    f"model.architecture.{key}={value}"
    for key, value in {
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "vocab_size": 512,
    }.items()
)


@dataclass(frozen=True)
class Part:
    """Bytes of one part of the memory; ``estimated`` is what ``learners.plan`` says."""

    name: str
    estimated: float
    measured: float

    @property
    def ratio(self) -> float | None:
        """Estimated over measured; None where nothing was measured."""
        return self.estimated / self.measured if self.measured else None


@dataclass(frozen=True)
class Measured:
    """The estimates and measurements of a case."""

    parts: tuple[Part, ...]
    """Tensors, as torch counts them."""
    phases: tuple[Part, ...]
    """Peaks of tensors in each phase of an update, likewise."""
    peak: Part
    """Peak of resident memory, or of the GPU's allocator, in updates, above the level before weights are
    loaded."""
    seconds: float
    """Of the second update; without any profiler."""
    estimated_s: float
    rates: Mapping[str, float]
    """Precision -> FLOP/s of large matrix products in the same process, on which ``estimated_s`` is based."""


def to_measured(record: Mapping[str, object]) -> Measured:
    """Reads what ``dataclasses.asdict`` made of a ``Measured``."""
    fields: dict[str, object] = dict(record)
    for name in ("parts", "phases"):
        listed = fields[name]
        assert isinstance(listed, list)
        fields[name] = tuple(Part(**one) for one in listed)
    peak = fields["peak"]
    assert isinstance(peak, dict)
    return Measured(**(fields | {"peak": Part(**peak)}))  # type: ignore[arg-type]
