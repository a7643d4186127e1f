"""``tokens.jsonl``: numbers that a slow computation confirms, written only on request, and never twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import pytest
import torch

import conf
from coaches import episodes
from coaches.episodes import RecordedEpisode
from learners.generators.chat import ChatFormat
from learners.run import checkpoint
from learners.run.run import train
from learners.run.tokens import TokenRow, token_row
from learners.types import TokenTerms, TokenTexts
from sandbox.base import SandboxError
from tests.learners import timeless
from tests.learners.doubles import completion, loaded_model, transition
from tests.learners.parts.settings import settings
from tests.test_conf import composed

KL = {"reinforcepp": "reward_k1", "reinforcepp_baseline": "loss_k2", "grpo": "loss_k3", "rloo": "reward_k1"}
KL_COEF = {"reinforcepp": 0.01, "rloo": 0.03}


@pytest.fixture(autouse=True)
def without_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than all the rest of these runs."""
    monkeypatch.setattr("learners.run.run.plot", lambda run: run.path)


def run(folder: Path, name: str = "reinforcepp", tokens: str = "all", **changes: Any) -> Path:
    algorithm = conf.load("algorithm", name, truncated="keep", kl=KL[name])
    own: dict[str, Any] = {
        "record": {"tokens": tokens},
        "evaluation": {"every": 0},
        "rollout": {"tasks": 2, "episodes": 3},
        "checkpoint": {"every": 1, "keep": 9},
    }
    return train(settings(folder, {"algorithm": algorithm}, **(own | changes)))


def lines(folder: Path, name: str = "tokens") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text("utf-8").split("\n") if line]


def played(folder: Path) -> dict[str, RecordedEpisode]:
    return {episode.id: episode for _, episode in episodes.read(folder / "episodes.jsonl")}


def values(given: float | list[float], count: int) -> list[float]:
    return given if isinstance(given, list) else [given] * count


class Slow:
    """Log-probabilities of a run's tokens, by a forward pass for each."""

    def __init__(self, folder: Path, found: Mapping[str, RecordedEpisode]) -> None:
        self._folder = folder
        self._found = found
        self._loaded = replace(loaded_model(0), config=replace(loaded_model(0).config, max_prompt_tokens=160))
        self._chat = ChatFormat(self._loaded.tokenizer, self._loaded.config, frozenset({1}), "any")

    def logprobs(self, line: Mapping[str, Any], step: int) -> list[float]:
        """Those of a line under the weights after ``step`` steps."""
        path = self._folder / "checkpoints" / f"step-{step:06d}" / f"{line['agent']}.pt"
        self._loaded.model.load_state_dict(torch.load(path, weights_only=True)["weights"]["model"])
        ids = self._chat.prompt(self._found[line["episode"]].turns[line["turn"]].observation)
        values = []
        for token in line["ids"]:
            with torch.no_grad():
                logits = self._loaded.model(torch.tensor([ids])).logits[0, -1].double()
            values.append(float(logits[token] - logits.logsumexp(0)))
            ids = [*ids, token]
        return values


def slow_advantages(name: str, rows: Sequence[Mapping[str, Any]]) -> list[list[float] | None]:
    """The advantages of a step from scores and log-probabilities, as the papers have them."""
    made: list[list[float] | None] = [None] * len(rows)
    for i, row in enumerate(rows):
        if row["score"] is not None:
            later = [sum(row["k1"][place:]) for place in range(len(row["k1"]))]
            kept = [KL_COEF.get(name, 0.0) * (later[0] if name == "rloo" else one) for one in later]
            made[i] = [0.1 * row["score"] - one for one in kept]
    if name != "reinforcepp":
        values, made = made, [None] * len(rows)
        for members in together(rows, ("agent", "task", "attempt"), values):
            if len(members) > 1:
                firsts = {i: tokens[0] for i, tokens in members.items()}
                for i, tokens in members.items():
                    others = [one for j, one in firsts.items() if j != i or name != "rloo"]
                    scale = pstdev(firsts.values()) + 1e-8 if name == "grpo" else 1.0
                    flat = max(firsts.values()) - min(firsts.values()) < 1e-9
                    made[i] = [0.0 if flat else (one - fmean(others)) / scale for one in tokens]
    if name.startswith("reinforcepp"):
        for members in together(rows, ("agent",), made):
            every = [one for tokens in members.values() for one in tokens]
            for i, tokens in members.items():
                made[i] = [(one - fmean(every)) / (pstdev(every) + 1e-8) for one in tokens]
    return made


def together(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str], values: Sequence[list[float] | None]
) -> Iterator[dict[int, list[float]]]:
    """The known values of rows that agree in ``keys``, by the place of the row."""
    for key in dict.fromkeys(tuple(row[one] for one in keys) for row in rows):
        same = [i for i, row in enumerate(rows) if tuple(row[one] for one in keys) == key]
        yield {i: value for i in same if (value := values[i]) is not None}


