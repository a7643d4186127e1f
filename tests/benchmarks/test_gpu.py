"""The script for a GPU, at a toy size: every part's records, and what is kept of a run that is killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import __main__, checkpoints, device, kernels, marked, running, training, updates, weights
from benchmarks.gpu.cases import SkippedError, attempt
from benchmarks.gpu.child import MODULES
from benchmarks.gpu.models import Shape, random_model
from benchmarks.gpu.records import FAILED, MEMORY, OK, SKIPPED, Case, Part, Settings
from conf import ConfigError
from learners.planning.shapes import read_shapes

ROOT = Path(__file__).parents[2]
SETTINGS = Settings("update", True, 600.0, "", None, {"bfloat16": 1e9})
CHILD = """
import json, os, subprocess, sys, time
out, given = os.fdopen(int(sys.argv[1]), "w"), json.loads(sys.argv[2])
case = dict(name=given["part"], status="ok", reason="", figures={"FLOP/s": 2.0}, seconds=1.0)
print(json.dumps(case), file=out, flush=True)
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[str, ...]]:
    """Returns how to replace the process of a part by one that writes a case and then runs a few lines."""

    def replaced(lines: str) -> tuple[str, ...]:
        (tmp_path / "child.py").write_text(CHILD + lines)
        program = (str(tmp_path / "child.py"),)
        monkeypatch.setattr(running, "CHILD", program)
        return program

    return replaced


def run(parts: list[str], folder: Path, seconds: float = 60.0) -> tuple[list[Part], list[list[Part]]]:
    kept: list[list[Part]] = []
    settings = replace(SETTINGS, folder=str(folder))
    return running.run_parts(parts, settings, seconds, lambda parts: kept.append(list(parts))), kept


def test_an_update_reports_speed_and_memory_beside_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "VARIANTS", (("adapter", "bfloat16"),))
    monkeypatch.setattr(updates, "TOY_LENGTHS", (24,))
    cases = list(updates.cases(SETTINGS))
    assert [case.status for case in cases] == [OK] * 2, cases
    assert [case.name for case in cases[1::2]] == ["adapter, bfloat16: 8 x 24"]
    for case in cases[1::2]:
        figures: Any = case.figures
        assert figures["rows"] == 8
        assert figures["tokens/s"] == pytest.approx(8 * 24 / figures["s"])
        assert figures["share of measured products"] == pytest.approx(figures["FLOP/s"] / 1e9)
        assert figures["peak GiB"] > figures["planned peak GiB"] > 0


def test_what_does_not_fit_into_memory_or_time_is_said_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr(updates, "VARIANTS", (("full", "bfloat16"),))
    with monkeypatch.context() as patch:
        patch.setattr(updates, "_step", full)
        built, *others = updates.cases(SETTINGS)
    assert (built.status, built.reason) == (MEMORY, "CUDA out of memory.")
    assert {case.reason for case in others} == {"there is no model"}
    late = list(updates.cases(replace(SETTINGS, seconds=-1e9)))
    assert [case.status for case in late] == [OK, SKIPPED, SKIPPED]
    assert late[1].reason.startswith("one row would take about ")


def test_kernels_of_attention_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "TOY_TOKENS", 48)
    cases = list(kernels.cases(SETTINGS))
    assert [case.status for case in cases] == [OK] * len(cases), cases
    assert {case.name.partition(": ")[2] for case in cases} >= {"row_by_row", "masked"}
    for case in cases:
        figures: Any = case.figures
        assert figures["largest difference from the first"] < 0.05
        assert figures["FLOP/s"] == pytest.approx(12 * 32 * 128 * figures["pairs"] / figures["ms"] * 1e3)
    assert kernels.uneven(192) == [96, 48, 24, 12, 12]


def test_flops_of_an_update_by_hand() -> None:
    """One row of 8 tokens of which 2 are sampled, of a model of two layers."""
    shapes = read_shapes(random_model(Shape(True, "full", "float32", 6, 2).config()).architecture())
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128
    attention = 6 * 2 * 64 * 8**2
    assert updates.flops(shapes, 8, adapter=False) == 6 * (2 * layer * 8 + 512 * 64 * 2) + attention
    assert updates.flops(shapes, 8, adapter=True) == 4 * (2 * layer * 8 + 512 * 64 * 2) + attention


def test_a_random_model_is_made_in_its_dtype_and_by_its_seed() -> None:
    kind = random_model(Shape(True, "full", "bfloat16", 6, 2).config())
    first, second, other = (kind.load("dsbench", seed).model for seed in (0, 0, 1))
    assert {parameter.dtype for parameter in first.parameters()} == {torch.bfloat16}
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_a_checkpoint_is_restored_and_the_next_step_repeated(tmp_path: Path) -> None:
    cases = list(checkpoints.cases(replace(SETTINGS, folder=str(tmp_path))))
    assert [(case.name, case.status) for case in cases] == [("adapter", OK), ("full", OK)], cases
    assert all(case.figures["loss, cpu - unbroken"] == 0.0 for case in cases)


