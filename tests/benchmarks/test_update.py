"""The comparison of updates: all variants do the same work, and its arithmetic; not its speeds."""

from __future__ import annotations

import importlib.util
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common.targets import Target
from benchmarks.update import __main__, roofline
from benchmarks.update.building import loaded
from benchmarks.update.child import score
from benchmarks.update.masked import dense_mask
from benchmarks.update.measure import Measured, Platform
from benchmarks.update.ours import Ours
from benchmarks.update.pairs import (
    MICRO_TOKENS,
    Packed,
    binned,
    end_to_end,
    needed,
    packed,
    padded,
    step_lengths,
    step_line,
)
from benchmarks.update.plain import Plain
from benchmarks.update.plain import padded as padded_rows
from benchmarks.update.report import disagreement, targets, to_row
from benchmarks.update.watch import Step, Watch
from benchmarks.update.workload import SHAPES, Job, flops, lengths, rows, tokens
from learners.models.attention import Borders

JOB = Job("ours", "tiny", "uneven", 4, 16, 24, "float32", True, 2, 160, 1, "cpu")
HAS_TRL = importlib.util.find_spec("trl") is not None


def trained(variant: Any, job: Job) -> tuple[list[Step], dict[str, torch.Tensor]]:
    """The steps that a variant reports, and the weights after them."""
    ready = loaded(job)
    steps = variant(ready, rows(job), score(job), job).run(Watch(ready.device))
    return steps, dict(ready.model.state_dict())


def same(result: tuple[list[Step], dict[str, torch.Tensor]], job: Job) -> None:
    """Compares tokens, losses and gradient norms of all steps, and the final weights, with those of ours."""
    (mine, weights), (steps, others) = trained(Ours, job), result
    assert mine[0].positions == tokens(rows(job))
    assert [step.trained for step in steps] == [step.trained for step in mine]
    for a, b in zip(steps, mine, strict=True):
        assert a.loss == pytest.approx(b.loss, abs=1e-5)
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-4)
    for name, values in others.items():
        torch.testing.assert_close(values, weights[name], atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["even", "uneven"])
def test_the_plain_step_and_ours_compute_the_same(kind: str) -> None:
    job = replace(JOB, rows=kind)
    same(trained(Plain, job), job)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TRL, reason="trl is not installed: it is in the extra bench")
@pytest.mark.parametrize("kind", ["even", "uneven"])
def test_the_step_of_trl_and_ours_compute_the_same(kind: str) -> None:
    from benchmarks.update.trl import Trl

    job = replace(JOB, rows=kind, steps=1)
    same(trained(Trl, job), job)


def test_the_gradient_of_the_plain_loss_is_that_of_ours() -> None:
    """Compared directly, because an optimiser step shrinks differences."""
    from learners.update.logprobs import batch_logprobs
    from learners.update.packing import pack, to_rows

    ready, given, old = loaded(JOB), rows(JOB), score(JOB)
    ours, plain = Ours(ready, given, old, JOB), Plain(ready, given, old, JOB)
    algorithm, transitions = ours._algorithm, ours._transitions
    batches = pack(
        to_rows(transitions, ours._advantages, algorithm.token_weights(transitions)), JOB.micro_tokens
    )
    grads = []
    for losses in (
        [algorithm.loss(batch_logprobs(ready.model, b, ready.config)[0], b)[0] for b in batches],
        [plain._loss()],
    ):
        ready.model.zero_grad()
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        grads.append([p.grad.clone() for p in ready.model.parameters() if p.grad is not None])
    assert max(float(grad.abs().max()) for grad in grads[0]) > 1e-3
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_padding_is_neither_attended_to_nor_trained_on() -> None:
    given = rows(JOB)
    ids, attention, trained_on, advantages, _ = padded_rows(
        given, [[0.0] * len(row.completion) for row in given]
    )
    assert int(attention.sum()) == tokens(given) < ids.numel()
    assert trained_on.sum(1).tolist() == [len(row.completion) for row in given]
    for i, row in enumerate(given):
        chosen = ids[i, 1:][trained_on[i] > 0]
        assert tuple(chosen.tolist()) == row.completion
        assert advantages[i][trained_on[i] > 0].tolist() == pytest.approx([row.advantage] * len(chosen))


