"""A Llama of 0.8 million parameters, made here in about a minute: a bare machine has something to train.

It is a teaching policy and no language model. It has seen a few thousand sampled demonstrations of mixed
quality for the roles of one environment, reads the ``## `` headings of a chat and nothing else, and knows no
other words than those of its scripts. What it does not know is which habits fit which task: that is left to
reinforcement.
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
from transformers.utils import logging as hf_logging

from conf import ConfigError, cache_dir
from learners.models.hub import from_pretrained
from learners.models.tiny_policy import tokenizer, warmstart
from learners.models.tiny_policy.demonstrations import Demonstration, collect
from learners.models.tiny_policy.warmstart import Size, WarmStart, warm_start
from learners.types import LoadedModel, ModelConfig

_log = logging.getLogger(__name__)


class Tiny:
    """One base for each environment, the same for every agent and every ``seed``, as a published one is."""

    @dataclass
    class Config(ModelConfig):
        size: Size
        warm_start: WarmStart

    def __init__(self, config: Config) -> None:
        self.config = config

    def load(self, env_name: str, seed: int) -> LoadedModel:
        """The warm-started base, from the cache or made now; several processes may ask at once.

        Raises:
            ConfigError: there are no demonstrations for this environment, or the cache cannot be written.
        """
        settings = self.config.warm_start
        shown = collect(env_name, settings.demonstrations, settings.seed)
        folder = cache_dir() / f"tiny-{env_name}-{_key(shown, self.config)}"
        if not folder.is_dir():
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(folder.with_suffix(".lock")):  # the first one trains, the others wait
                    if not folder.is_dir():
                        self._make(shown, env_name, folder)
            except OSError as error:
                raise ConfigError(
                    f"the model cache cannot be written: {error} (set COACHGYM_CACHE)"
                ) from error
        return from_pretrained(folder, self.config)

    def _make(self, shown: Sequence[Demonstration], env_name: str, folder: Path) -> None:
        """Trains into ``folder``, which appears whole or not at all."""
        _log.info(
            "making the tiny model for env=%s: once, about a minute; it is kept in %s", env_name, folder
        )
        model, made = warm_start(shown, self.config.size, self.config.warm_start)
        hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            made.save_pretrained(draft)
            model.save_pretrained(draft)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _key(shown: Sequence[Demonstration], config: Tiny.Config) -> str:
    """A hash of all that decides the weights: demonstrations, settings, code that trains, libraries."""
    parts = {
        "demonstrations": [asdict(one) for one in shown],
        "size": asdict(config.size),
        "warm_start": asdict(config.warm_start),
        "code": [Path(str(module.__file__)).read_text(encoding="utf-8") for module in (tokenizer, warmstart)],
        "libraries": [metadata.version(name) for name in ("torch", "transformers", "tokenizers")],
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
