"""Estimates of memory beside the bytes that torch counts, and what the command says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from benchmarks.plan import __main__ as command
from benchmarks.plan import child
from benchmarks.plan.cases import CASES, TINY, Case, Measured, Part, to_measured
from benchmarks.plan.child import build, compare, read_job
from benchmarks.plan.counted import count
from benchmarks.update.watch import peak_bytes, reset_peak
from conf import ConfigError
from conf.commands import compose
from learners.config import RunConfig
from learners.update import allocator

VARIANTS = dict(
    zip(
        [case for case in CASES if case.name.startswith("smollm2")],
        ("float32", "bfloat16", "float32"),
        strict=True,
    )
)
RESULT = Measured(
    (Part("weights", 5.0, 5.0),),
    (Part("head", 9.0, 10.0),),
    Part("peak", 10.0, 11.5),
    2.0,
    3.0,
    {"float32": 1e9},
)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Several threads, which wait for each other actively, take ten times as long on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("case", "dtype"), VARIANTS.items())
def test_estimates_are_within_ten_percent_of_the_bytes_that_torch_counts(case: Case, dtype: str) -> None:
    case = replace(case.tiny(TINY), prompt=16, completion=240)
    config = RunConfig.read(compose([*case.settings(), f"model.dtype={dtype}"]))
    learner, update = build(config, case)
    update()
    parts, phases = compare(read_job(config, case), learner, update)
    sizes = {part.name: part for part in parts}
    for name in ("weights", "gradients", "optimiser state", "activations", "head", "weights for engines"):
        assert sizes[name].ratio == pytest.approx(1.0, abs=0.1), name
    for phase in phases:
        assert phase.ratio == pytest.approx(1.0, abs=0.1), phase.name


def test_an_update_that_trains_nothing_has_no_parts() -> None:
    with pytest.raises(ValueError, match="no complete step"):
        count(lambda: None, torch.nn.Linear(2, 2))


def test_a_peak_that_leaves_the_tolerance_ends_with_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run", lambda case, threads: RESULT)
    out = tmp_path / "plan.json"
    words = ["--cases", CASES[0].name, "--out", str(out)]
    assert command.main(words) == 1
    text = capsys.readouterr().out
    assert "NOT within 10 %" in text
    assert "3.00 s estimated, 2.00 s measured: ratio 1.50" in text
    written = json.loads(out.read_text())
    assert written["machine"]["cores"] > 0
    assert written["cases"][CASES[0].name]["peak ratio"] == pytest.approx(10 / 11.5)
    assert command.main([*words, "--quick", "--overwrite"]) == 0  # the peak of tensors is 9 of 10


def test_a_peak_is_that_of_what_comes_after_its_reset() -> None:
    cpu = torch.device("cpu")
    block = bytearray(2**28)  # all zeros, and in memory once it is written to
    block[::4096] = b"1" * len(block[::4096])
    high = peak_bytes(cpu)
    del block
    assert reset_peak(cpu)
    assert peak_bytes(cpu) < high - 2**27


def test_a_system_that_cannot_start_a_new_peak_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_load_libraries", lambda case: None)
    monkeypatch.setattr(child, "build", lambda config, case: (None, None))
    monkeypatch.setattr(child, "reset_peak", lambda device: False)
    monkeypatch.setattr(allocator, "prepare", lambda: True)
    with pytest.raises(ConfigError, match="the peak of updates cannot be measured"):
        child.measure(CASES[0].tiny(TINY))


def test_a_result_is_read_as_it_was_written() -> None:
    assert to_measured(json.loads(json.dumps(asdict(RESULT)))) == RESULT


def test_a_process_that_fails_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(ConfigError, match=f"^{CASES[0].name}: the process ended with exit code 1$"):
        command.run(CASES[0], 1)
