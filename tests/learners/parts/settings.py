"""The configuration of a whole run made of the parts in this folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import conf

PARTS = "tests.learners.parts"


def settings(run_dir: Path, parts: Mapping[str, Any] | None = None, **changes: Any) -> DictConfig:
    """Returns two steps of four episodes of three agents with one turn each; ``parts`` replace its own."""
    model: Any = OmegaConf.to_container(conf.load("model", "tiny"))
    del model["style"], model["path"]
    small = {
        "name": f"{PARTS}.letters", "kind": "llama", "max_prompt_tokens": 160, "max_new_tokens": 8,
        "update_tokens": 512, "optimizer": {"lr": 0.01},
    }  # fmt: skip
    base = {
        "env": {"name": f"{PARTS}.chorus", "turns": 2, "dies": None},
        "coach": {"name": f"{PARTS}.vowels", "each": 2.0, "budget": None},
        "sandbox": {"name": f"{PARTS}.nowhere"},
        "model": OmegaConf.merge(model, small),
        "weights": conf.load("weights", "full"),
        "generator": conf.load("generator", "hf"),
        "runtime": conf.load("runtime", "local"),
        "algorithm": conf.load("algorithm", "reinforcepp", truncated="keep"),
        "steps": 2,
        "run_dir": str(run_dir),
        "rollout": {"tasks": 2, "episodes": 2, "max_lost": 0.9},
        "evaluation": {"every": 2, "tasks": 2, "episodes": 1},
        "checkpoint": {"every": 1},
    }
    whole: Any = OmegaConf.load(conf.ROOT / "config.yaml")
    del whole["defaults"], whole["hydra"]
    config = OmegaConf.merge(whole, base | dict(parts or {}), changes)
    assert isinstance(config, DictConfig)
    return config
