"""Audits of models and submissions: each on sound artifacts and on faulty ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # type: ignore[import-untyped]
from sklearn.linear_model import Ridge  # type: ignore[import-untyped]

from coaches.audits.guest import models, scales, submissions
from tests.coaches.audits.artifacts import LABEL, PROBA, REGRESSION, complaints, resubmitted, sound


@pytest.mark.parametrize("facts", [REGRESSION, PROBA, LABEL])
def test_a_sound_model_and_submission_give_no_complaint(facts: dict[str, Any]) -> None:
    assert complaints(models.audit, sound(facts)) == []
    assert complaints(submissions.audit, sound(facts)) == []


def test_a_model_left_on_a_sample_says_so_itself() -> None:
    tables = sound()
    assert tables.features is not None
    assert tables.target is not None
    model = RandomForestRegressor(5, random_state=0).fit(tables.features[:20], tables.target[:20])
    [(file, text)] = complaints(models.audit, replace(tables, model=model))
    assert (file, text) == ("model.pkl", "fitted on 20 of the 200 rows of X_train.pkl")


@pytest.mark.parametrize("facts", [REGRESSION, LABEL])
def test_a_model_fitted_on_other_rows_or_labels_orders_its_own_rows_badly(facts: dict[str, Any]) -> None:
    tables = sound(facts)
    assert tables.features is not None
    assert tables.target is not None
    shuffled = tables.features.sample(frac=1.0, random_state=0)
    model = type(tables.model)(10, min_samples_leaf=2, random_state=0).fit(shuffled, tables.target)
    [(file, text)] = complaints(models.audit, replace(tables, model=model))
    assert file == "model.pkl"
    assert "when the same model is fitted on them: it was fitted on other rows or targets" in text


def test_a_weak_model_of_the_right_rows_is_no_proof_of_other_rows() -> None:
    """Ridge cannot follow a target that turns around; a small tree can."""
    tables = sound(REGRESSION)
    assert tables.features is not None
    assert tables.target is not None
    turning = (tables.features.iloc[:, 0] - tables.features.iloc[:, 0].mean()).abs()
    model = Ridge().fit(tables.features, turning)
    [complaint] = models.audit(replace(tables, target=turning, model=model))
    assert complaint.strength == "doubt"
    assert "a weak model" in complaint.text
    assert "other rows" not in complaint.text


def test_a_model_of_another_kind_than_the_task_is_no_proof_of_other_rows() -> None:
    tables = sound(LABEL)
    model = RandomForestRegressor(10, random_state=0).fit(tables.features, tables.target)
    assert [one.strength for one in models.audit(replace(tables, model=model))] == ["doubt"]


def test_inverted_labels_of_a_model_are_worse_than_any_tree() -> None:
    tables = sound(LABEL)
    assert tables.target is not None
    model = type(tables.model)(10, random_state=0).fit(tables.features, 1 - tables.target)
    assert len(complaints(models.audit, replace(tables, model=model))) == 1


def test_a_transformed_target_leaves_the_order_of_a_model_as_it_is() -> None:
    tables = sound()
    assert tables.target is not None
    model = RandomForestRegressor(10, random_state=0).fit(tables.features, np.arcsinh(tables.target))
    assert complaints(models.audit, replace(tables, model=model)) == []


def test_a_submission_in_the_order_of_sorted_ids() -> None:
    tables = sound()
    assert tables.submission is not None
    ids = tables.submission["id"].sort_values(ignore_index=True)
    [(file, text)] = complaints(
        submissions.audit, replace(tables, submission=tables.submission.assign(id=ids))
    )
    assert file == "submission.csv"
    assert text.startswith("the values that model.pkl predicts for X_test.pkl, given to other ids: ")


def test_rows_in_another_order_with_their_ids_are_sound() -> None:
    tables = sound()
    assert tables.submission is not None
    assert complaints(submissions.audit, replace(tables, submission=tables.submission[::-1])) == []


def test_a_submission_that_does_not_follow_from_the_model() -> None:
    tables = sound()
    other = np.random.default_rng(0).normal(3000.0, 500.0, 90)
    [(_, text)] = complaints(submissions.audit, resubmitted(tables, other))
    assert text.startswith("does not follow from model.pkl on X_test.pkl: ")
    [(_, text)] = complaints(submissions.audit, resubmitted(tables, 7.0))
    assert text == "'7.0' in all 90 rows"


def test_a_copied_sample_is_named() -> None:
    tables = sound(PROBA)
    assert tables.submission is not None
    sample = tables.submission.assign(sold=np.tile([0.4, 0.6], 45))
    [(_, text)] = complaints(submissions.audit, resubmitted(replace(tables, sample=sample), sample["sold"]))
    assert text == "the values of sample_submission.csv in all 90 rows"


def test_probabilities_of_the_other_class_and_rounded_ones() -> None:
    tables = sound(PROBA)
    assert tables.submission is not None
    inverted = resubmitted(tables, 1.0 - tables.submission["sold"])
    [(file, text)] = complaints(submissions.audit, inverted)
    assert file == "submission.csv"
    assert "it is that of '0'" in text
    said = replace(inverted, facts=PROBA | {"claims": {"model.pkl": ("column 0",)}})
    [complaint] = submissions.audit(said)
    assert (complaint.artifact, complaint.strength) == ("model.pkl", "words")
    [(_, text)] = complaints(submissions.audit, resubmitted(tables, tables.submission["sold"].round()))
    assert text.startswith("2 different values in 90 rows")


def test_labels_may_be_written_otherwise_and_not_be_others() -> None:
    tables = sound(LABEL)
    assert tables.submission is not None
    values = tables.submission["sold"]
    assert complaints(submissions.audit, resubmitted(tables, values.astype(float))) == []
    [(_, text)] = complaints(submissions.audit, resubmitted(tables, 1 - values))
    assert text.startswith("does not follow from model.pkl") or "given to other ids" in text


def transformed(claims: Mapping[str, tuple[str, ...]], *, inverted: bool) -> Any:
    tables = sound()
    assert tables.target is not None
    model = RandomForestRegressor(10, min_samples_leaf=2, random_state=0)
    model.fit(tables.features, np.arcsinh(tables.target))
    values = model.predict(tables.test_features)
    return resubmitted(
        replace(tables, model=model, facts=REGRESSION | {"claims": claims}),
        np.sinh(values) if inverted else values,
    )


def test_a_lost_scale_is_the_fault_of_who_did_not_say_or_did_not_listen() -> None:
    said = {"model.pkl": ("arcsinh",)}
    assert list(submissions.audit(transformed(said, inverted=True))) == []
    assert list(submissions.audit(transformed({}, inverted=True))) == []
    [careless] = submissions.audit(transformed(said, inverted=False))
    assert (careless.artifact, careless.strength) == ("submission.csv", "proof")
    assert "on another scale than the target" in careless.text
    [silent] = submissions.audit(transformed({}, inverted=False))
    assert (silent.artifact, silent.strength) == ("model.pkl", "proof")
    [wrong] = submissions.audit(transformed({"model.pkl": ("itself",)}, inverted=False))
    assert (wrong.artifact, wrong.strength) == ("model.pkl", "words")


def test_scales_are_told_apart() -> None:
    target = np.random.default_rng(0).gamma(2.0, 500.0, 300)
    for name, function in scales.SCALES.items():
        assert scales.scale_of(function(target), target) == name
    assert scales.scale_of(target * 1.01, target) == "itself"
    assert scales.scale_of((target - target.mean()) / target.std(), target) == "rescaled"
    assert scales.scale_of(np.random.default_rng(1).normal(size=300), target) == ""


def test_how_many_rows_a_model_has_seen() -> None:
    tables = sound()
    assert models.fitted_rows(tables.model) == 200
    assert models.fitted_rows(RandomForestRegressor()) == 0
    assert models.fitted_rows(pd.Series([1])) == 0


def test_what_a_model_claims_does_not_hide_how_many_rows_it_has_seen() -> None:
    tables = sound(LABEL)
    assert tables.features is not None
    assert tables.target is not None
    half = RandomForestClassifier(10, random_state=0).fit(tables.features[:80], tables.target[:80])
    for claims in ({"n_samples_fit_": 10**9, "shape_fit_": ()}, {"class_weight": "balanced"}):
        half.__dict__.update(claims)
        texts = [text for _, text in complaints(models.audit, replace(tables, model=half))]
        assert [text for text in texts if text.startswith("fitted on ")], texts
    half.__dict__.update(estimators_=[half], tree_="none")
    [doubt, *_] = models.audit(replace(tables, model=half))
    assert (doubt.strength, doubt.text[:31]) == ("doubt", "has a state that no fit leaves:")


def test_class_weights_do_not_make_a_model_suspect() -> None:
    tables = sound(LABEL)
    for weights in ("balanced", {0: 1.0, 1: 30.0}):
        model = RandomForestClassifier(10, class_weight=weights, random_state=0)
        weighted = model.fit(tables.features, tables.target)
        assert models.fitted_rows(weighted) > 180


def test_an_estimator_of_the_other_kind_is_in_doubt() -> None:
    tables = sound()
    assert tables.features is not None
    assert tables.target is not None
    classes = RandomForestClassifier(5, random_state=0).fit(
        tables.features, tables.target.round().astype(int)
    )
    found = [one for one in models.audit(replace(tables, model=classes)) if one.strength == "doubt"]
    assert [one.text.startswith("is a classifier of ") for one in found] == [True]
    labels = sound(LABEL)
    assert labels.target is not None
    numbers = RandomForestRegressor(5, random_state=0).fit(tables.features, labels.target)
    texts = [text for _, text in complaints(models.audit, replace(labels, model=numbers))]
    assert not [text for text in texts if text.startswith("is a ")], (
        "of two classes, it may give probabilities"
    )


def test_one_label_for_all_rows_is_the_models_where_the_model_gives_it() -> None:
    tables = sound(LABEL)
    assert tables.features is not None
    ones = pd.Series(np.r_[np.ones(199, int), 0])
    model = RandomForestClassifier(5, min_samples_leaf=20, random_state=0).fit(tables.features, ones)
    constant = resubmitted(replace(tables, model=model), 1)
    [complaint] = submissions.audit(constant)
    assert (complaint.artifact, complaint.strength) == ("model.pkl", "doubt")
    [complaint] = submissions.audit(resubmitted(constant, 0))
    assert (complaint.artifact, complaint.strength) == ("submission.csv", "proof")
