"""Every shipped YAML composes, names one plug-in and fits its types; every mistake is one clear line."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import DictConfig, OmegaConf

import conf
from coaches.base import judges_turns
from conf import ConfigError, commands
from learners.planning import assumptions

GROUPS = {
    "env": "envs",
    "coach": "coaches",
    "sandbox": "sandbox",
    "model": "learners.models",
    "weights": "learners.weights",
    "generator": "learners.generators",
    "runtime": "learners.runtimes",
    "algorithm": "learners",
}
"""Folder of ``conf`` -> the package whose modules its files name."""
RECORDS = {"hardware": "Hardware", "assume": "Assume"}
"""Folder of ``conf`` -> the record in ``learners.planning.assumptions`` that its files fill."""


def files(*groups: str) -> list[tuple[str, str]]:
    """(group, name) of every part's YAML in the groups."""
    return [(group, name) for group in groups for name in conf.names(group)]


def composed(*overrides: str) -> DictConfig:
    """What the command line would get."""
    return commands.compose(overrides)


def typed(group: str, node: DictConfig) -> Any:
    """The plug-in's ``Config`` made of ``node``, as ``conf.build`` makes it."""
    cls = conf.plugin_class(GROUPS[group], node.name)
    return conf.typed(cls.Config, {key: value for key, value in conf.to_dict(node).items() if key != "name"})


def config_classes(config: type) -> Iterator[type]:
    """A ``Config`` and the dataclasses beside it that its fields have as types.

    Records from elsewhere may have defaults of their own, for those who make them in Python.
    """
    yield config
    for hint in get_type_hints(config).values():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type) and hint.__module__ == config.__module__:
            yield from config_classes(hint)