def test_a_checkpoint_with_other_weights_is_noticed() -> None:
    checkpoints.check_equal([torch.ones(2)], [torch.ones(2)], "cpu")
    with pytest.raises(ValueError, match="are not those that were saved"):
        checkpoints.check_equal([torch.ones(2)], [torch.tensor([1.0, 1.0 + 1e-7])], "cpu")


def test_rates_of_products_are_measured_and_reach_the_other_parts() -> None:
    facts, *products = device.cases(SETTINGS)
    assert facts.figures["device"] in ("cpu", "cuda")
    assert facts.figures["torch"] == torch.__version__
    part = Part.of("device", [facts, *products], 1.0)
    assert running.rates([part]) == {case.name: case.figures["FLOP/s"] for case in products}
    assert set(running.rates([part])) == {"bfloat16", "float32"}


def test_a_part_is_summarised_by_its_cases() -> None:
    def case(status: str) -> Case:
        return Case("c", status, "" if status == OK else "why", {}, 1.0)

    assert Part.of("p", [case(OK), case(SKIPPED)], 1.0).status == OK
    assert Part.of("p", [case(MEMORY)], 1.0).status == OK
    assert (Part.of("p", [case(SKIPPED)], 1.0).status, Part.of("p", [], 1.0).status) == (SKIPPED, SKIPPED)
    assert Part.of("p", [case(OK), case(FAILED)], 1.0).reason == "c: why"
    assert Part.of("p", [case(OK)], 1.0, died="gone").status == FAILED


def test_a_case_that_raises_is_one_line() -> None:
    def skip() -> dict[str, float]:
        raise SkippedError("not here")

    assert attempt("x", lambda: {"y": 1.0}).figures == {"y": 1.0}
    assert attempt("x", skip).reason == "not here"
    failed = attempt("x", lambda: {"y": 1 / 0})
    assert (failed.status, failed.reason) == (FAILED, "ZeroDivisionError: division by zero")


def test_results_are_kept_after_every_case(child: Any, tmp_path: Path) -> None:
    child("")
    parts, kept = run(["device", "update"], tmp_path)
    assert [(part.name, part.status) for part in parts] == [("device", OK), ("update", OK)]
    assert [len(parts[-1].cases) for parts in kept] == [0, 1, 1, 0, 1, 1]
    assert kept[-1] == parts


def test_a_part_that_dies_keeps_its_cases_and_its_last_words(child: Any, tmp_path: Path) -> None:
    child("given['part'] == 'device' and sys.exit('no such thing')")
    (died, after), _ = run(["device", "update"], tmp_path, seconds=600.0)
    assert (died.status, died.reason, len(died.cases)) == (FAILED, "no such thing", 1)
    assert after.status == OK


def test_a_part_that_takes_too_long_is_stopped(child: Any, tmp_path: Path) -> None:
    child("time.sleep(600)")
    ((late,), _) = run(["update"], tmp_path, seconds=1.0)
    assert (late.status, late.reason) == (FAILED, "stopped after 1 s, its share of --seconds")


def test_time_that_a_part_leaves_goes_to_those_after_it() -> None:
    clock = running.Clock(time.monotonic() + 100.0)
    assert clock.share("tests", ["tests"]) == pytest.approx(100.0, abs=1.0)
    first = clock.share("update", ["update", "tests"])
    assert first == pytest.approx(
        100.0 * running.SHARES["update"] / (running.SHARES["update"] + running.SHARES["tests"]), abs=1.0
    )
    assert running.Clock(time.monotonic() - 1.0).share("tests", ["tests"]) == 0.0


SCRIPT = """
import sys
from pathlib import Path
from benchmarks.common.command import write_json
from benchmarks.gpu import running
from benchmarks.gpu.records import Settings
from dataclasses import asdict
folder = sys.argv[1]
running.CHILD = [sys.argv[2]]
keep = lambda parts: write_json(Path(folder) / "report.json", [asdict(part) for part in parts])
running.run_parts(["device", "update"], Settings("", True, 0.0, folder, None, {}), 600.0, keep)
"""


def test_a_run_that_is_killed_keeps_what_it_had_and_leaves_no_process(child: Any, tmp_path: Path) -> None:
    """The process of a part ends once nobody reads its pipe."""
    program = child(
        "import benchmarks.gpu.child as real, threading\n"
        "threading.Thread(target=real._end_with_reader, args=(out.fileno(),), daemon=True).start()\n"
        "open(given['folder'] + '/pid', 'w').write(str(os.getpid()))\n"
        "time.sleep(600 if given['part'] == 'update' else 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path), *program], env=environment) as script:
        report = tmp_path / "report.json"
        parts: list[Any] = []
        while [len(part["cases"]) for part in parts] != [1, 1]:
            time.sleep(0.05)
            parts = json.loads(report.read_text()) if report.exists() else []
        pid = int((tmp_path / "pid").read_text())
        script.send_signal(signal.SIGKILL)
    assert json.loads(report.read_text()) == parts
    assert [part["status"] for part in parts] == [OK, "running"]
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.05)