def test_uneven_rows_stay_within_the_limits_and_one_reaches_them() -> None:
    sizes = lengths(replace(JOB, count=64, prompt=128, completion=384))
    assert all(64 <= prompt <= 128 and 1 <= completion <= 384 for prompt, completion in sizes)
    for seed in range(9):
        few = lengths(replace(JOB, count=2, completion=384, seed=seed))
        assert max(completion for _, completion in few) == 384
    assert len({completion for _, completion in sizes}) > 32
    assert rows(JOB) == rows(replace(JOB, variant="trl"))


def test_flops_by_hand() -> None:
    """One row of 2 + 1 tokens: matrices, then the head for the sampled token, then attention."""
    job = replace(JOB, rows="even", count=1, prompt=2, completion=1)
    weights = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 64)
    assert flops(SHAPES["tiny"], rows(job)) == 6 * (weights * 3 + 256 * 32) + 6 * 2 * 32 * 9
    held = sum(p.numel() for name, p in loaded(job).model.named_parameters() if "proj" in name)
    assert held == weights


@pytest.mark.parametrize("checkpointing", [True, False])
def test_flops_are_those_that_torch_counts(checkpointing: bool) -> None:
    """Of the plain step, whose head multiplies the positions of prompts too. On CPUs torch counts no
    attention, which the test by hand has."""
    job = replace(JOB, rows="even", checkpointing=checkpointing, steps=1)
    ready, given = loaded(job), rows(job)
    plain = Plain(ready, given, score(job), job)
    with FlopCounterMode(display=False) as counter:
        plain.run(Watch(ready.device))
    counts = counter.get_flop_counts()["Global"]
    shape = SHAPES[job.shape]
    needed = flops(shape, given, recomputed=checkpointing)
    pairs = 6.0 * shape.layers * shape.heads * shape.head_dim * sum(len(row) ** 2 for row in given)
    pairs *= 4 / 3 if checkpointing else 1
    unsampled = sum(len(row.prompt) for row in given)
    head = 6.0 * shape.vocab * shape.hidden * unsampled
    assert sum(counts.values()) == pytest.approx(needed - pairs + head, rel=1e-12)


def test_the_rate_of_products_is_that_of_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([9.0, 2.0, 0.5, 1.0, 4.0, 3.0])
    monkeypatch.setitem(roofline.SIZES, "cpu", 8)
    monkeypatch.setattr(roofline, "_seconds", lambda *_: next(taken))
    assert roofline.product_rate(torch.device("cpu"), "bfloat16") == 2 * 8**3 / 0.5
    assert list(taken) == []


def test_pairs_by_hand() -> None:
    assert needed([]) == 0
    assert needed([3, 1, 2]) == 6 + 1 + 3
    assert padded([3, 1, 2], 3) == 3 * 9
    assert padded([2, 2], 2) == 2 * 3  # without padding there is no mask
    assert padded([2, 2], 3) == 2 * 9


def test_packing_by_hand() -> None:
    """Bins of 5: the rows of 5, of 4 and 1, of 3 and 2. Two bins fit into 10 tokens."""
    given = [5, 4, 1, 3, 2]
    assert end_to_end(given, 10) == Packed(2, 0, 0, 1.0)
    assert binned(given, 10) == Packed(2, 2, 2 * 25, 3 * 25 / (15 + 10 + 1 + 6 + 3))
    assert binned([5, 5, 5], 10) == Packed(2, 0, 0, 1.0)
    assert binned([4, 4], 100) == Packed(1, 0, 0, 1.0)
    assert end_to_end([50, 4, 4], 10) == Packed(2, 0, 0, 1.0)


def test_a_mask_allows_the_pairs_that_the_rows_need() -> None:
    numbers = random.Random(1)
    given = [numbers.randint(1, 12) for _ in range(40)]
    assert int(dense_mask(Borders.of(given, torch.device("cpu"))).sum()) == needed(given)


