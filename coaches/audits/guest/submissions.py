"""Does the submission follow from the model on the test features, row by row and on the target's scale?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pandas

from coaches.audits.guest import models, relations, scales
from coaches.audits.guest.complaint import Complaint, number, quote, rows
from coaches.audits.guest.tables import Tables

AUDIT = "submission"
_LEAST_SHARE = 0.98


def audit(tables: Tables) -> Iterator[Complaint]:
    """Compares submission.csv with what model.pkl predicts for X_test.pkl.

    Raises:
        PredictionError: the model does not predict it, so that nothing can be compared.
    """
    file = tables.names.submission
    given = submitted(tables)
    if given is None:
        return
    if (text := _plain(tables, given)) is not None:
        if _is_the_models(tables, given):
            yield Complaint(AUDIT, tables.names.model, "doubt", f"predicts {text}")
        else:
            yield Complaint(AUDIT, file, "proof", text)
        return
    if tables.model is None or tables.test_features is None or len(tables.test_features) != len(given):
        return
    method = "predict_proba" if tables.prediction == "proba" else "predict"
    predicted = models.predict(tables.model, tables.test_features, method)
    if tables.prediction == "label" or tables.prediction == "ranking":
        text = labels_follow(given, predicted, names=tables.names)
    else:
        text = numbers_follow(given, predicted, names=tables.names)
    if text:
        yield Complaint(AUDIT, file, "proof", text)
    elif tables.prediction == "proba":
        yield from _inverted(tables, given, predicted)
    elif tables.is_regression:
        yield from scales.audit(tables, given, predicted)


def submitted(tables: Tables) -> pandas.Series | None:
    """Returns the submitted values in the order of test.csv; None if they cannot be joined by id."""
    table, key = tables.submission, str(tables.facts.get("id_column", ""))
    if table is None or key not in table.columns or key not in tables.test.columns:
        return None
    columns = [name for name in table.columns if name != key]
    ids = table[key].astype(str)
    if len(columns) != 1 or not ids.is_unique:
        return None
    values = pandas.Series(table[columns[0]].to_numpy(), index=ids).reindex(tables.test[key].astype(str))
    return None if values.isna().any() else values.reset_index(drop=True)


def _plain(tables: Tables, given: pandas.Series) -> str | None:
    """Returns what is wrong with the values by themselves."""
    if given.nunique() == 1 and len(given) >= 5:
        return f"{quote(given.iloc[0])} in all {len(given)} rows"
    if tables.sample is not None and len(tables.sample) == len(given):
        column = tables.sample.iloc[:, -1]
        if column.nunique() > 1 and (column.astype(str).to_numpy() == given.astype(str).to_numpy()).all():
            return f"the values of {tables.names.sample} in all {len(given)} rows"
    return None


def _is_the_models(tables: Tables, given: pandas.Series) -> bool:
    """Returns whether one value was submitted for all rows, and is what the model predicts for them."""
    frame = tables.test_features
    if given.nunique() > 1 or tables.model is None or frame is None or len(frame) != len(given):
        return False
    try:
        predicted = pandas.Series(models.predict(tables.model, frame))
    except models.PredictionError:  # then the value is not the model's
        return False
    return predicted.nunique() == 1 and canonical(predicted)[0] == canonical(given)[0]


def numbers_follow(given: pandas.Series, predicted: Any, *, names: Any) -> str:
    """Returns why submitted numbers are no monotone function of predicted ones; "" if they are."""
    left, right = relations.floats(given), relations.floats(predicted)
    if left is None or right is None or numpy.isnan(right).any():
        return ""
    apart = len(numpy.unique(numpy.round(left, 9))), len(numpy.unique(numpy.round(right, 9)))
    if apart[0] <= 2 < 10 * apart[0] < apart[1]:
        return f"{apart[0]} different values in {len(left)} rows, and {names.model} predicts {apart[1]}"
    share = monotone_share(left, right)
    if share >= _LEAST_SHARE:
        return ""
    if _same_values(left, right):
        places = numpy.flatnonzero(numpy.argsort(numpy.argsort(left)) != numpy.argsort(numpy.argsort(right)))
        return (
            f"the values that {names.model} predicts for {names.test_features}, given to other ids: "
            f"{len(places)} of {len(left)} rows differ ({rows(places)})"
        )
    place = int(numpy.argmax(numpy.abs(left - right)))
    return (
        f"does not follow from {names.model} on {names.test_features}: {share:.0%} of {len(left)} rows are "
        f"in order; row {place} has {number(left[place])}, and the model predicts {number(right[place])}"
    )


def _same_values(given: Any, predicted: Any) -> bool:
    """Returns whether the values are those predicted, in any order, or their images under an affine function
    or the inverse of a usual transformation of targets."""
    ordered = numpy.sort(given)
    with numpy.errstate(all="ignore"):
        images = [predicted, *(inverse(predicted) for inverse in scales.INVERSES.values())]
    return any(
        numpy.isfinite(image).all() and relations.affine(numpy.sort(image), ordered) is not None
        for image in images
    )


def monotone_share(given: Any, predicted: Any) -> float:
    """Returns the share of rows on the best monotone function of the prediction, either way."""
    width = float(numpy.ptp(given))
    if width == 0.0:
        return 1.0
    from sklearn.isotonic import IsotonicRegression  # type: ignore[import-untyped]

    rises = relations.rank_correlation(predicted, given) >= 0.0
    fitted = IsotonicRegression(increasing=rises).fit_transform(predicted, given)
    return float(numpy.mean(numpy.abs(fitted - given) <= 1e-3 * width))


def labels_follow(given: pandas.Series, predicted: Any, *, names: Any) -> str:
    """Returns why submitted labels are not the predicted ones; "" if they are. Of several labels in a row
    (``ranking``), the first counts."""
    ours = canonical(given.astype(str).str.split().str[0] if given.dtype == object else given)
    theirs = canonical(pandas.Series(predicted))
    wrong = numpy.flatnonzero(ours != theirs)
    if len(wrong) <= (1.0 - _LEAST_SHARE) * len(ours):
        return ""
    example = (
        f"row {int(wrong[0])} has {quote(ours[wrong[0]])}, and the model predicts {quote(theirs[wrong[0]])}"
    )
    if sorted(ours) == sorted(theirs):
        return (
            f"the labels that {names.model} predicts for {names.test_features}, given to other ids: "
            f"{len(wrong)} of {len(ours)} rows differ; {example}"
        )
    return (
        f"does not follow from {names.model} on {names.test_features}: {len(wrong)} of {len(ours)} rows "
        f"differ; {example}"
    )


def canonical(values: pandas.Series) -> Any:
    """Returns labels as texts: ``1``, ``1.0`` and ``True`` are the same."""
    numbers = relations.floats(values)
    if numbers is None:
        numbers = pandas.to_numeric(values, errors="coerce").to_numpy(float)
    texts = values.astype(str).str.strip().to_numpy()
    return numpy.array(
        [text if numpy.isnan(one) else f"{one:g}" for one, text in zip(numbers, texts, strict=True)]
    )


def _inverted(tables: Tables, given: pandas.Series, predicted: Any) -> Iterator[Complaint]:
    """Complains of probabilities that fall where those of the second class rise."""
    left, right = relations.floats(given), relations.floats(predicted)
    if left is None or right is None:
        return
    rank = relations.rank_correlation(left, right)
    if rank > -0.5:
        return
    none, some = tables.model.classes_
    text = (
        f"falls where the model's probability of {quote(some)} rises (rank correlation {number(rank)}): it "
        f"is that of {quote(none)}"
    )
    names = tables.names
    if "column 0" in tables.facts.get("claims", {}).get(names.model, ()):
        said = f"its maker says that column 0 has the probability asked for; {names.submission} {text}"
        yield Complaint(AUDIT, names.model, "words", said)
    else:
        yield Complaint(AUDIT, names.submission, "proof", text)
