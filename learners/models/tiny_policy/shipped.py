"""The teaching policy's weights that ship with the package: where they are, how they are made, and the record
of how they were made.

``weights/<environment>`` is a plain ``transformers`` folder. The weights are stored in 16 bits, and models
load them as 32-bit values: on every machine, a run begins with the same numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import safetensors.torch
import torch

from learners.models.tiny_policy.demonstrations import Demonstration, check_environment, collect
from learners.models.tiny_policy.warmstart import SIZE, WARM_START, Trained, mean_loss, warm_start

WEIGHTS = Path(__file__).parent / "weights"
FILE = "model.safetensors"
DTYPE = torch.float16
"""Its error is an eighth of bfloat16's, and no weight comes near its limits."""
FIRST = 10
"""Steps whose losses are recorded."""
HELD_OUT = 200
"""Demonstrations, drawn with the next seed, on which the stored weights are measured."""
_RECORD = "coachgym"
"""Key of the record in the metadata of the file."""


@dataclass(frozen=True)
class Record:
    """How a file of weights was made, and what it should measure."""

    settings: dict[str, dict[str, float]]
    """``size`` and ``warm_start``."""
    demonstrations: str
    """SHA-256 of what the policy was trained on."""
    first_losses: tuple[float, ...]
    """Of the first ``FIRST`` steps, in nats. Where they come out exactly the same, so do the weights; another
    kind of processor rounds differently."""
    heldout_loss: float
    """Of the stored weights on demonstrations that they were not trained on, in nats."""
    versions: dict[str, str]
    """Of the libraries that computed them."""


def folder_of(env_name: str) -> Path:
    """Returns the folder of the weights for an environment.

    Raises:
        ConfigError: there are none.
    """
    check_environment(env_name)
    return WEIGHTS / env_name


def read_record(folder: Path) -> Record:
    """Returns the record in the metadata of a folder's weights."""
    with safetensors.safe_open(folder / FILE, framework="pt") as file:
        values = json.loads(file.metadata()[_RECORD])
    return Record(**{**values, "first_losses": tuple(values["first_losses"])})


def make(env_name: str) -> tuple[Trained, Record]:
    """Trains the policy for an environment and rounds its weights to what is stored.

    Raises:
        ConfigError: there are no demonstrations for this environment.
    """
    demonstrations = collect(env_name, WARM_START.demonstrations, WARM_START.seed)
    made = warm_start(demonstrations, SIZE, WARM_START)
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.copy_(parameter.to(DTYPE))
    record = Record(
        settings=settings(),
        demonstrations=digest(demonstrations),
        first_losses=made.losses[:FIRST],
        heldout_loss=mean_loss(made.model, made.tokenizer, held_out(env_name)),
        versions={name: metadata.version(name) for name in ("torch", "transformers", "tokenizers")},
    )
    return made, record


def save(made: Trained, record: Record, folder: Path) -> None:
    """Writes model, tokenizer and record into ``folder``. Raises ``OSError`` if it cannot be written."""
    made.model.config.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    tied = "lm_head.weight"
    tensors = {name: tensor.to(DTYPE) for name, tensor in made.model.state_dict().items() if name != tied}
    data = safetensors.torch.save(tensors, {"format": "pt", _RECORD: json.dumps(asdict(record))})
    (folder / FILE).write_bytes(data)


def settings() -> dict[str, dict[str, float]]:
    """Returns all that the weights are made with, apart from the demonstrations."""
    return {"size": asdict(SIZE), "warm_start": asdict(WARM_START)}


def held_out(env_name: str) -> list[Demonstration]:
    """Returns demonstrations that the policy was not trained on."""
    return collect(env_name, HELD_OUT, WARM_START.seed + 1)


def digest(demonstrations: Sequence[Demonstration]) -> str:
    """Returns the SHA-256 of the demonstrations."""
    return hashlib.sha256(json.dumps([asdict(one) for one in demonstrations]).encode()).hexdigest()
