"""Every number of every YAML is tried with values that make no sense; each is one line that names it."""

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

NEVER: tuple[Any, ...] = ("nan", float("-inf"), "1e400", "", [1], True)
"""What no number can be."""

NEGATIVE_IS_FINE = {"coach.biased.points"}
"""Numbers that may be below 0."""

ENDPOINT_ZEROS = ("temperature", "backoff", "format_retries")
ZERO_IS_FINE = {
    *(f"assume.usual.{key}" for key in ("tool_s", "coach_s", "coach_prompt", "coach_completion")),
    *(f"assume.usual.{key}" for key in ("margin", "row_deviation")),
    *(f"assume.usual.{key}" for key in ("process_gib", "context_gib", "engine_gib", "asleep_gib")),
    *(f"sandbox.{name}.pool" for name in ("local", "docker")),
    "env.mathchat.split_seed",
    "env.mathchat.sample_seed",
    "env.*.output_chars",
    *(
        f"env.dsbench.synthetic.{key}"
        for key in ("seed", "train", "heldout", "missing", "categories", "dates")
    ),
    *(f"env.dsbench.synthetic.{key}" for key in ("leaks", "imbalance", "noise")),
    "coach.random.seed",
    "coach.biased.points",
    *(f"coach.audit.{key}" for key in ("proof", "further", "guess", "harmed", "attempt")),
    "coach.counterfactual.seed",
    "coach.learned.blame",
    "coach.counterfactual.tolerance",
    "coach.hindsight.guilty",
    "coach.hindsight.harmed",
    "coach.hindsight.implicated",
    "coach.hindsight.credited",
    "coach.ensemble.trim",
    *(f"coach.origin.{key}" for key in ("first", "action", "talk", "later", "unsupported")),
    *(
        f"coach.{name}.{key}"
        for name in ("llm", "paper_mathchat", "paper_dsbench")
        for key in ("prices", "sizes", *(f"endpoint.{one}" for one in ENDPOINT_ZEROS))
    ),
    *(
        f"coach.rules.{key}"
        for key in conf.to_dict(conf.load("coach", "rules"))
        if key not in ("name", "plan_chars")
    ),
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
}
"""Numbers, or groups of them, that may be 0."""
OPEN = (
    *(
        f"model.{name}.architecture"
        for name in ("qwen3-4b", "qwen3-4b-thinking-2507", "r1-distill-qwen-1.5b")
    ),
    "env.dsbench.fallback",
)
"""Facts about a published model, compared with its own ``config.json``; and scores in units of a metric."""


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


PLACES = {
    (group, path): (group, name, path)
    for group, name in files(*GROUPS, *RECORDS)
    for path in numbers(shipped(group, name))
    if not f"{group}.{name}.{path}".startswith(OPEN)
}
"""A setting that parts of a group share is tried in one of them: its type is in a class that they share."""


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
        return str(error)
    return None


def is_fine(listed: set[str], group: str, name: str, path: str) -> bool:
    places = {f"{group}.{name}.{path}", f"{group}.*.{path}"}
    return any(place == one or place.startswith(f"{one}.") for place in places for one in listed)


@pytest.mark.parametrize(("group", "name", "path"), PLACES.values())
def test_a_number_that_makes_no_sense_is_one_line_that_names_it(group: str, name: str, path: str) -> None:
    key = [part for part in path.split(".") if not part.isdigit()][-1]
    for value in NEVER:
        found = check(group, name, path, value)
        assert found is not None, f"{value!r} is accepted"
        assert key in found
        assert "\n" not in found
    for value, listed in ((-1, NEGATIVE_IS_FINE), (0, ZERO_IS_FINE)):
        found = check(group, name, path, value)
        if is_fine(listed, group, name, path):
            assert found is None
        else:
            assert found is not None, f"{value} is accepted"
            assert f"{key} must be " in found or f"{key}.{path.rpartition('.')[2]} must be " in found


@pytest.mark.parametrize(("group", "name", "path"), PLACES.values())
def test_null_is_refused_where_the_yaml_does_not_offer_it(group: str, name: str, path: str) -> None:
    optional = {("runtime", "torch_threads"), ("coach", "half_life"), ("coach", "endpoint.temperature")}
    assert (check(group, name, path, None) is None) == ((group, path) in optional)


@pytest.mark.parametrize("path", ["optimizer.lr", "size.hidden"])
def test_a_nested_setting_is_named_by_its_whole_path(path: str) -> None:
    found = check("model", "toy", path, -1)
    assert found is not None
    assert path in found
    assert "not -1" in found
