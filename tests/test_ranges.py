"""Every number of every YAML is tried with values that make no sense, and each is one line that names the setting."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
from omegaconf import OmegaConf

import conf
from conf import ConfigError
from learners.planning import assumptions
from tests.test_conf import GROUPS, RECORDS, files

NEVER: tuple[Any, ...] = ("nan", "inf", "-inf", float("nan"), float("inf"), "1e400", "", [1], {"a": 1}, True, "much")
"""What no number can be."""

NEGATIVE_IS_FINE: set[str] = set()
"""Numbers that may be below 0."""

ZERO_IS_FINE = {
    *(f"assume.usual.{key}" for key in ("tool_s", "coach_s", "coach_prompt", "coach_completion", "margin")),
    *(f"assume.usual.{key}" for key in ("process_gib", "context_gib", "engine_gib", "asleep_gib")),
    *(f"sandbox.{name}.pool" for name in ("local", "docker")),
    "env.mathchat.split_seed",
    "env.dsbench.fallback",
    "coach.random.seed",
    "coach.counterfactual.seed",
    "coach.counterfactual.tolerance",
    "coach.hindsight.guilty",
    "coach.hindsight.harmed",
    "coach.hindsight.implicated",
    "coach.hindsight.credited",
    "coach.ensemble.trim",
    "coach.llm.prices",
    "coach.llm.sizes",
    "coach.llm.endpoint.temperature",
    "coach.llm.endpoint.backoff",
    "coach.llm.endpoint.format_retries",
    "coach.rules",
    "generator.api.prices",
    "generator.api.endpoint.backoff",
    "generator.api.endpoint.format_retries",
    "generator.vllm.tolerance",
    "generator.vllm.drift",
    "runtime.ray.rollout_worker_cpus",
    "runtime.ray.learner_cpus",
    "runtime.ray.learner_gpus",
    "runtime.ray.engine_cpus",
    "runtime.ray.engine_gpus",
    "runtime.ray.episode_retries",
    "runtime.ray.restarts",
    "algorithm.*.gamma",
    "algorithm.*.truncated_penalty",
    "algorithm.*.icepop_low",
    "algorithm.*.kl_coef",
    "algorithm.*.clip_low",
    "algorithm.*.clip_high",
    "model.*.optimizer.lr",
    "model.*.optimizer.betas",
    "model.*.optimizer.weight_decay",
    "model.*.optimizer.warmup_steps",
    "model.tiny.warm_start.warmup",
    "model.tiny.warm_start.seed",
}
"""Numbers, or groups of them, that may be 0."""
OPEN = ("model.qwen3-4b.architecture", "model.r1-distill-qwen-1.5b.architecture", "model.qwen3-4b-thinking-2507.architecture")
"""Facts about a published model that are compared with its own ``config.json``."""


def numbers(node: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of all numbers in ``node``, those in lists too."""
    items = enumerate(node) if isinstance(node, list) else node.items()
    for key, value in items:
        where = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict | list):
            yield from numbers(value, where)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield where


@lru_cache
def shipped(group: str, name: str) -> dict[str, Any]:
    return conf.to_dict(conf.load(group, name))


PLACES = [
    (group, name, path)
    for group, name in files(*GROUPS, *RECORDS)
    for path in numbers(shipped(group, name))
    if not f"{group}.{name}.{path}".startswith(OPEN)
]


def check(group: str, name: str, path: str, value: Any) -> str | None:
    """The mistake that is reported for ``value`` at ``path``; None if there is none."""
    node = OmegaConf.create(copy.deepcopy(shipped(group, name)))
    OmegaConf.update(node, path, value, merge=False)
    try:
        if group in RECORDS:
            conf.typed(getattr(assumptions, RECORDS[group]), conf.to_dict(node), group)
        else:
            conf.check(GROUPS[group], node)
    except ConfigError as error:
        assert "\n" not in str(error)
        return str(error)
    return None


def is_fine(listed: set[str], group: str, name: str, path: str) -> bool:
    places = {f"{group}.{name}.{path}", f"{group}.*.{path}"}
    return any(place == one or place.startswith(f"{one}.") for place in places for one in listed)


@pytest.mark.parametrize(("group", "name", "path"), PLACES)
def test_a_number_that_makes_no_sense_is_one_line_that_names_it(group: str, name: str, path: str) -> None:
    key = [part for part in path.split(".") if not part.isdigit()][-1]
    for value in NEVER:
        found = check(group, name, path, value)
        assert found is not None, f"{value!r} is accepted"
        assert key in found
    for value, listed in ((-1, NEGATIVE_IS_FINE), (0, ZERO_IS_FINE)):
        found = check(group, name, path, value)
        if is_fine(listed, group, name, path):
            assert found is None
        else:
            assert found is not None, f"{value} is accepted"
            assert key in found


@pytest.mark.parametrize(("group", "name", "path"), PLACES)
def test_null_is_refused_where_the_yaml_does_not_offer_it(group: str, name: str, path: str) -> None:
    found = check(group, name, path, None)
    optional = {
        "model.tiny": (),
        "runtime.local": ("torch_threads",),
        "runtime.ray": ("torch_threads",),
        "coach.balanced": ("half_life",),
        "coach.llm": ("endpoint.temperature",),
    }.get(f"{group}.{name}", ())
    if path in optional:
        assert found is None
    else:
        assert found is not None


@pytest.mark.parametrize("path", ["optimizer.lr", "size.hidden", "warm_start.batch"])
def test_a_nested_setting_is_named_by_its_whole_path(path: str) -> None:
    found = check("model", "tiny", path, -1)
    assert found is not None
    assert path in found
    assert "not -1" in found
