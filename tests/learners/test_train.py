"""The training command line, in real processes; and in this one where a line is all that a test looks at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from conf import ROOT
from conf.commands import with_default
from learners import train

Learn = Callable[..., CompletedProcess[str]]
SMOKE = ("experiment=smoke",)


def learn(*arguments: str, cwd: Path = ROOT.parent, **variables: str) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "learners.reinforcepp", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent)} | variables
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def assert_one_line(done: CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.fixture
def learn_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Learn:
    """``learn`` without a process of its own, which would spend eight seconds of CPU time on imports."""

    def run(*arguments: str, cwd: Path = ROOT.parent, **variables: str) -> CompletedProcess[str]:
        code = 0
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["learners", *arguments])
            for name, value in variables.items():
                patch.setenv(name, value)
            capfd.readouterr()
            try:
                train.main("reinforcepp")
            except SystemExit as ended:
                code = int(ended.code or 0)
        return CompletedProcess(arguments, code, *capfd.readouterr())

    return run


def test_help_and_cfg_are_hydras_own() -> None:
    assert "== Configuration groups ==" in learn("--help").stdout
    shown = learn("--cfg", "job", "steps=7").stdout
    assert "steps: 7" in shown
    assert "algorithm" in shown


def test_settings_may_come_before_or_after_options() -> None:
    for words in (
        ["x", "env=a", "--cfg", "job"],
        ["x", "--cfg", "job", "env=a"],
        ["x", "~env", "--cfg", "job"],
    ):
        place = next(n for n, word in enumerate(words) if "env" in word) + 1
        assert with_default(words, "algorithm", "b") == [*words[:place], "algorithm=b", *words[place:]]
    assert with_default(["x", "--help"], "algorithm", "b") == ["x", "--help", "algorithm=b"]
    assert with_default(["x", "algorithm=c"], "algorithm", "b") == ["x", "algorithm=c"]
    assert "steps: 3" in learn("experiment=smoke", "--cfg", "job").stdout


def test_an_unknown_key_is_one_line(tmp_path: Path) -> None:
    assert_one_line(learn(f"run_dir={tmp_path}/run", "rollout.tusks=3"), "tusks")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "mistake"),
    [
        ("checkpoint.every=0", "checkpoint.every must be at least 1, not 0"),
        ("algorithm.clip_low=much", "algorithm.clip_low must be a number, not 'much'"),
    ],
)
def test_a_value_that_cannot_be_is_one_line_and_nothing_is_loaded_or_written(
    tmp_path: Path, setting: str, mistake: str
) -> None:
    done = learn(f"run_dir={tmp_path}/run", *SMOKE, setting, PYTHONPROFILEIMPORTTIME="1")
    [error] = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert (done.returncode, error) == (2, f"error: {mistake}")
    assert not any(line.endswith((" torch", " transformers")) for line in done.stderr.splitlines())
    assert not (tmp_path / "run").exists()


def test_an_unknown_part_is_one_line() -> None:
    assert_one_line(learn("coach=oracle"), "oracle")


def test_a_missing_model_is_one_line(tmp_path: Path, learn_here: Learn) -> None:
    done = learn_here(f"run_dir={tmp_path}/run", "model=qwen3-4b", f"model.path={tmp_path}/nowhere")
    assert_one_line(done, "nowhere")


def test_a_malformed_task_file_is_one_line(tmp_path: Path, learn_here: Learn) -> None:
    (tmp_path / "tasks.json").write_text('[{"prompt": "1+1?"}]')
    done = learn_here("env=mathchat", f"run_dir={tmp_path}/run", f"env.tasks={tmp_path}/tasks.json")
    assert_one_line(done, "tasks.json", "answer")


@pytest.mark.slow
def test_a_tracker_that_rejects_the_run_is_one_line(tmp_path: Path, learn_here: Learn) -> None:
    for name in ("online", "sometimes"):
        done = learn_here(f"run_dir={tmp_path}/{name}", *SMOKE, f"wandb.mode={name}", WANDB_API_KEY="")
        assert_one_line(done, "W&B" if name == "online" else "wandb.mode")
        assert not (tmp_path / name / "metrics.jsonl").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, learn_here: Learn) -> None:
    (tmp_path / "file").write_text("")
    assert_one_line(learn_here(f"run_dir={tmp_path}/file/run"), "cannot be written")


@pytest.mark.slow
def test_a_multirun_trains_every_combination_in_a_folder_of_its_own(
    tmp_path: Path, learn_here: Learn
) -> None:
    done = learn_here(
        "--multirun", *SMOKE, "steps=1", "evaluation.every=0", "coach=rules,outcome", "seed=0,1", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    folders = sorted(path.parent for path in tmp_path.glob("runs/dsbench/*/metrics.jsonl"))
    names = sorted(folder.name.split("-", 2)[2] for folder in folders)
    assert names == [
        f"reinforcepp-tiny-{coach}-seed{seed}" for coach in ("outcome", "rules") for seed in (0, 1)
    ]


@pytest.mark.slow
def test_a_run_folder_has_every_documented_file(tmp_path: Path, learn_here: Learn) -> None:
    done = learn(f"run_dir={tmp_path}/run", *SMOKE, "wandb.mode=offline")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    assert {path.name for path in run.iterdir()} >= {
        "config.yaml",
        "metadata.json",
        "episodes.jsonl",
        "metrics.jsonl",
        "timings.jsonl",
        "checkpoints",
        "curves.png",
    }
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(row["phase"], row["step"]) for row in rows] == [
        ("eval", 0),
        ("train", 1),
        ("train", 2),
        ("train", 3),
        ("eval", 3),
    ]
    assert "before" in done.stdout
    assert "data_engineer" in done.stdout
    assert "classification" in done.stdout
    again = learn_here(f"run_dir={run}", *SMOKE)
    assert_one_line(again, "not empty")
    assert [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] == rows


@pytest.mark.slow
def test_a_run_without_isolation_says_so_at_its_start_at_its_end_and_in_its_folder(
    tmp_path: Path, learn_here: Learn
) -> None:
    run = tmp_path / "run"
    nothing = ("sandbox=local", "sandbox.mode=bwrap", "sandbox.allow_unisolated=true")
    done = learn_here(f"run_dir={run}", *SMOKE, "steps=1", "evaluation.every=0", *nothing, PATH="/nowhere")
    assert done.returncode == 0, done.stderr
    lines = [i for i, line in enumerate(done.stdout.splitlines()) if "WITHOUT ISOLATION" in line]
    assert "bwrap is missing" in done.stdout.splitlines()[lines[0]]
    assert len(lines) == 3
    assert lines[-1] == len(done.stdout.splitlines()) - 1
    sandbox = json.loads((run / "metadata.json").read_text())["sandbox"]
    assert (sandbox["backend"], sandbox["guarantees"]) == ("local-none", [])
    done = learn_here(f"run_dir={tmp_path}/other", *SMOKE, *nothing[:2], PATH="/nowhere")
    assert_one_line(done, "install bubblewrap")
