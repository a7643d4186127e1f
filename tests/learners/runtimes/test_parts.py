"""Plug-ins declare their capabilities on the class, and these are read in one place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from conf import ConfigError
from envs.types import Role
from learners.config import RunConfig
from learners.runtimes.parts import generator_class, policy_names, weights_class
from tests.learners.parts.settings import settings


def plugin_module(monkeypatch: pytest.MonkeyPatch, **capabilities: Any) -> str:
    """Makes a module with a plug-in class that declares ``capabilities``; returns its name."""

    @dataclass
    class Config:
        pass

    name = "tests.learners.parts.declared"
    module = ModuleType(name)
    vars(module)["Declared"] = type("Declared", (), {"Config": Config, "__module__": name, **capabilities})
    monkeypatch.setitem(sys.modules, name, module)
    return name


def config(tmp_path: Path, **parts: Any) -> RunConfig:
    return RunConfig.read(settings(tmp_path / "run", parts))


def test_the_shipped_plug_ins_declare_what_they_can_do(tmp_path: Path) -> None:
    for name, trains, lockstep in (("hf", True, True), ("vllm", True, False), ("api", False, False)):
        declared = generator_class(config(tmp_path, generator={"name": name}))
        assert (declared.trains, declared.lockstep) == (trains, lockstep)
    for name, shares in (("full", False), ("adapter", True)):
        assert weights_class(config(tmp_path, weights={"name": name})).shares_base is shares


def test_a_plug_in_that_declares_nothing_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = plugin_module(monkeypatch, trains=True)
    with pytest.raises(ConfigError, match="the class Declared must set lockstep to True or False") as caught:
        generator_class(config(tmp_path, generator={"name": name}))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="must set shares_base to True or False"):
        weights_class(config(tmp_path, weights={"name": name}))


def names(config: RunConfig, *roles: str) -> dict[str, str]:
    scenario: Any = SimpleNamespace(name="mine", roles=[Role(name, "", 1) for name in roles])
    return policy_names(config, scenario)


@pytest.mark.parametrize("role", ["", ".", "..", "a/b", "../../x", "a\0b", "ü" * 101])
def test_a_role_that_cannot_name_a_file_is_one_clear_line(role: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="env mine: a role cannot be called") as caught:
        names(config(tmp_path), "analyst", role)
    assert "\n" not in str(caught.value)


def test_any_other_name_of_a_role_will_do(tmp_path: Path) -> None:
    roles = ("a.b", "data scientist", "分析 é", "-x", "*", "step-1", "ü" * 100, "x.pt")
    assert names(config(tmp_path), *roles) == {role: role for role in roles}
