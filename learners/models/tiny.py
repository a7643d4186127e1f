"""A Llama with 0.8 million parameters, trained in about a minute, so that any machine can train a team.

It is a teaching policy, not a language model. Its training data are a few thousand sampled demonstrations of
mixed quality for the roles of one environment. It reads only the ``## `` headings of a chat, and writes only
the words of its scripts. What it does not know is which choices fit which task: reinforcement learning has to
find that out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from filelock import FileLock
from transformers import PreTrainedConfig
from transformers.utils import logging as hf_logging

from conf import ConfigError, cache_dir
from envs.styles import check_style
from learners.models.base import check_context
from learners.models.hub import from_pretrained
from learners.models.tiny_policy import tokenizer, warmstart
from learners.models.tiny_policy.demonstrations import Demonstration, collect
from learners.models.tiny_policy.warmstart import Size, WarmStart, llama_config, warm_start
from learners.types import LoadedModel, ModelConfig

_log = logging.getLogger(__name__)


class Tiny:
    """One base model per environment: like a published model, it is the same for every agent and ``seed``."""

    @dataclass
    class Config(ModelConfig):
        style: str
        """The default of ``env.style``: it was made to read this style."""
        size: Size
        warm_start: WarmStart

        def __post_init__(self) -> None:
            super().__post_init__()
            check_style("model.style", self.style)
            check_context("tiny", self, self.size.context)

    def __init__(self, config: Config) -> None:
        self.config = config
        self._folders: dict[str, Path] = {}

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """Returns the warm-started base from the cache, or trains it. Several processes may call it at once.

        Raises:
            ConfigError: there are no demonstrations for this environment, or the cache is not writable.
        """
        if env_name not in self._folders:  # every policy loads it, and to find it takes seconds
            self._folders[env_name] = self._folder(env_name)
        return from_pretrained(self._folders[env_name], self.config)

    def _folder(self, env_name: str) -> Path:
        """Returns the folder of the base in the cache, where it is trained if it is not there."""
        settings = self.config.warm_start
        demonstrations = collect(env_name, settings.demonstrations, settings.seed)
        folder = cache_dir() / f"tiny-{env_name}-{_key(demonstrations, self.config)}"
        if not folder.is_dir():
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(folder.with_suffix(".lock")):  # the first process trains, the others wait
                    if not folder.is_dir():
                        self._make(demonstrations, env_name, folder)
            except OSError as error:
                raise ConfigError(
                    f"the model cache cannot be written: {error} (set COACHGYM_CACHE)"
                ) from error
        return folder

    def architecture(self) -> PreTrainedConfig:
        """Assumes the largest vocabulary that the settings allow; the real one depends on the environment."""
        return llama_config(self.config.size, self.config.size.vocab)

    def _make(self, demonstrations: Sequence[Demonstration], env_name: str, folder: Path) -> None:
        """Trains into ``folder``, which is complete once it exists."""
        _log.info(
            "training the tiny model for env=%s, once, for about a minute; it is cached in %s",
            env_name,
            folder,
        )
        model, made_tokenizer = warm_start(demonstrations, self.config.size, self.config.warm_start)
        hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            made_tokenizer.save_pretrained(draft)
            model.save_pretrained(draft)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _key(demonstrations: Sequence[Demonstration], config: Tiny.Config) -> str:
    """A hash of what determines the weights: demonstrations, settings, training code and libraries."""
    parts = {
        "demonstrations": [asdict(demonstration) for demonstration in demonstrations],
        "size": asdict(config.size),
        "warm_start": asdict(config.warm_start),
        "code": [Path(str(module.__file__)).read_text(encoding="utf-8") for module in (tokenizer, warmstart)],
        "libraries": [metadata.version(name) for name in ("torch", "transformers", "tokenizers")],
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
