"""The coach with fitted weights: its features, its fit, its file, and what it makes of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import conf
from benchmarks.corpus.cases import path_of
from coaches import calibrate, fit
from coaches.audits.findings import Finding
from coaches.base import HindsightCoach, Verdict, judges_turns, reads_files
from coaches.fitted import features, fitting
from coaches.fitted.features import FEATURES, Evidence
from coaches.fitted.fitting import Labelled
from coaches.fitted.model import SHIPPED, FaultModel
from coaches.learned import Learned
from conf import ConfigError
from envs.types import Outcome, Turn
from tests.coaches.turns import ANALYST, ENGINEER, MODELER, TABLES, Story, ran

FAILED = Outcome(False, 0.0, {"fair": 0.0}, "missing")
COLUMNS = list(FEATURES)


def story() -> tuple[Turn, ...]:
    """The modeler leaves no model, on which the analyst's program fails."""
    told = Story().act(ENGINEER, result=ran(), codes=dict.fromkeys(TABLES, "ok"))
    told = told.act(MODELER, result=ran(), codes={"model.pkl": "missing"})
    return tuple(told.act(ANALYST, result=ran("error"), codes={"submission.csv": "missing"}).turns)


def evidence(*findings: Finding) -> Evidence:
    verdicts = (Verdict(10.0, ""), Verdict(0.5, "", "modeler"), Verdict(5.0, "", "modeler", blocked=True))
    return Evidence(story(), FAILED, verdicts, findings, audited=True)


def column(table: features.Array, name: str) -> list[float]:
    values: list[float] = table[:, COLUMNS.index(name)].tolist()
    return values


def test_features_say_what_the_evidence_says() -> None:
    proof = [Finding("products", 1, "proof", "model.pkl missing"), Finding("x", 2, "proof", "")]
    table = features.table(evidence(*proof))
    assert table.shape == (3, len(FEATURES))
    assert column(table, "failed") == column(table, "lost") == [1, 1, 1]
    assert column(table, "doubted") == [0, 0.95, 0.5]
    assert column(table, "accused") == [0, 1, 0]
    assert column(table, "blocked") == [0, 0, 1]
    assert column(table, "proven") == [0, 1, 0]
    assert column(table, "proven again") == [0, 0, 1]
    assert column(table, "after the proof") == [0, 0, 1]
    assert column(table, "before the proof") == [1, 0, 0]
    assert column(table, "broken products") == [0, 1, 1]
    assert column(table, "error") == [0, 0, 1]
    assert column(table, "traced") == [0, 0, 0]
    assert column(features.table(evidence()), "traced") == [0, 1, 0], "without any finding"
    suspected = features.table(evidence(Finding("x", 2, "doubt", "")))
    assert column(suspected, "suspected") == [0, 0, 1]
    assert column(suspected, "another suspected") == [1, 1, 0]


def test_every_feature_is_a_share_and_has_a_meaning() -> None:
    table = features.table(evidence(Finding("x", 0, "proof", "")))
    assert ((table >= 0) & (table <= 1)).all()
    assert all(FEATURES.values())


def made(turns: int = 400, seed: int = 0) -> Labelled:
    """A turn is at fault with the odds of a known model of two features."""
    rng = np.random.default_rng(seed)
    rows = rng.random((turns, len(FEATURES)))
    odds = 6 * rows[:, 0] - 4 * rows[:, 1] - 2
    faulty = rng.random(turns) < 1 / (1 + np.exp(-odds))
    return Labelled(rows, faulty, np.array([f"task {n % 11}" for n in range(turns)]))


def test_the_fit_is_where_the_penalized_loss_has_no_slope() -> None:
    data = made()
    model = fitting.fit(data, {}, seed=0)
    centered = data.rows - data.rows.mean(axis=0)
    weights = np.array(model.coefficients)
    predicted = 1 / (1 + np.exp(-(centered @ weights + model.intercept)))
    slope = centered.T @ (predicted - data.faulty) + weights / fitting.STRENGTH
    assert np.abs(slope).max() < 1e-2
    assert abs((predicted - data.faulty).sum()) < 1e-2
    assert model.held_out["log_loss"] < model.held_out["log_loss_of_the_share"]
    assert fitting.fit(data, {}, seed=0) == model, "the same data give the same model"


def test_a_probability_is_the_sum_of_its_parts() -> None:
    data = made()
    model = fitting.fit(data, {}, seed=0)
    row = data.rows[7]
    odds = model.intercept + sum(
        weight * (value - mean)
        for weight, value, mean in zip(model.coefficients, row, model.mean, strict=True)
    )
    wanted = 1 / (1 + np.exp(-(model.slope * odds + model.offset)))
    assert model.probabilities(data.rows)[7] == pytest.approx(wanted)
    total = model.parts(data.rows)[7].sum() + model.slope * model.intercept + model.offset
    assert 1 / (1 + np.exp(-total)) == pytest.approx(wanted)


def test_a_fit_needs_tasks_to_hold_out() -> None:
    data = made()
    with pytest.raises(ConfigError, match="faults in 1 tasks: at least 5 are needed"):
        fitting.fit(replace(data, tasks=np.full(len(data.rows), "one")), {}, seed=0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"features": ["failed", "mood"]}, r"was fitted with other features \('mood' only there\): fit it"),
        ({"features": COLUMNS[1:]}, r"other features \('failed' only here\)"),
        ({"features": COLUMNS[::-1]}, r"other features \(in another order or version\)"),
        ({"version": 0}, r"other features \(in another order or version\)"),
        ({"mean": [0.5]}, "it lacks finite numbers"),
        ({"intercept": float("nan")}, "it lacks finite numbers"),
        ({"slope": "1"}, "it lacks finite numbers"),
        ({"color": "red"}, "is not a model of python -m coaches.fit: "),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(
    change: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(SHIPPED.read_text()) | change))
    with pytest.raises(ConfigError, match=complaint) as error:
        conf.build("coaches", conf.load("coach", "learned", path=str(path)))
    assert "\n" not in str(error.value)


