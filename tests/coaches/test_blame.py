"""Who is blamed for an artifact that was broken when it was handed over: one answer from every coach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import conf
from coaches.base import Verdict
from coaches.evidence import lineage
from coaches.judging.verdicts import judge_episode
from coaches.prompting import prompt
from coaches.prompting.prompt import Sizes
from coaches.prompting.transcript import transcript
from envs.types import Outcome, Role
from sandbox.artifacts import ArtifactCheck, ArtifactSpec
from sandbox.base import FileInfo
from tests.coaches.turns import ANALYST, ENGINEER, MODELER, TABLES, Story, ok, ran

LOST = Outcome(False, 0.0, {"fair": 0.5}, "missing")
SIZES = Sizes(seen=2000, action=1500, code=1500, output=800, files=800, earlier=500, answer=200, audits=400)
FITTED = {"fitted": True, "is_classifier": True, "is_regressor": False, "has_proba": True, "n_features_in": 4}
UNUSABLE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "unfitted": ("ok", {**FITTED, "fitted": False}),
    "estimator": ("ok", {**FITTED, "is_classifier": False, "is_regressor": True}),
    "proba": ("ok", {**FITTED, "has_proba": False}),
    "features": ("ok", {**FITTED, "n_features_in": 3}),
    "outputs": ("ok", {**FITTED, "n_outputs": 2}),
    "names": ("ok", {**FITTED, "feature_names": "others"}),
    "missing": ("missing", {}),
    "unreadable": ("unreadable", {}),
    "foreign": ("foreign", {}),
    "kind": ("kind", {}),
}
"""Code of a model that the analyst cannot use -> the code and the facts of its check."""


def coach(name: str, **settings: Any) -> Any:
    return conf.build("coaches", conf.fill_defaults("coach", {"name": name, **settings}))


COACHES = {
    "rules": coach("rules"),
    "hindsight": coach("hindsight"),
    "ensemble": coach("ensemble", coaches=[{"name": "rules"}, {"name": "hindsight"}]),
    "balanced": coach("balanced", coach={"name": "rules"}),
}


def judged(name: str, story: Story) -> list[Verdict]:
    verdicts = [one.verdict for one in judge_episode(COACHES[name], story.turns, LOST)]
    return [verdict for verdict in verdicts if verdict is not None]


def begun() -> Story:
    """Sound features of four columns."""
    story = Story(task_type="binary", prediction="proba", target_columns=("y",))
    facts = {"n_columns": 4, "dimensions": 2, "feature_names": "names"}
    return story.act(ENGINEER, codes=ok(TABLES), facts=facts)


def handed_over(code: str) -> Story:
    state, facts = UNUSABLE[code]
    story = begun()
    if state == "missing":
        return story.act(MODELER)
    return story.act(MODELER, codes={"model.pkl": state}, facts=facts)


def failing(story: Story) -> Story:
    """The analyst tries, fails on what it got, and gives up."""
    return story.act(ANALYST, result=ran("error", stderr="NotFittedError: …")).act(ANALYST, "It fails.")


@pytest.mark.parametrize("code", UNUSABLE)
@pytest.mark.parametrize("name", COACHES)
def test_the_modeler_is_to_blame_for_a_model_that_nobody_can_use(name: str, code: str) -> None:
    verdicts = judged(name, failing(handed_over(code)))
    assert [verdict.blame for verdict in verdicts] == [None, "modeler", "modeler", "modeler"]
    alone = judged(name, failing(begun().act(MODELER, codes=ok(["model.pkl"]), facts=FITTED)))
    assert verdicts[1].score < alone[1].score, "the modeler loses"
    assert verdicts[2].score > alone[2].score, "the analyst that ran into it does not"
    assert alone[2].blame == "analyst"


@pytest.mark.parametrize("name", ["rules", "hindsight"])
def test_an_analyst_that_replaces_the_model_answers_for_what_follows(name: str) -> None:
    story = handed_over("unfitted").act(ANALYST, codes=ok(["model.pkl"]), facts=FITTED)
    assert judged(name, story.act(ANALYST, "It still fails."))[-1].blame == "analyst"
    spoiled = handed_over("unfitted").act(ANALYST, codes={"model.pkl": "unreadable"})
    assert judged(name, spoiled)[-1].blame == "analyst"


@pytest.mark.parametrize("name", ["rules", "hindsight"])
def test_who_spoiled_an_artifact_on_its_way_is_blamed_and_not_its_maker(name: str) -> None:
    story = begun().act(MODELER, codes={"model.pkl": "ok", "X_test.pkl": "nan"}, facts=FITTED)
    assert judged(name, failing(story))[-1].blame == "modeler"


@pytest.mark.parametrize("name", ["rules", "hindsight"])
def test_who_removed_an_artifact_of_others_is_blamed_and_not_its_maker(name: str) -> None:
    story = begun()
    before = story.turns[0].files_after
    del story.files["X_test.pkl"], story.state["X_test.pkl"]
    story.act(MODELER, codes=ok(["model.pkl"]), facts=FITTED)
    story.turns[1] = replace(story.turns[1], files_before=before)
    assert judged(name, failing(story))[-1].blame == "modeler"


def compared() -> tuple[Any, Any]:
    """The roles of engineer and analyst, where X_test.pkl must have the columns of X_train.pkl."""
    specs = [replace(spec, columns_of="X_train.pkl") for spec in ENGINEER.produces[2:]]
    engineer = replace(ENGINEER, produces=(*ENGINEER.produces[:2], *specs))
    return engineer, replace(ANALYST, requires=(ANALYST.requires[0], *specs))


@pytest.mark.parametrize("name", ["rules", "hindsight"])
@pytest.mark.parametrize("guilty", ["modeler", "analyst"])
def test_who_changes_what_an_artifact_is_compared_with_is_blamed_and_not_its_maker(
    name: str, guilty: str
) -> None:
    engineer, analyst = compared()
    modeler = replace(MODELER, requires=MODELER.requires[:2])
    story = Story().act(engineer, codes=ok(TABLES))
    if guilty == "modeler":
        story.act(modeler, codes=ok(["X_train.pkl", "model.pkl"]), facts=FITTED)
    else:
        story.act(modeler, codes=ok(["model.pkl"]), facts=FITTED)
        story.act(analyst, codes=ok(["X_train.pkl"]))
    story.state["X_test.pkl"] = ArtifactCheck("X_test.pkl", "columns")
    story.act(analyst, result=ran("error")).act(analyst, "It fails.")
    assert judged(name, story)[-1].blame == guilty


@pytest.mark.parametrize("name", ["rules", "hindsight"])
def test_what_arrived_broken_stays_its_maker_s_when_a_harmless_file_changes(name: str) -> None:
    engineer, analyst = compared()
    story = Story().act(engineer, codes={**ok(TABLES), "X_test.pkl": "nan"})
    story.act(replace(MODELER, requires=MODELER.requires[:2]), codes=ok(["X_train.pkl", "model.pkl"]))
    assert judged(name, story.act(analyst, result=ran("error")))[-1].blame == "engineer"


def test_tables_that_do_not_fit_each_other_say_nothing_about_the_model() -> None:
    story = Story().act(ENGINEER, codes=ok(TABLES[:2]), facts={"n_columns": 4})
    story.act(ENGINEER, codes={"X_test.pkl": "columns"}, facts={"n_columns": 5})
    story.act(MODELER, codes=ok(["model.pkl"]), facts=FITTED)
    assert "features" not in judged("rules", story)[-1].rationale


def test_names_that_are_not_known_say_nothing_about_the_model() -> None:
    for model, table in (({}, {"feature_names": "n"}), ({"feature_names": "n"}, {})):
        story = Story().act(ENGINEER, codes=ok(TABLES), facts={"n_columns": 4, **table})
        story.act(MODELER, codes=ok(["model.pkl"]), facts={**FITTED, **model})
        assert judged("rules", story)[-1].score == 10.0


@pytest.mark.parametrize("checked", ["ok", "copied"])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("name", ["rules", "hindsight"])
def test_who_submits_what_a_constant_model_predicts_is_no_copier(
    name: str, constant: bool, checked: str
) -> None:
    story = begun().act(MODELER, codes=ok(["model.pkl"]), facts={**FITTED, "constant": constant})
    story.files["sample_submission.csv"] = FileInfo("sample_submission.csv", 1, "sample")
    story.act(ANALYST, codes=ok(["submission.csv"]), copies={"submission.csv": "sample_submission.csv"})
    story.state["submission.csv"] = ArtifactCheck("submission.csv", checked)
    checks = (*story.turns[-1].checks[:2], story.state["submission.csv"])
    story.turns[-1] = replace(story.turns[-1], checks=checks)
    story.act(ANALYST, "The submission is written.")
    lost = replace(LOST, failure_code="copied")
    verdicts = [one.verdict for one in judge_episode(COACHES[name], story.turns, lost)]
    guilty = "modeler" if name == "hindsight" else None
    assert {one.blame for one in verdicts[2:] if one} == ({guilty} if constant else {"analyst"})
    assert ([one.score for one in verdicts[2:] if one] == [10.0, 10.0]) is constant
    assert verdicts[1] is not None
    assert verdicts[1].blame == (guilty if constant else None)


def test_a_model_as_a_judge_is_told_the_same_as_the_rules() -> None:
    story = failing(handed_over("unfitted"))
    asked = prompt.question("", story.turns[:2], SIZES)
    assert any("model.pkl: unfitted" in text for _, text in asked.blocks)
    whole = transcript("", story.turns, LOST, [0])
    assert any("model.pkl: unfitted" in text for _, text in whole.blocks)
    assert "unfitted" in whole.facts


def test_the_turn_that_changed_what_a_product_is_compared_with_explains_the_failure() -> None:
    story = Story()
    story.act(ENGINEER, result=ran(), codes=dict.fromkeys(TABLES, "ok"))
    story.act(ENGINEER, result=ran(), codes={"X_train.pkl": "ok"})
    second = story.turns[-1]
    spoiled = [
        replace(check, code="columns") if check.name == "X_test.pkl" else check for check in second.checks
    ]
    story.turns[-1] = replace(second, checks=tuple(spoiled))
    story.state["X_test.pkl"] = replace(story.state["X_test.pkl"], code="columns")
    story.act(MODELER, result=ran(), codes={"model.pkl": "ok"}).act(ANALYST, result=ran("error"))
    found = lineage.culprit(story.turns, LOST)
    assert found is not None
    assert (found.agent, found.turn) == ("engineer", 1)


def test_a_program_that_failed_after_sound_handoffs_explains_the_failure() -> None:
    buyer = Role("buyer", "Buy.", 2, requires=(ArtifactSpec("plan.csv", "csv"),))
    fetcher = Role("fetcher", "Fetch.", 1, produces=(ArtifactSpec("plan.csv", "csv"),))
    story = Story().act(fetcher, result=ran(), codes={"plan.csv": "ok"})
    story.act(buyer, result=ran("error")).act(buyer, "The total is 7.")
    found = lineage.culprit(story.turns, LOST)
    assert found is not None
    assert (found.agent, found.turn, found.reason) == ("buyer", 1, "its last program ended in error")
