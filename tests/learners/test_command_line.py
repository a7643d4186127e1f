"""The learner's command line in this process: sweeps, the algorithm of an experiment, and interruptions."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from coaches.base import BudgetError
from conf import ROOT, ConfigError, commands, stopping
from learners import train
from sandbox.base import SandboxError


class Job:
    """A command that records its configurations and raises ``errors[seed]``."""

    def __init__(self, errors: dict[int, BaseException] | None = None) -> None:
        self.errors = errors or {}
        self.seen: list[tuple[str, int]] = []
        self.algorithms: list[str] = []

    def __call__(self, config: DictConfig) -> None:
        self.seen.append((config.coach.name, config.seed))
        self.algorithms.append(config.algorithm.name)
        if config.seed in self.errors:
            raise self.errors[config.seed]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs a command line in an empty working folder; returns its exit code."""
    monkeypatch.chdir(tmp_path)

    def run(command: Any, *words: str, algorithm: str | None = "reinforcepp") -> int:
        monkeypatch.setattr(sys, "argv", ["learners", *words])
        try:
            train.main(algorithm, command)
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return run


def test_a_sweep_goes_on_after_a_job_that_failed_and_ends_with_a_summary(
    start: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job({1: ConfigError("one\nmistake"), 2: SandboxError("no daemon")})
    assert start(job, "--multirun", "coach=rules,outcome", "seed=0,1,2") == 2
    assert job.seen == [(coach, seed) for coach in ("rules", "outcome") for seed in (0, 1, 2)]
    lines = capsys.readouterr().err.splitlines()
    assert lines[:4] == [
        "job 1 (coach=rules seed=1): error: one; mistake",
        "job 2 (coach=rules seed=2): error: no daemon",
        "job 4 (coach=outcome seed=1): error: one; mistake",
        "job 5 (coach=outcome seed=2): error: no daemon",
    ]
    assert lines[4:] == [
        "4 of 6 jobs failed: 1 (coach=rules seed=1), 2 (coach=rules seed=2), 4 (coach=outcome seed=1), "
        "5 (coach=outcome seed=2)"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_without_a_failure_says_nothing_and_leaves_nothing(
    start: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job()
    assert start(job, "-m", "seed=0,1") == 0
    assert (len(job.seen), capsys.readouterr().err) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_a_spent_budget_and_an_unexpected_error_do_not_end_a_sweep_either(
    start: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job({0: BudgetError("spent"), 1: ZeroDivisionError("a bug")})
    assert start(job, "seed=0,1,2", "--multirun") == 3
    assert len(job.seen) == 3
    error = capsys.readouterr().err
    assert "job 0 (seed=0): stopped: spent" in error
    assert "job 1 (seed=1): error: ZeroDivisionError: a bug" in error
    assert "Traceback" in error, "a bug is shown with its place"
    assert error.splitlines()[-1] == "2 of 3 jobs failed: 0 (seed=0), 1 (seed=1)"


def test_a_mistake_that_shows_when_the_sweep_is_composed_starts_no_job(
    start: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job()
    assert start(job, "--multirun", "coach=rules,ruels") == 2
    assert job.seen == []
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_ends_a_sweep(start: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    job = Job({1: KeyboardInterrupt()})
    assert start(job, "--multirun", "seed=0,1,2") == 130
    assert len(job.seen) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_folder_that_the_user_names_for_a_sweep_is_kept(start: Callable[..., int], tmp_path: Path) -> None:
    assert start(Job(), "--multirun", "seed=0,1", "hydra.sweep.dir=mine") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.fixture
def experiments(tmp_path: Path) -> str:
    """``--config-dir`` with experiments that choose an algorithm."""
    folder = tmp_path.parent / f"{tmp_path.name}-conf"
    (folder / "experiment").mkdir(parents=True)
    (folder / "algorithm").mkdir()
    for name in ("grpo", "reinforcepp", "dapo"):
        text = f"# @package _global_\ndefaults:\n  - override /algorithm: {name}\nsteps: 7\n"
        (folder / "experiment" / f"with_{name}.yaml").write_text(text)
    (folder / "algorithm" / "dapo.yaml").write_text("defaults: [grpo]\nclip_high: 0.28\n")
    return f"--config-dir={folder}"


@pytest.mark.parametrize(
    ("command", "words", "trained"),
    [
        ("reinforcepp", ["experiment=with_reinforcepp"], "reinforcepp"),
        ("grpo", ["experiment=with_grpo"], "grpo"),
        ("grpo", ["experiment=with_dapo"], "grpo"),
        ("grpo", ["experiment=smoke"], "grpo"),
        ("reinforcepp", ["experiment=with_grpo", "algorithm=reinforcepp"], "reinforcepp"),
        ("reinforcepp", ["experiment=with_grpo", "algorithm=rloo"], "rloo"),
        ("reinforcepp", ["algorithm=rloo"], "rloo"),
        (None, ["experiment=with_grpo"], "grpo"),
        (None, [], "reinforcepp"),
    ],
)
def test_the_command_names_the_algorithm_unless_the_words_do(
    start: Callable[..., int], experiments: str, command: str | None, words: list[str], trained: str
) -> None:
    job = Job()
    assert start(job, experiments, *words, algorithm=command) == 0
    assert job.algorithms == [trained]


@pytest.mark.parametrize(
    ("command", "experiment"), [("reinforcepp", "grpo"), ("grpo", "reinforcepp"), ("rloo", "dapo")]
)
def test_an_experiment_with_another_algorithm_than_the_command_s_is_one_line(
    start: Callable[..., int],
    experiments: str,
    command: str,
    experiment: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = Job()
    assert start(job, experiments, f"experiment=with_{experiment}", algorithm=command) == 2
    assert job.seen == []
    error = capsys.readouterr().err
    other = "grpo" if experiment == "dapo" else experiment
    assert len(error.splitlines()) == 1
    assert f"learners.{command} trains with algorithm={command}" in error
    assert f"python -m learners.{other}" in error
    assert f"algorithm={command}" in error


def test_a_sweep_over_experiments_reports_a_conflict_in_its_job(
    start: Callable[..., int], experiments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job()
    assert start(job, experiments, "-m", "experiment=with_grpo,with_reinforcepp", algorithm="grpo") == 2
    assert job.algorithms == ["grpo"]
    assert "job 1 (experiment=with_reinforcepp): error: learners.grpo trains" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_one_line_with_the_command_that_goes_on(
    start: Callable[..., int], number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def command(config: DictConfig) -> None:
        os.kill(os.getpid(), number)

    assert start(command, "seed=1") == code
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("interrupted" if number == signal.SIGINT else "terminated")
    assert "the same command starts again" in error
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_full_disk_is_one_line_wherever_it_shows(
    start: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(Job({0: OSError(28, "No space left on device", "/cache/x")}), "seed=0") == 2
    assert capsys.readouterr().err == "error: No space left on device: /cache/x\n"
    with pytest.raises(FileNotFoundError):
        start(Job({0: FileNotFoundError(2, "No such file")}), "seed=0")


def test_the_command_that_goes_on_has_the_words_of_this_one() -> None:
    python = "/usr/bin/python3"
    words = ["-m", "learners.grpo", "env=mathchat", "run_dir=a b", "resume=false", "--config-dir", "x"]
    again = stopping.command_line({"run_dir": "runs/it's", "resume": "true"}, [python, *words])
    assert again is not None
    before, run_dir, *after = shlex.split(again)[3:]
    assert (before, after) == ("env=mathchat", ["resume=true", "--config-dir", "x"])
    assert commands.parse([run_dir])[0].value() == "runs/it's"
    scored = stopping.command_line({}, [python, "-m", "coaches.score", "a b"])
    assert scored == "python -m coaches.score 'a b'"
    assert stopping.command_line({}, [python, "script.py"]) is None


@pytest.mark.parametrize(
    "value",
    [
        r"a\nb", r"runs\x", "a\\", r"a\\b", r"it\'s", r"\\'", "it's", 'a"b', "${oc.env:HOME}", r"\${x}", "$x",
        "a=b", "a,b", "[a]", "{a: b}", "a b ", "", "é", "a#b", "a\tb",
    ],
)  # fmt: skip
def test_a_value_is_quoted_so_that_hydra_reads_it_as_it_is(value: str) -> None:
    read = commands.parse([f"run_dir={stopping.quoted(value)}"])[0].value()
    assert OmegaConf.create({"run_dir": read}).run_dir == value


def test_notes_of_an_error_are_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = ConfigError("no")
    error.add_note("go on with x")
    with pytest.raises(SystemExit), commands.one_line_errors():
        raise error
    assert capsys.readouterr().err == "error: no; go on with x\n"


def test_a_stopped_process_runs_its_exit_handlers_and_leaves_with_its_code() -> None:
    program = (
        "import atexit, sys; from conf import stopping\n"
        "atexit.register(print, 'closed'); stopping.skip_finalization(130)\n"
        "sys.exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT.parent, check=False
    )
    assert (done.returncode, done.stdout.split()) == (130, ["closed"])
