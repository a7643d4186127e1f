"""An export is what the run trained, and loads without this project."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import conf
import envs
from learners import export
from learners.config import RunConfig
from learners.run.run import train
from learners.runtimes.parts import load_weights
from learners.runtimes.team import team_of
from learners.weights.full import FullWeights
from tests.learners.doubles import loaded_model

IDS = torch.arange(12)[None] % 40


@pytest.fixture
def base(tmp_path: Path) -> Path:
    loaded = loaded_model()
    loaded.model.save_pretrained(tmp_path / "base")
    loaded.tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def config(base: Path, way: str) -> DictConfig:
    overrides = [
        "env=mathchat",
        "experiment=smoke",
        "steps=0",
        "evaluation.every=0",
        "model=qwen3-4b",
        f"model.path={base}",
        "model.architecture=null",
        "model.autocast=false",
        "model.device=cpu",
        "model.max_prompt_tokens=100",
        "model.max_new_tokens=20",
        f"weights={way}",
        f"run_dir={base.parent / 'run'}",
    ]
    with initialize_config_dir(str(conf.ROOT), version_base="1.3"):
        return compose("config", overrides)


def checkpoint(run: Path) -> Path:
    """The folder of a run's checkpoint, created if the run has none because it had no steps."""
    path = run / "checkpoints" / "step-000000"
    path.mkdir(parents=True, exist_ok=True)
    (path / "state.json").write_text(json.dumps({"step": 0, "sizes": {}, "coach": {}, "monitor": {}}))
    return path


def trained(base: Path, way: str) -> dict[str, torch.Tensor]:
    """Logits of every policy of a run whose weights were changed."""
    made = config(base, way)
    run = train(made)
    logits = {}
    read, scenario = RunConfig.read(made), envs.make("mathchat").scenario
    weights = load_weights(read, scenario, team_of(read, scenario).local, reference=False)
    for number, (name, own) in enumerate(weights.items()):
        with torch.no_grad(), own.active() as loaded:
            torch.manual_seed(number)
            for parameter in own.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            logits[name] = loaded.model(IDS).logits
        torch.save({"weights": own.state()}, checkpoint(run) / f"{name}.pt")
    assert len(logits) == 3
    return logits


@pytest.mark.parametrize("way", ["full", "adapter"])
def test_every_policy_becomes_a_folder_that_loads_elsewhere(tmp_path: Path, base: Path, way: str) -> None:
    wanted = trained(base, way)
    export.main([str(tmp_path / "run"), str(tmp_path / "out")])
    for name, logits in wanted.items():
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / name)
        with torch.no_grad():
            torch.testing.assert_close(model(IDS).logits, logits, atol=1e-4, rtol=1e-4)
        tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out" / name)
        assert tokenizer.chat_template == loaded_model().tokenizer.chat_template


@pytest.mark.parametrize("way", ["full", pytest.param("adapter", marks=pytest.mark.slow)])
def test_a_run_of_a_gpu_is_exported_on_a_cpu(
    tmp_path: Path, base: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
        wanted = trained(base, way)
    made = OmegaConf.load(tmp_path / "run" / "config.yaml")
    made.model.device = "cuda:0"
    OmegaConf.save(made, tmp_path / "run" / "config.yaml")
    export.main([str(tmp_path / "run"), str(tmp_path / "out")])
    for name, logits in wanted.items():
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / name)
        with torch.no_grad():
            torch.testing.assert_close(model(IDS).logits, logits, atol=1e-4, rtol=1e-4)


def test_adapters_alone_load_on_their_base(tmp_path: Path, base: Path) -> None:
    wanted = trained(base, "adapter")
    export.main([str(tmp_path / "run"), str(tmp_path / "out"), "--adapters"])
    for name, logits in wanted.items():
        model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), tmp_path / "out" / name)
        with torch.no_grad():
            torch.testing.assert_close(model(IDS).logits, logits, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_exported_is_one_clear_line(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        export.main([str(tmp_path), str(tmp_path / "out")])
    assert "is not a run folder" in capsys.readouterr().err
    run = train(config(base, "full"))
    with pytest.raises(SystemExit, match="2"):
        export.main([str(run), str(tmp_path / "out")])
    assert "has no checkpoint yet" in capsys.readouterr().err
    checkpoint(run)
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        export.main([str(run), str(tmp_path / "busy")])
    assert "is not an empty folder" in capsys.readouterr().err


def test_adapters_of_whole_weights_are_refused_before_anything_is_loaded(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config(base, "full"))
    checkpoint(run)
    for file in base.iterdir():
        file.unlink()
    with pytest.raises(SystemExit, match="2"):
        export.main([str(run), str(tmp_path / "out"), "--adapters"])
    error = capsys.readouterr().err
    assert "has whole weights (weights=full), not adapters: leave out --adapters" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_leaves_nothing_behind(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(base, "full")

    def full(self: FullWeights, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
        if self.name != "problem_solver":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FullWeights, "save_merged", full)
    with pytest.raises(SystemExit, match="2"):
        export.main([str(tmp_path / "run"), str(tmp_path / "out")])
    assert "out cannot be written: No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        export.main([str(tmp_path / "run"), str(tmp_path / "file" / "out")])
    assert "cannot be written" in capsys.readouterr().err