def test_bins_under_masks_compute_two_and_a_half_times_the_pairs_of_the_large_step() -> None:
    step = packed(step_lengths(), MICRO_TOKENS)
    assert 2.3 < step["bins under masks"].pairs < 2.7
    assert step["end to end"].pairs == 1
    assert step["end to end"].micro_batches < 0.85 * step["bins under masks"].micro_batches
    assert "packed end to end: 1.00 times the pairs" in step_line(step)


@pytest.mark.parametrize("most", [1024, 1500, 5000, 200000])
def test_the_largest_length_that_fits_is_determined_to_a_sixteenth(most: int) -> None:
    longest = __main__.largest(lambda length: length <= most, 1024, 262144)
    assert longest <= most < longest * (1 + 1 / 16) + 1
    assert __main__.largest(lambda length: False, 1024, 262144) == 0


def measured_as(**changes: Any) -> Measured:
    plain = Measured([2.0, 4.0], [1.0, 1.0], [0.0, 0.0], 2**30, 3 * 2**30, 1e6, -0.5, 1.0, 96, 160)
    return replace(plain, **changes)


def test_a_row_summarises_the_rounds() -> None:
    gpu = Platform("cuda", "NVIDIA H100 80GB HBM3", True, {})
    job = replace(JOB, rows="even", precision="bfloat16")
    row = to_row(job, [measured_as(), measured_as(seconds=[3.0, 3.0], peak_bytes=2**32)], gpu)
    assert (row.seconds.median, row.seconds.n, row.per_s) == (3.0, 4, 160 / 3)
    assert (row.above_gib.median, row.level_gib) == (2.5, 1.0)
    assert row.mfu == pytest.approx(flops(SHAPES["tiny"], rows(job)) / 3.0 / 989e12)
    assert to_row(job, [measured_as()], replace(gpu, name="")).mfu is None
    work = flops(SHAPES["tiny"], rows(job), recomputed=True)
    assert row.roofline.median == pytest.approx(work / 3.0 / 1e6)
    [share, *_] = targets([row], {})
    assert (share.value, share.met) == (row.roofline.median, row.roofline.median >= 0.8)


def test_variants_that_make_different_steps_are_detected() -> None:
    a = measured_as()
    assert disagreement({"ours": a, "plain": measured_as(loss=-0.5002)}, "float32") is None
    for change in ({"loss": -0.51}, {"grad_norm": 1.01}, {"trained": 95}, {"loss": float("nan")}):
        assert "plain" in str(disagreement({"ours": a, "plain": measured_as(**change)}, "float32"))
    assert disagreement({"ours": a, "plain": measured_as(loss=-0.51)}, "bfloat16") is None


def test_a_missed_target_says_so() -> None:
    assert "MISSED" in Target("speed", 1.4, 1.5, at_least=True).line()
    assert "PASS" in Target("memory", 0.4, 0.5).line()
    assert Target("speed", None, 1.5, at_least=True).met is None


@pytest.mark.slow
def test_a_quick_run_compares_processes_and_writes_a_report(tmp_path: Path) -> None:
    out = tmp_path / "new" / "update.json"
    words = [
        "--quick",
        "--threads",
        "1",
        "--variants",
        "ours",
        "plain",
        "--rows",
        "uneven",
        "--out",
        str(out),
    ]
    assert __main__.main(words) == 0
    report = json.loads(out.read_text(encoding="utf-8"))
    assert [row["variant"] for row in report["rows"]] == ["ours", "plain"]
    for row in report["rows"]:
        assert (row["tokens"] == row["positions"]) == (row["pairs"] == 1) == (row["variant"] == "ours")
        assert row["seconds"]["median"] > 0
        assert row["above_gib"]["median"] >= 0
        assert 0 < row["roofline"]["median"] < 1
    assert list(report["faster"]) == ["plain, uneven"]
    assert [target["met"] for target in report["targets"]] == [None, None, None]
