"""A run is named after its algorithm and the models that really play."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

import conf
from learners.config import PARTS, RunConfig
from learners.runtimes.naming import folder_name, title

QWEN = {"name": "hub", "path": "Qwen/Qwen3-4B"}
SERVED = {"name": "api", "endpoint": {"model": "some/gpt-4.1:latest"}}
USUAL = {
    "env": "dsbench", "coach": "rules", "sandbox": "auto", "model": "tiny", "weights": "full",
    "generator": "hf", "runtime": "local", "algorithm": "reinforcepp",
}  # fmt: skip


def config(**changes: Any) -> RunConfig:
    whole: Any = OmegaConf.load(conf.ROOT / "config.yaml")
    del whole["defaults"], whole["hydra"]
    parts = {group: {"name": USUAL[group]} for group in PARTS}
    return RunConfig.read(OmegaConf.merge(whole, parts, changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "reinforcepp-tiny-rules-seed0"),
        ({"algorithm": {"name": "my.own.grpo"}, "seed": 3}, "grpo-tiny-rules-seed3"),
        ({"model": QWEN}, "reinforcepp-Qwen3-4B-rules-seed0"),
        ({"model": QWEN | {"path": "/data/Qwen 3 [new]/"}}, "reinforcepp-Qwen_3_new_-rules-seed0"),
        ({"team": {"a": {"model": {"name": "toy"}}}}, "reinforcepp-tiny+toy-rules-seed0"),
        ({"team": {"a": {"model": {"optimizer": {"lr": 1.0}}}}}, "reinforcepp-tiny-rules-seed0"),
        ({"team": {"a": {"generator": SERVED}}}, "reinforcepp-tiny+gpt-4.1_latest-rules-seed0"),
        ({"steps": 0}, "evaluation-tiny-rules-seed0"),
        ({"steps": 0, "evaluation": {"run": "runs/x"}}, "evaluation-reinforcepp-tiny-rules-seed0"),
        ({"steps": 0, "generator": SERVED}, "evaluation-gpt-4.1_latest-rules-seed0"),
        (
            {"steps": 0, "generator": SERVED | {"models": {"a": "../b"}}},
            "evaluation-gpt-4.1_latest+b-rules-seed0",
        ),
    ],
)
def test_a_folder_is_named_after_what_plays_in_it(changes: dict[str, Any], name: str) -> None:
    assert folder_name(config(**changes)) == name


def test_a_long_name_of_a_model_is_cut_so_that_it_can_be_a_folders() -> None:
    assert len(folder_name(config(model=QWEN | {"path": f"x/{'é' * 300}"})).encode()) < 200


def test_a_title_names_each_model_once() -> None:
    assert title(config(), ["tiny", "toy", "tiny"]) == "reinforcepp, tiny + toy"
    assert title(config(steps=0), ["tiny"]) == "tiny"
