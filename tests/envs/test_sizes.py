"""Files that do not fit into a sandbox are one line before anything is played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import conf
import envs
from conf import ConfigError
from conf.commands import compose
from envs.pipeline import PipelineEnv
from learners.config import RunConfig
from learners.rollout.worker import LocalRolloutWorker
from learners.runtimes import parts
from sandbox.base import LimitChanges, Limits
from tests.envs.dsbench.tables import write_table
from tests.fakes import FakeBackend, FakeScenario

ROWS = [f"{n},{n % 7},{n * n % 11}.5" for n in range(20)]


class Small(FakeBackend):
    limits = replace(Limits(), file_mb=1, disk_mb=2)


def sparse(path: Path, megabytes: float) -> Path:
    with path.open("wb") as file:
        file.truncate(int(megabytes * 2**20))
    return path


def refused(scenario: FakeScenario, backend: FakeBackend) -> str:
    """What both places where a scenario meets a backend say, and that no sandbox was opened."""
    messages = set()
    for meet in (
        lambda: PipelineEnv(scenario, backend).reset(seed=0),
        lambda: LocalRolloutWorker(scenario, backend, None, {}, deferred=False),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError) as error:
            meet()
        messages.add(str(error.value).partition(": ")[2])
    assert not backend.opened
    (message,) = messages
    assert "\n" not in message
    return message


def test_a_file_that_is_too_large_names_its_size_and_the_setting(tmp_path: Path) -> None:
    path = sparse(tmp_path / "train.csv", 1.5)
    message = refused(FakeScenario(files={"train.csv": path}), Small())
    assert message == (
        f"{path} has 1.5 MB, but a sandbox takes files of at most 1 MB: set env.limits.file_mb=2 or more, "
        "and disk_mb and memory_mb to match"
    )


def test_files_that_are_too_large_together_name_the_disk(tmp_path: Path) -> None:
    files = {f"{name}.csv": sparse(tmp_path / name, 0.9) for name in "abc"}
    message = refused(FakeScenario(files=files), Small())
    assert message.startswith(
        "its files a.csv, b.csv, c.csv have 2.7 MB together, but the disk of a sandbox has"
    )
    assert "set env.limits.disk_mb to more than 3" in message


def test_a_file_that_is_gone_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(FakeScenario(files={"a": tmp_path / "a"}), Small())


def test_a_scenario_with_limits_of_its_own_fits(tmp_path: Path) -> None:
    scenario = FakeScenario(files={"train.csv": sparse(tmp_path / "train.csv", 1.5)})
    scenario.limits = LimitChanges(file_mb=2)  # type: ignore[attr-defined]
    backend = Small()
    env = PipelineEnv(scenario, backend)
    env.reset(seed=0)
    env.step("```python\n1\n```")
    assert backend.opened[0].spec.limits == replace(Small.limits, file_mb=2)
    with pytest.raises(ConfigError):
        PipelineEnv(scenario, backend, limits=Small.limits).reset(seed=0)


def test_a_large_table_is_refused_when_the_environment_is_made(tmp_path: Path) -> None:
    write_table(tmp_path, rows=ROWS)
    with (tmp_path / "train.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{n},{'7' * 1000},1.5\n" for n in range(100, 1700))
    settings: dict[str, Any] = {"source": "local", "root": str(tmp_path)}
    with pytest.raises(
        ConfigError, match=r"task mine: .*train.csv has 1\.\d MB, .* env.limits.file_mb=2 or more"
    ):
        envs.make("dsbench", sandbox=Small(), **settings)
    env = envs.make("dsbench", sandbox=Small(), limits={"file_mb": 2}, **settings)
    env.reset(seed=0)
    env.step("```python\nimport os\nprint(os.path.getsize('train.csv') >> 20)\n```")
    assert env.turns[0].result is not None
    assert env.turns[0].result.stdout == "1\n"


def test_a_run_says_so_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train", "heldout"):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name, rows=ROWS, id=name, split=name)
    with (tmp_path / "heldout" / "train.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{n},{'7' * 1000},1.5\n" for n in range(100, 1700))
    words = ["env=dsbench", "env.source=local", f"env.root={tmp_path}", "env.limits.file_mb=1"]
    config = RunConfig.read(compose([*words, "sandbox=local", "sandbox.allow_unisolated=true"]))
    monkeypatch.setattr(parts, "load_weights", None)
    with pytest.raises(ConfigError, match=r"task heldout: .*train.csv has 1\.\d MB"):
        parts.assemble(config, None)  # type: ignore[arg-type]


def test_the_papers_experiment_has_limits_that_fit_dsbench() -> None:
    config = compose(["experiment=paper_dsbench_4b", "env.source=bundled"])
    scenario = conf.build("envs", config.env)
    limits = scenario.limits.apply(Limits())
    assert limits.file_mb >= 1000
    assert limits.disk_mb >= 4 * limits.file_mb
    assert limits.memory_mb >= 4 * limits.file_mb