def test_every_folder_of_conf_is_a_group_that_is_known() -> None:
    folders = {path.name for path in conf.ROOT.iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    assert folders == {*GROUPS, *RECORDS, "experiment"}


@pytest.mark.parametrize(("group", "name"), files(*RECORDS))
def test_records_of_plans_fit_their_types_and_are_not_part_of_a_run(group: str, name: str) -> None:
    record = getattr(assumptions, RECORDS[group])
    assert isinstance(conf.typed(record, composed(f"+{group}={name}")[group], group), record)
    assert group not in composed()


@pytest.mark.parametrize(("group", "name"), files(*GROUPS))
def test_a_shipped_part_composes_names_one_plug_in_and_fits_its_types(group: str, name: str) -> None:
    raw = (conf.ROOT / group / f"{name}.yaml").read_text(encoding="utf-8")
    first = next(line for line in raw.splitlines() if line.strip() and not line.startswith("#"))
    assert first.startswith("name: ")
    config = typed(group, composed(f"{group}={name}")[group])
    assert type(config).__name__ == "Config"


@pytest.mark.parametrize(("group", "name"), files(*GROUPS))
def test_values_are_in_the_yaml_and_have_no_default_in_python(group: str, name: str) -> None:
    cls = conf.plugin_class(GROUPS[group], conf.load(group, name).name)
    defaults = [
        f"{owner.__qualname__}.{field.name}"
        for owner in config_classes(cls.Config)
        for field in dataclasses.fields(owner)
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    ]
    assert defaults == []


@pytest.mark.parametrize("name", [name for _, name in files("experiment")])
def test_a_shipped_experiment_composes_and_all_its_parts_fit_their_types(name: str) -> None:
    config = composed(f"experiment={name}")
    for group in GROUPS:
        typed(group, config[group])
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def test_an_experiment_overrides_the_defaults_and_the_command_line_overrides_both() -> None:
    assert composed("experiment=smoke").steps == 3
    assert composed("experiment=smoke", "steps=5").steps == 5


def test_the_configuration_without_any_argument_is_complete() -> None:
    config = composed()
    assert (config.env.name, config.coach.name) == ("dsbench", "rules")
    OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize(("group", "package"), GROUPS.items())
def test_every_plug_in_has_a_yaml(group: str, package: str) -> None:
    folder = conf.ROOT.parent.joinpath(*package.split("."))
    named = {conf.load(group, name).name for _, name in files(group)}
    modules = [*folder.glob("*.py"), *folder.glob("*/__init__.py")]
    unnamed = {module_name(path) for path in modules if defines_plug_in(path)} - named
    assert unnamed == set()


def module_name(path: Path) -> str:
    return path.parent.name if path.name == "__init__.py" else path.stem


def defines_plug_in(path: Path) -> bool:
    """Whether a public class of the file has a nested ``Config``."""
    return any(
        isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and any(isinstance(inner, ast.ClassDef) and inner.name == "Config" for inner in node.body)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


@pytest.mark.parametrize(("group", "name"), files(*GROUPS, *RECORDS))
def test_reading_a_part_gives_what_the_command_line_composes(group: str, name: str) -> None:
    override = f"{'+' if group in RECORDS else ''}{group}={name}"
    alone, whole = conf.load(group, name), composed(override)[group]
    assert OmegaConf.to_container(alone) == OmegaConf.to_container(whole)  # interpolations unresolved


def test_a_base_is_inherited_and_is_not_a_part_itself() -> None:
    assert (conf.ROOT / "algorithm" / "base.yaml").is_file()
    assert "base" not in conf.names("algorithm")
    with pytest.raises(ConfigError, match="no algorithm called 'base'; there are: cispo, grpo"):
        conf.load("algorithm", "base")
    assert list(conf.load("algorithm", "grpo"))[:2] == ["name", "credit"]
    assert "defaults" not in conf.load("algorithm", "grpo")


def test_an_algorithm_from_outside_inherits_the_shared_settings_too(tmp_path: Path) -> None:
    """As with ``--config-dir``, which adds a folder to search."""
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / "mine.yaml").write_text("name: annex.mine\ndefaults: [base]\ngamma: 0.5\n")
    (tmp_path / "algorithm" / "dapo.yaml").write_text("defaults: [grpo]\nclip_high: 0.28\n")
    elsewhere = f"hydra.searchpath=[file://{tmp_path}]"
    shared = conf.to_dict(composed("algorithm=cispo").algorithm)
    mine = conf.to_dict(composed(elsewhere, "algorithm=mine").algorithm)
    assert mine == {key: shared[key] for key in mine} | {"name": "annex.mine", "gamma": 0.5}
    assert composed(elsewhere, "algorithm=dapo").algorithm == conf.load("algorithm", "grpo", clip_high=0.28)


def test_loading_an_unknown_part_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no coach called 'ruels': did you mean rules\?"):
        conf.load("coach", "ruels")


def test_an_override_of_an_unknown_setting_names_the_known_ones() -> None:
    assert conf.load("coach", "rules", repaired=7.5).repaired == 7.5
    with pytest.raises(ConfigError, match=r"coach=rules: .*no setting repared: did you mean repaired"):
        conf.load("coach", "rules", repared=7.5)


def test_a_nested_node_is_completed_from_its_own_yaml_at_any_depth() -> None:
    inner = {"name": "ensemble", "coaches": [{"name": "rules", "ran": 3.0}, {"name": "hindsight"}]}
    completed = conf.fill_defaults("coach", {"name": "balanced", "confidence": 0.9, "coach": inner})
    assert (completed.confidence, completed.factors) == (0.9, ["kind", "role", "length"])
    assert (completed.coach.combine, completed.coach.coaches[0].ran) == ("median", 3.0)
    assert completed.coach.coaches[0].partial.nan == conf.load("coach", "rules").partial.nan
    assert completed.coach.coaches[1].coach.delivered == conf.load("coach", "rules").delivered
    assert conf.fill_defaults("coach", completed) == completed
    with pytest.raises(ConfigError, match="no coach called 'ruels'"):
        conf.fill_defaults("coach", {"name": "balanced", "coach": {"name": "ruels"}})


def test_a_mapping_that_sets_some_values_keeps_the_defaults_of_the_others() -> None:
    completed = conf.fill_defaults("coach", {"name": "rules", "partial": {"nan": 0.9}})
    assert (completed.partial.nan, completed.partial.rows) == (0.9, conf.load("coach", "rules").partial.rows)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("audit", "counterfactual") else [])
        for _, name in files("coach")
    ],
)
def test_a_coach_can_be_wrapped_by_every_coach_that_wraps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is nested, the wrapper is built and judges turns or whole episodes, as declared."""
    monkeypatch.setenv("GEMINI_API_KEY", "none")
    scores = {"scores": [0.0, 10.0], "outcomes": [0.0, 1.0], "source": "x", "turns": 1, "tasks": 1}
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"version": 1, "ece_before": 0.0, "ece_after": 0.0} | scores))
    node = conf.load("coach", name)
    if "map" in node:
        node.map = str(path)
    wrappers: list[dict[str, object]] = [
        {"name": "balanced", "coach": node},
        {"name": "calibrated", "coach": node, "map": str(path)},
        {"name": "hindsight", "coach": node},
        {"name": "ensemble", "coaches": [node, {"name": "balanced", "coach": node}]},
    ]
    for inner in wrappers:
        expected = judges_turns(conf.build("coaches", conf.fill_defaults("coach", inner)))
        outers: list[dict[str, object]] = [
            {"name": "balanced", "coach": inner},
            {"name": "ensemble", "coaches": [inner, inner]},
        ]
        for outer in outers:
            built = conf.build("coaches", conf.fill_defaults("coach", outer))
            assert judges_turns(built) == expected


def test_the_command_line_chooses_the_nested_coach() -> None:
    named = composed("coach=balanced", "coach.coach.name=outcome", "coach.half_life=5")
    assert conf.fill_defaults("coach", named.coach).coach == {"name": "outcome"}
    added = composed("coach=balanced", "coach.coach.name=rules", "+coach.coach.ran=3")
    assert conf.fill_defaults("coach", added.coach).coach.ran == 3
    grafted = composed("coach=balanced", "+coach@coach.coach=hindsight", "coach.coach.revise=path")
    assert (grafted.coach.coach.name, grafted.coach.coach.revise) == ("hindsight", "path")
    listed = composed("coach=ensemble", "coach.coaches=[{name: rules}, {name: balanced, half_life: 3}]")
    assert conf.fill_defaults("coach", listed.coach).coaches[1].coach.name == "rules"


PART = """
from dataclasses import dataclass

