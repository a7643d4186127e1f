"""A plan as users see it, and whether the shipped experiments fit the GPUs in their names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conf import ROOT, ConfigError
from learners.plan import arguments, plan
from learners.planning import memory
from tests.learners.planning.jobs import ONE_GPU, PAPERS, composed, parts


def shown(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "learners.plan", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(("name", "gpus"), [*((name, 6) for name in PAPERS), (ONE_GPU, 1)])
def test_a_shipped_experiment_fits_the_gpus_that_it_is_named_for(name: str, gpus: int) -> None:
    job, hardware, assume = parts(f"experiment={name}")
    assert job.layout.groups * job.layout.gpus == gpus <= hardware.gpus == 8
    devices = memory.devices([job], hardware, assume)
    assert memory.all_fit(devices)
    assert memory.cache_capacity(job, hardware, assume).tokens >= job.row
    assert job.reference
    half, _, _ = parts(f"experiment={name}", "generator.gpu_memory_utilization=0.95")
    assert not memory.all_fit(memory.gpus(half, hardware, assume))


@pytest.mark.parametrize("name", PAPERS)
def test_an_optimiser_step_of_the_papers_has_sixteen_rows(name: str) -> None:
    job, _, _ = parts(f"experiment={name}")
    rows = {
        agent: job.episodes * turns / job.model.optimizer.minibatches for agent, turns in job.turns.items()
    }
    assert min(rows.values()) >= 8
    if name.startswith("paper_mathchat"):
        assert rows["problem_solver"] == rows["verifier"] == 16
    assert (job.steps, job.evaluations) == ((106, 28) if "mathchat" in name else (84, 43))


def test_a_plan_says_what_fits_and_all_that_it_assumes(capsys: pytest.CaptureFixture[str]) -> None:
    plan(composed(f"experiment={ONE_GPU}", "assume.tool_s=4"))
    text = capsys.readouterr().out
    assert "learner and engine: fits: " in text
    assert "Everything fits" in text
    assert "assume.tool_s=4" in text
    assert "hardware.memory_gib=79.6" in text
    assert "optimiser moments" in text


def test_what_does_not_fit_is_printed_and_ends_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    one, six = (f"experiment={name}" for name in (ONE_GPU, PAPERS[0]))
    for words in ((one, "hardware.memory_gib=40"), (one, "hardware.host_gib=10"), (six, "hardware.gpus=4")):
        with pytest.raises(SystemExit) as ended:
            plan(composed(*words))
        assert ended.value.code == 1
        assert "does not fit: " in capsys.readouterr().out


def test_an_engine_whose_cache_is_too_small_for_one_sequence_does_not_fit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        plan(composed(f"experiment={ONE_GPU}", "generator.gpu_memory_utilization=0.18"))
    assert ended.value.code == 1
    assert "0.6 sequences of 24576 tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], r"nothing to plan; .* model\.device=cuda, or .* experiment=dsbench_4b_1xh100"),
        ([f"experiment={ONE_GPU}", "hardware.memory_gib=much"], r"hardware\.memory_gib must be a number"),
        ([f"experiment={ONE_GPU}", "hardware.gpus=0"], r"hardware\.gpus must be at least 1, not 0"),
        ([f"experiment={ONE_GPU}", "weights.targets=[query]"], "names no layer"),
        ([f"experiment={ONE_GPU}", "~assume.episodes.dsbench"], r"assume\.episodes\.dsbench"),
        (
            [f"experiment={PAPERS[0]}", "runtime.learner_gpus=0", "runtime.engine_gpus=0"],
            r"runtime\.learner_gpus=1",
        ),
    ],
)
def test_what_cannot_be_planned_is_one_clear_line(words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        plan(composed(*words))
    assert "\n" not in str(caught.value)


def test_groups_of_a_plan_are_set_like_those_of_a_run() -> None:
    assert arguments(["x", "seed=1"]) == ["x", "seed=1", "+hardware=h100", "+assume=usual"]
    assert arguments(["x", "hardware=h200"]) == ["x", "+hardware=h200", "+assume=usual"]
    assert arguments(["x", "hardware.gpus=2", "--cfg", "job"])[:2] == ["x", "hardware.gpus=2"]


def test_the_command_line_takes_the_settings_of_a_run() -> None:
    done = shown(f"experiment={ONE_GPU}", "hardware=h200", "steps=7", "--cfg", "job")
    assert done.returncode == 0, done.stderr
    assert "H200" in done.stdout
    assert "steps: 7" in done.stdout
    wrong = shown("rollout.tusks=3")
    assert (wrong.returncode, len(wrong.stderr.strip().splitlines())) == (2, 1)
    helped = shown("--help").stdout
    assert "assume.tool_s=5" in helped
    assert "== Configuration groups ==" in helped