def test_what_a_model_lacks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"not a model of python -m coaches\.fit: it has no 'version'"):
        FaultModel.read(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "\x80", '{"version": 1}'])
def test_what_is_no_model_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"model\.json is not a model of python -m coaches\.fit: "):
        FaultModel.read(path)


def test_a_model_is_unchanged_after_writing_and_reading(tmp_path: Path) -> None:
    model = fitting.fit(made(), {"sha256": "0"}, seed=3)
    model.write(tmp_path / "model.json")
    assert FaultModel.read(tmp_path / "model.json") == model


def test_another_coach_cannot_audit() -> None:
    with pytest.raises(ConfigError, match="coach learned: audit must be an audit coach, not 'rules'"):
        conf.build("coaches", conf.load("coach", "learned", audit={"name": "rules"}))


def test_the_likeliest_turn_scores_lowest_and_is_blamed_with_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    coach = conf.build("coaches", conf.load("coach", "learned"))
    assert isinstance(coach, Learned)
    assert isinstance(coach, HindsightCoach)
    assert not judges_turns(coach)
    assert reads_files(coach)
    proof = Finding("products", 1, "proof", "model.pkl missing")
    monkeypatch.setattr(coach.audit, "findings", lambda turns, outcome: ([proof], ""))
    verdicts = [one for one in coach.judge_episode(story(), FAILED) if one is not None]
    assert [one.blame for one in verdicts] == [None, "modeler", None]
    assert verdicts[1].score < 1 < 9 < min(verdicts[0].score, verdicts[2].score)
    assert verdicts[1].rationale.startswith("probability of fault 0.9")
    assert "proven +" in verdicts[1].rationale
    assert verdicts[1].rationale.endswith("products: model.pkl missing")
    assert [one.parts[0].source for one in verdicts if one.parts[0] is not None] == ["rules"] * 3
    assert coach.judge_episode(story(), FAILED) == verdicts


def lines(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    turns = [{"agent": agent, "action": agent} for agent in "abc"]
    return [{"id": f"e{n}", "turns": turns, "outcome": {"success": True}} | row for n, row in enumerate(rows)]


def verdict(score: float, source: str = "counterfactual") -> dict[str, Any]:
    return {"score": score, "blame": "b", "source": source}


def test_faults_come_from_labels_or_from_measured_verdicts(tmp_path: Path) -> None:
    scores = {"a": 5, "b": 1, "c": 1}
    measured = [{"agent": a, "action": a, "verdict": verdict(score)} for a, score in scores.items()]
    judged = [{"agent": a, "action": a, "verdict": verdict(1, "rules")} for a in "abc"]
    rows = lines({"fault": None}, {"fault": {"turn": 2}}, {"turns": measured}, {"turns": judged}, {})
    path = tmp_path / "e.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found, left_out = fit.known([path])
    assert [one.faults for one in found] == [[False] * 3, [False, False, True], [False, True, False]]
    assert left_out == [f"episode {name} does not tell its faults" for name in ("e3", "e4")]
    path.write_text(json.dumps(lines({"fault": {"turn": 3}})[0]))
    with pytest.raises(ConfigError, match="episode e0: fault: turn must be from 0 to 2, not 3"):
        fit.known([path])
    path.write_text(json.dumps(lines({})[0]))
    with pytest.raises(ConfigError, match="no episode tells its faults; the first: episode e0 does not"):
        fit.known([path])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--out", "e.jsonl"], "--out is the file that is read: e.jsonl"),
        (["--out", "model.json", "--prm", "e.jsonl"], "--prm is the file that is read: e.jsonl"),
        (["--out", "model.json", "--prm", "./model.json"], "--prm is the file of --out: model.json"),
    ],
)
def test_a_result_takes_the_place_of_no_other_file_of_the_command(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("e.jsonl").write_text("episodes")
    commands = [fit.main, *([calibrate.main] if "--prm" not in words else [])]
    for command in commands:
        with pytest.raises(SystemExit):
            command(["e.jsonl", *words, "--overwrite"])
        assert capsys.readouterr().err == f"error: {complaint}\n"
    assert Path("e.jsonl").read_text() == "episodes"


def test_the_model_that_ships_was_fitted_on_the_public_part_as_it_is() -> None:
    found, left_out = fit.known([path_of("public")])
    assert not left_out
    assert fit.described(found) == FaultModel.read(SHIPPED).data, "fit again what ships"


@pytest.mark.slow
def test_the_command_makes_the_model_that_ships_and_rows_for_a_reward_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")  # hundreds of containers take minutes
    out, steps = tmp_path / "model.json", tmp_path / "steps.jsonl"
    fit.main([str(path_of("public")), "--out", str(out), "--prm", str(steps)])
    again, shipped = FaultModel.read(out), FaultModel.read(SHIPPED)
    assert again.data == shipped.data
    for findings in ([], [Finding("x", 1, "proof", "")], [Finding("x", 2, "proof", "")]):
        table = features.table(evidence(*findings))
        difference = again.probabilities(table) - shipped.probabilities(table)
        assert np.abs(difference).max() < 0.02, "fit again what ships: the audits or the corpus have changed"
    rows = [json.loads(line) for line in steps.read_text().splitlines()]
    assert sum(row["labels"] == [False] for row in rows) <= again.data["faulty"]
    assert {tuple(row) for row in rows} == {("prompt", "completions", "labels", "provenance")}