class {name}:
    @dataclass
    class Config:
        strength: float

    def __init__(self, config, extra=None):
        self.config, self.extra = config, extra
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules outside the project."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_dotted_name_plugs_in_a_part_from_outside(outside: Path) -> None:
    (outside / "outer_one").mkdir()
    (outside / "outer_one" / "part.py").write_text(PART.format(name="Mine"))
    node = OmegaConf.create({"name": "outer_one.part", "strength": 2})
    built = conf.build("coaches", node, extra="more")
    assert (type(built).__name__, built.config.strength, built.extra) == ("Mine", 2.0, "more")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"strength": "much"}, "strength"),
        ({"strength": 1, "weight": 2}, "weight"),
        ({}, "strength"),
        ({"strength": "???"}, "strength"),
    ],
)
def test_an_invalid_setting_of_a_part_is_one_line_that_names_it(
    outside: Path, settings: dict[str, Any], complaint: str
) -> None:
    (outside / "outer_two").mkdir(exist_ok=True)
    (outside / "outer_two" / "part.py").write_text(PART.format(name="Mine"))
    with pytest.raises(ConfigError, match=complaint) as caught:
        conf.build("coaches", OmegaConf.create({"name": "outer_two.part", **settings}))
    assert "\n" not in str(caught.value)


def test_a_module_must_define_exactly_one_plug_in(outside: Path) -> None:
    (outside / "outer_three").mkdir()
    (outside / "outer_three" / "two.py").write_text(PART.format(name="A") + PART.format(name="B"))
    (outside / "outer_three" / "none.py").write_text("from coaches.rules import Rules\n")
    with pytest.raises(ConfigError, match=r"exactly one .* it has A, B"):
        conf.plugin_class("coaches", "outer_three.two")
    with pytest.raises(ConfigError, match=r"exactly one .* it has none"):
        conf.plugin_class("coaches", "outer_three.none")


def test_a_missing_module_is_the_user_s_mistake_and_a_missing_dependency_of_it_is_not(outside: Path) -> None:
    (outside / "outer_four").mkdir()
    (outside / "outer_four" / "needy.py").write_text("import a_library_nobody_has\n")
    with pytest.raises(ConfigError, match=r"no module 'coaches\.nobody'"):
        conf.plugin_class("coaches", "nobody")
    with pytest.raises(ModuleNotFoundError, match="a_library_nobody_has"):
        conf.plugin_class("coaches", "outer_four.needy")