def test_weights_in_parts_are_joined_in_order_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, target = tmp_path / "parts", tmp_path / "out" / "whole.gguf"
    with pytest.raises(ConfigError, match="there is no such folder"):
        weights.join(folder, target)
    folder.mkdir()
    with pytest.raises(ConfigError, match="there are no files"):
        weights.join(folder, target)
    for name, text in (("part-ab", "23"), ("part-aa", "1"), (".hidden", "x")):
        (folder / name).write_text(text)
    with pytest.raises(ConfigError, match="part-aa, part-ab are not SmolLM2: sha256 a665a459"):
        weights.join(folder, target)
    assert not target.exists()
    digest = "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"
    monkeypatch.setattr(weights, "SHA256", digest)
    assert weights.join(folder, target).read_text() == "123"


def test_weights_are_split_into_parts_that_join_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, folder = tmp_path / "whole", tmp_path / "parts"
    source.write_bytes(bytes(range(250)) * 10**4)
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(source.read_bytes()).hexdigest())
    weights.split(source, folder, 1)
    assert [part.stat().st_size for part in sorted(folder.iterdir())] == [10**6, 10**6, 5 * 10**5]
    assert weights.join(folder, tmp_path / "again").read_bytes() == source.read_bytes()
    with pytest.raises(ConfigError, match="parts is not empty"):
        weights.split(source, folder, 1)


def test_tests_are_counted_by_outcome_and_found_by_their_mark(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(
        "<testsuites><testsuite><testcase/><testcase><failure/></testcase><testcase><error/></testcase>"
        "<testcase><skipped/></testcase></testsuite></testsuites>"
    )
    assert marked.outcomes(tmp_path / "junit.xml") == {"passed": 1, "failed": 2, "skipped": 1}
    (tmp_path / "test_a.py").write_text("@pytest.mark.gpu\ndef test_a(): pass")
    (tmp_path / "test_b.py").write_text("def test_b(): 'mark.gpus'")
    assert marked.marked(tmp_path) == [tmp_path / "test_a.py"]


def test_a_training_run_is_summarised_before_and_after(tmp_path: Path) -> None:
    rows = [
        {"phase": "eval", "success": 0.1, "fair": 0.3, "episodes": 4},
        {"phase": "train", "success": 0.2},
        {"phase": "eval", "success": 0.6, "fair": 0.7, "episodes": 4},
    ]
    timings = [{"phase": "train", "step": 1, "play_s": 2.0}, {"phase": "train", "step": 2, "play_s": 4.0}]
    figures = training.summary(rows, timings)
    assert (figures["success before"], figures["success after"], figures["steps"]) == (0.1, 0.6, 1.0)
    assert figures["play_s of a step"] == 3.0
    assert "success after" not in training.summary(rows[:2], timings)
    path = tmp_path / "metrics.jsonl"
    assert training.read(path) == []
    path.write_text('{"a": 1}\n{"b"')
    assert training.read(path) == [{"a": 1}]


@pytest.mark.parametrize("weights", [None, "w.gguf"])
@pytest.mark.parametrize("toy", [True, False])
@pytest.mark.parametrize("env", training.ENVIRONMENTS)
def test_the_settings_of_every_training_run_are_valid(env: str, toy: bool, weights: str | None) -> None:
    from conf.commands import compose
    from learners.config import RunConfig
    from learners.run.build import check

    settings = replace(SETTINGS, toy=toy, weights=weights)
    config = RunConfig.read(compose(training.arguments(env, settings)))
    check(config)
    assert (config.generator.name, config.sandbox.name, config.env.name) == ("hf", "auto", env)
    assert config.model.device == "auto"


def test_what_is_not_installed_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        __main__, "find_spec", lambda name: None if name in ("peft", "gymnasium") else object()
    )
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--toy"])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert said.startswith("error: not installed: peft, gymnasium (docs/scaling.md")


def test_a_bare_python_is_told_what_is_missing() -> None:
    command = [sys.executable, "-S", "-m", "benchmarks.gpu", "--toy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "omegaconf is not installed" in done.stderr


def test_without_a_gpu_only_toy_sizes_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "torch sees no GPU here: --toy" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_whole_script_runs_at_a_toy_size(tmp_path: Path) -> None:
    assert __main__.main(["--toy", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert [part["name"] for part in report["parts"]] == list(MODULES)
    for part in report["parts"]:
        assert part["status"] in ((OK, SKIPPED) if part["name"] == "tests" else (OK,)), part
    before_after = next(part for part in report["parts"] if part["name"] == "training")["cases"]
    assert all("success after" in case["figures"] for case in before_after)


def test_an_interrupted_run_says_what_it_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> list[Part]:
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "run_parts", interrupted)
    with pytest.raises(SystemExit) as caught:
        __main__.main(["device", "--toy", "--out", str(tmp_path / "results")])
    assert caught.value.code == 130
    kept = tmp_path / "results" / "report.json"
    line = f"interrupted; {kept} has what was measured; --overwrite starts again\n"
    assert capsys.readouterr().err == line
