"""A generator that samples from copies of its own, which it loads from files, as engines do."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import AutoModelForCausalLM, AutoTokenizer

from envs.types import Message
from learners.base import Source
from learners.errors import TrainingError
from learners.generators.chat import ChatFormat, stop_ids
from learners.generators.hf import decode
from learners.models.base import prepare_model
from learners.types import Completion, LoadedModel
from learners.update.logprobs import completion_logprobs
from tests.learners.doubles import completion


class Copies:
    trains = True
    lockstep = False

    @dataclass
    class Config:
        pass

    def __init__(self, config: Config, *, policies: Mapping[str, Source]) -> None:
        self._sources = policies
        self._lock = threading.Lock()
        self._copies: dict[str, tuple[LoadedModel, int]] = {}
        for name in policies:
            self.sync(name, 0)

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        loaded, version = self._copies[policy]
        stop = stop_ids(loaded.tokenizer, loaded.model.generation_config)
        chat = ChatFormat(loaded.tokenizer, loaded.config, stop, policy)
        prompt = chat.prompt(messages)
        draws = np.random.default_rng(seed).random(loaded.config.max_new_tokens)
        with self._lock:
            [row] = decode(loaded, [prompt], draws=draws[None], temperatures=[temperature], stop=stop)
        return chat.completion(prompt, row.token_ids, row.logprobs, version)

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        """Loads the current weights and compares."""
        source = self._sources[policy]
        with source.lend(None, base=True) as lent:
            model = AutoModelForCausalLM.from_pretrained(lent.folder)
            tokenizer = AutoTokenizer.from_pretrained(lent.folder)
        copy = prepare_model(model, tokenizer, source.config)
        probe = [completion(9, seed=1)]
        [expected], [actual] = source.logprobs(probe), completion_logprobs(copy.model, probe, copy.config)
        if max(abs(a - b) for a, b in zip(expected, actual, strict=True)) > 1e-5:
            raise TrainingError(f"{policy}: the weights sampled from are not the trained ones")
        self._copies[policy] = (copy, version)
        return {"sync_bytes_written": lent.written, "sync_bytes_read": lent.size}

    def sleep(self) -> None: ...

    def wake(self) -> None: ...

    def close(self) -> None: ...
