"""A run folder of an earlier version, which lacks settings that parts have got since, opens as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import conf
from conf import ConfigError
from learners.config import RunConfig
from learners.run.folder import CONFIG, open_folder, read_config
from tests.test_conf import composed


def older(folder: Path, *words: str, change: Callable[[Any], None]) -> None:
    """A run folder made by a version whose configuration was today's with a ``change``."""
    with open_folder(RunConfig.read(composed(*words, f"run_dir={folder}"))):
        pass
    written = OmegaConf.load(folder / CONFIG)
    change(written)
    OmegaConf.save(written, folder / CONFIG)


def without(path: str) -> Callable[[Any], None]:
    part, _, key = path.partition(".")
    return lambda config: config[part].pop(key)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["algorithm=reinforcepp"], "algorithm.deviation"),
        (["algorithm=grpo"], "algorithm.clip_high"),
        (["model=tiny"], "model.head_float32"),
        (["model=qwen3-4b"], "model.revision"),
        (["weights=adapter"], "weights.rank"),
        (["generator=hf"], "generator.max_batch"),
        (["rollout.tasks=2"], "rollout.staleness"),
    ],
)
def test_a_setting_that_a_run_does_not_have_yet_has_its_default(
    words: list[str], path: str, tmp_path: Path
) -> None:
    older(tmp_path / "run", *words, change=without(path))
    wanted = RunConfig.read(composed(*words, f"run_dir={tmp_path}/run", "resume=true"))
    found = RunConfig.read(read_config(tmp_path / "run"))
    assert OmegaConf.select(OmegaConf.create(found.container()), path) == OmegaConf.select(
        OmegaConf.create(wanted.container()), path
    )
    with open_folder(wanted) as folder:
        assert folder.path == tmp_path / "run"


@pytest.mark.parametrize(("model", "tokens"), [("tiny", 96), ("qwen3-4b", 4096)])
def test_what_agents_read_before_there_were_styles_stays_as_it_was(
    model: str, tokens: int, tmp_path: Path
) -> None:
    def change(config: Any) -> None:
        del config.env.style, config.env.reply_tokens
        config.model.pop("style", None)

    older(tmp_path / "run", f"model={model}", change=change)
    env = RunConfig.read(read_config(tmp_path / "run")).env
    assert (env.style, env.reply_tokens) == ("compact", tokens)


def test_a_new_setting_with_another_value_is_a_difference(tmp_path: Path) -> None:
    older(tmp_path / "run", "algorithm=reinforcepp", change=without("algorithm.deviation"))
    words = ("algorithm.deviation=sample", f"run_dir={tmp_path}/run", "resume=true")
    with pytest.raises(ConfigError, match=r"made with other settings.*algorithm\.deviation"):
        open_folder(RunConfig.read(composed(*words)))


def test_a_teaching_policy_that_its_own_machine_trained_is_refused_in_one_line(tmp_path: Path) -> None:
    def change(config: Any) -> None:
        config.model.warm_start = {"steps": 1000}

    older(tmp_path / "run", change=change)
    with pytest.raises(
        ConfigError, match=r"earlier version made the run, with model\.warm_start: "
    ) as caught:
        read_config(tmp_path / "run")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("then", "now"), [(True, "population"), (False, "false")])
def test_a_deviation_that_was_true_or_false_can_be_read(then: bool, now: str, tmp_path: Path) -> None:
    def change(config: Any) -> None:
        config.algorithm.deviation = then

    older(tmp_path / "run", "algorithm=grpo", change=change)
    algorithm = conf.build("learners", RunConfig.read(read_config(tmp_path / "run")).algorithm)
    assert algorithm.config.deviation == ("population" if then else False)
    words = ("algorithm=grpo", f"algorithm.deviation={now}", f"run_dir={tmp_path}/run", "resume=true")
    with open_folder(RunConfig.read(composed(*words))) as folder:
        assert folder.path == tmp_path / "run"


def test_the_settings_of_a_run_are_never_replaced_or_extended_from_within(tmp_path: Path) -> None:
    facts = {"model_type": "llama", "hidden_size": 7}
    node = {"name": "hub", "path": "x", "architecture": facts, "chat": {}}
    complete = conf.to_dict(conf.add_missing("model", node))
    assert {key: complete[key] for key in node} == node
    assert complete["max_prompt_tokens"] > 0
    assert conf.to_dict(conf.add_missing("algorithm", {"name": "mine.own", "a": 1})) == {
        "name": "mine.own",
        "a": 1,
    }


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_run_may_go_on_on_another_device(device: str, tmp_path: Path) -> None:
    def change(config: Any) -> None:
        config.model.device = "cuda:0"

    older(tmp_path / "run", change=change)
    words = (f"model.device={device}", f"run_dir={tmp_path}/run", "resume=true")
    with open_folder(RunConfig.read(composed(*words))) as folder:
        assert folder.path == tmp_path / "run"
