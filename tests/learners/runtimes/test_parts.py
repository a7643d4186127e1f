"""Plug-ins declare their capabilities on the class, and these are read in one place."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from conf import ConfigError
from envs.types import Role
from learners.config import RunConfig
from learners.errors import TrainingError
from learners.generators.hf import Hf
from learners.run.run import train
from learners.run.trainer import Trainer
from learners.runtimes.base import Parts
from learners.runtimes.capabilities import generator_class, weights_class
from learners.runtimes.team import team_of
from tests.learners.parts.nowhere import Nowhere
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
    return dict(team_of(config, scenario).owners)


@pytest.mark.parametrize("role", ["", ".", "..", "a/b", "../../x", "a\0b", "ü" * 101])
def test_a_role_that_cannot_name_a_file_is_one_clear_line(role: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="env mine: a role cannot be called") as caught:
        names(config(tmp_path), "analyst", role)
    assert "\n" not in str(caught.value)


def test_any_other_name_of_a_role_will_do(tmp_path: Path) -> None:
    roles = ("a.b", "data scientist", "分析 é", "-x", "*", "step-1", "ü" * 100, "x.pt")
    assert names(config(tmp_path), *roles) == {role: role for role in roles}


class Closer:
    """A part that records that it was closed, and may fail to."""

    def __init__(self, name: str, closed: list[str], fails: bool = False) -> None:
        self.name, self.closed, self.fails = name, closed, fails

    def close(self) -> None:
        self.closed.append(self.name)
        if self.fails:
            raise RuntimeError(f"{self.name} cannot be closed")


@pytest.mark.parametrize("failing", ["generator", "sandboxes", "runtime"])
def test_every_part_is_closed_though_one_cannot_be(failing: str) -> None:
    closed: list[str] = []
    made: Any = {
        name: Closer(name, closed, name == failing) for name in ("generator", "sandboxes", "runtime")
    }
    parts = Parts(
        *(cast(Any, None), made["sandboxes"], cast(Any, None), {}, made["generator"]),
        *(cast(Any, None), made["runtime"]),
    )
    with pytest.raises(RuntimeError, match=f"{failing} cannot be closed"):
        parts.close()
    assert closed == ["generator", "sandboxes", "runtime"]


def test_a_part_that_cannot_be_closed_does_not_hide_why_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Hf, "close", Closer("generator", closed, fails=True).close)
    monkeypatch.setattr(Nowhere, "close", Closer("sandboxes", closed).close)
    monkeypatch.setattr(Trainer, "run", lambda _: (_ for _ in ()).throw(TrainingError("the run's own")))
    with pytest.raises(TrainingError, match="the run's own"):
        train(settings(tmp_path / "run"))
    assert closed == ["generator", "sandboxes"]
    assert "generator cannot be closed" in capsys.readouterr().out


@pytest.mark.parametrize("closing_fails", [False, True])
def test_a_learner_that_cannot_be_built_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing_fails: bool
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(Hf, "close", Closer("generator", closed, closing_fails).close)
    monkeypatch.setattr(Nowhere, "close", Closer("sandboxes", closed).close)

    def fail(*_: Any) -> None:
        raise ConfigError("the learner's own")

    monkeypatch.setattr("learners.runtimes.parts.build_learner", fail)
    with pytest.raises(ConfigError, match="the learner's own"):
        train(settings(tmp_path / "run"))
    assert closed == ["generator", "sandboxes"]
    assert not (tmp_path / "run").exists()
