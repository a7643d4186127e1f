"""Every setting of a run is checked before anything is loaded, and each mistake is one line that names it."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import DictConfig, OmegaConf

import conf
from conf import ConfigError, commands
from learners.config import PARTS, RunConfig, RunSettings


@lru_cache
def composed() -> DictConfig:
    """The configuration of a run without any override."""
    return commands.compose([])


def settings(cls: type = RunSettings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted names of a run's settings, with their types; a group of settings comes after its members."""
    for name, hint in get_type_hints(cls).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from settings(hint, f"{prefix}{name}.")
        yield f"{prefix}{name}", hint


SETTINGS = dict(settings())


def changed(values: dict[str, Any]) -> DictConfig:
    config = copy.deepcopy(composed())
    OmegaConf.set_struct(config, False)
    for key, value in values.items():
        OmegaConf.update(config, key, value, merge=False, force_add=True)
    return config


def mistake(config: DictConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        RunConfig.read(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_shipped_values_are_valid_and_written_as_they_were_composed() -> None:
    config = RunConfig.read(composed())
    assert OmegaConf.to_yaml(OmegaConf.create(config.container())) == OmegaConf.to_yaml(
        composed(), resolve=True
    )
    assert [*config.container()] == [*composed()]


def test_every_setting_of_the_yaml_has_a_type_and_the_other_way_round() -> None:
    parts = (*PARTS, "team")  # a team has parts again
    own = OmegaConf.masked_copy(composed(), [str(key) for key in composed() if key not in parts])

    def leaves(node: DictConfig, prefix: str = "") -> Iterator[str]:
        for key, value in node.items():
            yield f"{prefix}{key!s}"
            if isinstance(value, DictConfig):
                yield from leaves(value, f"{prefix}{key!s}.")

    assert set(leaves(own)) == set(SETTINGS)


@pytest.mark.parametrize("key", SETTINGS)
def test_a_missing_setting_is_named(key: str) -> None:
    assert mistake(changed({key: "???"})) == f"{key} must be set"


@pytest.mark.parametrize(
    "group", ["", *(key for key, hint in SETTINGS.items() if dataclasses.is_dataclass(hint))]
)
def test_an_unknown_setting_is_named(group: str) -> None:
    key = f"{group}.tusks".lstrip(".")
    assert mistake(changed({key: 3})).startswith(f"there is no setting {key}")


WRONG = {int: ("much", 1.5, True, [1], {"a": 1}), float: ("much", True, [1.0]), bool: (2, "perhaps", [True])}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (key, value)
        for key, hint in SETTINGS.items()
        for kind, values in {**WRONG, str: (True, ["a"], {"a": 1})}.items()
        if hint in (kind, kind | None)
        for value in (*values, *(() if hint != kind else (None,)))
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_what_is_expected(key: str, value: Any) -> None:
    assert mistake(changed({key: value})).startswith(f"{key} must be ")


@pytest.mark.parametrize("group", ["rollout", "evaluation", "checkpoint", "record", "wandb", *PARTS])
@pytest.mark.parametrize("value", [3, "all", [1], None])
def test_a_value_in_place_of_a_group_is_named(group: str, value: Any) -> None:
    assert group in mistake(changed({group: value}))


@pytest.mark.parametrize("name", [None, 3, "???", ["a"]])
def test_a_part_without_a_name_is_refused(name: Any) -> None:
    assert mistake(changed({"env.name": name})).startswith("env.name must be the name of a module")


OUT_OF_RANGE: list[tuple[str, Any, str]] = [
    *((f"rollout.{key}", 0, "at least 1") for key in ("tasks", "episodes", "concurrency", "groups")),
    *((f"evaluation.{key}", 0, "at least 1") for key in ("tasks", "episodes")),
    *((f"checkpoint.{key}", 0, "at least 1") for key in ("every", "keep")),
    *((key, -1, "at least 0") for key in ("seed", "steps", "evaluation.every", "evaluation.temperature")),
    *(
        (key, 10**30, "at most")
        for key, hint in SETTINGS.items()
        if hint in (int, int | None) and "stal" not in key
    ),
    *(
        (key, value, "must be")
        for key, hint in SETTINGS.items()
        if hint is float
        for value in ("nan", "inf", "-inf")
    ),
    *(("rollout.max_lost", value, "must be at") for value in (-0.1, 1.1)),
    *(("rollout.temperature", value, "must be") for value in (0, 0.7, 2)),
    *(("rollout.staleness", value, "must be 0 or 1") for value in (-1, 2)),
    ("policies", "foo", "must be independent or shared, not 'foo'"),
    ("wandb.mode", "foo", "must be disabled, offline or online, not 'foo'"),
    *((key, " ", "must not be empty") for key in ("run_dir", "evaluation.run", "wandb.project")),
    ("evaluation.run", "runs/x", "names weights to evaluate, not to train: set steps=0"),
]


@pytest.mark.parametrize(("key", "value", "reason"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_named_with_the_range(key: str, value: Any, reason: str) -> None:
    message = mistake(changed({key: value}))
    assert message.startswith(key)
    assert reason in message


def test_the_issue_s_example_is_worded_so() -> None:
    assert mistake(changed({"checkpoint.every": 0})) == "checkpoint.every must be at least 1, not 0"


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0, "rollout.temperature": 0.7},
        {"steps": 0, "evaluation.run": "runs/x"},
        {"evaluation.every": 0},
        {"evaluation.tasks": None},
        {"evaluation.temperature": 0},
        {"run_dir": 3},
        {"rollout.tasks": "4"},
        {"seed": 2**63 - 1},
        {"rollout.max_lost": 1},
    ],
)
def test_what_makes_sense_is_accepted(values: dict[str, Any]) -> None:
    RunConfig.read(changed(values))


def test_interpolations_are_resolved_and_nested_coaches_completed() -> None:
    config = changed(
        {"coach": {"name": "balanced", "confidence": "${rollout.max_lost}", "coach": {"name": "rules"}}}
    )
    coach = RunConfig.read(config).coach
    assert coach.confidence == 0.5
    assert coach.coach.delivered == conf.load("coach", "rules").delivered


def test_an_interpolation_that_cannot_be_resolved_is_named() -> None:
    assert mistake(changed({"coach.ran": "${nowhere.such}"})).startswith("coach.ran: Interpolation key")


def test_reading_a_configuration_loads_no_torch_and_writes_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from omegaconf import OmegaConf; from learners.config import RunConfig\n"
        "RunConfig.read(OmegaConf.load('c.yaml')); print('torch' in sys.modules)"
    )
    OmegaConf.save(composed(), tmp_path / "c.yaml")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(conf.ROOT.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
    assert [path.name for path in tmp_path.iterdir()] == ["c.yaml"]