@pytest.mark.slow
@pytest.mark.parametrize("name", KL)
def test_the_numbers_are_those_of_a_slow_computation(name: str, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", name)
    found, recorded = played(folder), lines(folder)
    slow, shown = Slow(folder, found), {"trained": 0, "masked": 0}
    turns = [(one.step, one.id, turn.index) for one in found.values() for turn in one.turns]
    assert [(line["step"], line["episode"], line["turn"]) for line in recorded] == turns
    for step in (0, 1):
        own, rows = [line for line in recorded if line["step"] == step], []
        for line in own:
            episode, count = found[line["episode"]], len(line["ids"])
            turn, verdict = episode.turns[line["turn"]], episode.verdicts[line["turn"]]
            assert "".join(line["text"]) == turn.action
            assert len(line["text"]) == len(line["logprob"]) == len(line["reference_logprob"]) == count
            assert line["logprob"] == pytest.approx(now := slow.logprobs(line, step), abs=1e-4)
            assert line["reference_logprob"] == pytest.approx(slow.logprobs(line, 0), abs=1e-4)
            k1 = [a - b for a, b in zip(line["logprob"], line["reference_logprob"], strict=True)]
            rows.append({"agent": turn.agent, "task": episode.task_id, "attempt": turn.attempt, "k1": k1,
                         "score": None if verdict is None else verdict.score})  # fmt: skip
            if line["advantage"] is not None:
                assert line["update_logprob"] == pytest.approx(now, abs=1e-4)
                assert (line["ratio"], line["marks"]) == (1.0, {})
                assert values(line["importance"], count) == pytest.approx([1.0] * count, abs=1e-4)
            else:
                assert (line["update_logprob"], line["ratio"], line["importance"]) == (None, None, None)
        for line, expected in zip(own, slow_advantages(name, rows), strict=True):
            assert (line["advantage"] is None) == (expected is None)
            shown["masked" if expected is None else "trained"] += 1
            if expected is not None:
                got = values(line["advantage"], len(line["ids"]))
                assert got == pytest.approx(expected, abs=2e-3, rel=2e-3)
    assert shown["trained"] > 20
    assert shown["masked"] or name != "reinforcepp", "some turns of this run have no verdict"


@pytest.mark.slow
def test_a_run_computes_the_same_with_and_without_and_writes_nothing_by_default(tmp_path: Path) -> None:
    plain, told = run(tmp_path / "plain", tokens="none"), run(tmp_path / "told")
    assert settings(tmp_path).record.tokens == "none"
    assert timeless.episodes(plain) == timeless.episodes(told)
    for name in ("metrics", "shared"):
        assert (plain / f"{name}.jsonl").read_bytes() == (told / f"{name}.jsonl").read_bytes()
    assert not (plain / "tokens.jsonl").exists()


@pytest.mark.slow
def test_a_sample_is_the_first_episode_of_each_task_in_every_step(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", tokens="sample")
    first = {(one.step, one.task_id): one.id for one in reversed(played(folder).values())}
    assert len(first) == 4
    assert {line["episode"] for line in lines(folder)} == set(first.values())


@pytest.mark.slow
def test_agents_that_do_not_learn_have_no_lines(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", learn=["b"])
    assert {line["agent"] for line in lines(folder)} == {"b"}
    every = {
        (one.id, turn.index) for one in played(folder).values() for turn in one.turns if turn.agent == "b"
    }
    assert {(line["episode"], line["turn"]) for line in lines(folder)} == every


class Interruption(BaseException):
    """Ends a run as abruptly as an exception can."""


@pytest.mark.slow
@pytest.mark.parametrize("calls", [1, 2])
def test_a_run_that_is_interrupted_has_the_lines_of_one_that_is_not(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        save, count = checkpoint.save, iter(range(9))

        def interrupted(*args: Any, **kwargs: Any) -> None:
            if next(count) == calls:
                raise Interruption
            save(*args, **kwargs)

        patch.setattr(checkpoint, "save", interrupted)
        with pytest.raises(Interruption):
            run(tmp_path / "cut")
    assert len(lines(tmp_path / "cut")) == calls * 18, "the last step is there, and no checkpoint has it"
    cut = run(tmp_path / "cut", resume=True)
    assert (cut / "tokens.jsonl").read_bytes() == (whole / "tokens.jsonl").read_bytes()


def test_an_algorithm_that_does_not_tell_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("learners.algorithms.base.PolicyGradient.terms")
    with pytest.raises(conf.ConfigError, match=r"record\.tokens: .*ReinforcePP lacks the method terms"):
        run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(conf.ConfigError, match=r"record\.tokens must be none, sample or all, not 'some'"):
        run(tmp_path / "run", tokens="some")


def test_numbers_are_rounded_and_equal_ones_written_once() -> None:
    sampled = replace(completion(2), token_ids=(7, 1), logprobs=(-1.23456, -0.00001))
    terms = TokenTerms((-1.0, -2.0), (1.0, 1.0), (1.23456789, 0.5), {"clip_fraction": (1,), "other": ()})
    texts = TokenTexts(("a", ""), {1: "<e>"})
    row = token_row(3, TokenRow(transition(1.0, sampled=sampled), texts, [0.1234567, -1e-9], terms))
    assert json.loads(json.dumps(row)) == {
        "step": 3, "episode": "e0", "turn": 0, "agent": "solver", "ids": [7, 1], "text": ["a", ""],
        "names": {"1": "<e>"}, "logprob": [-1.2346, 0.0], "update_logprob": [-1.0, -2.0],
        "reference_logprob": None, "ratio": 1.0, "importance": [1.2346, 0.5], "marks": {"clip_fraction": [1]},
        "advantage": [0.12346, -1e-9],
    }  # fmt: skip


@pytest.mark.slow
def test_the_documented_size_is_that_of_a_run(tmp_path: Path) -> None:
    words = ("env=mathchat", "experiment=smoke", "steps=1", "evaluation.every=0", "runtime.torch_threads=1")
    try:
        folder = train(composed(*words, "record.tokens=all", f"run_dir={tmp_path}/run"))
    except SandboxError as error:
        pytest.skip(f"no isolated local sandbox here: {error}")
    size, count = (folder / "tokens.jsonl").stat().st_size, sum(len(line["ids"]) for line in lines(folder))
    page = (conf.ROOT.parent / "docs" / "training.md").read_text(encoding="utf-8")
    [told] = re.findall(r"about (\d+) bytes a token", page)
    print(f"{size} bytes for {count} tokens: {size / count:.1f} each")
    assert size / count == pytest.approx(int(told), rel=0.2)
