"""Are predictions of numbers on the target's scale, and if not, who lost it?

Engineers transform a target, modelers fit a transform of it, analysts invert that. Each step is sound if the
next one knows of it, so what agents say (``claims``) decides who is at fault for a submission on a wrong
scale; nobody is, as long as the submission is on the right one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy
import pandas

from coaches.audits.guest import models, relations
from coaches.audits.guest.complaint import Complaint, number
from coaches.audits.guest.tables import Tables

AUDIT = "scale"
_MOST_ROWS = 2000
SCALES: Mapping[str, Callable[[Any], Any]] = {
    "arcsinh": numpy.arcsinh,
    "log": numpy.log,
    "log1p": numpy.log1p,
    "sqrt": numpy.sqrt,
}
INVERSES: Mapping[str, Callable[[Any], Any]] = {
    "arcsinh": numpy.sinh,
    "log": numpy.exp,
    "log1p": numpy.expm1,
    "sqrt": numpy.square,
}


def audit(tables: Tables, given: pandas.Series, predicted: Any) -> Iterator[Complaint]:
    """Applies what the submission made of predictions to the training rows, and compares with the target."""
    frame, name = tables.features, tables.target_name
    target = relations.floats(tables.train[name]) if name else None
    if frame is None or target is None or len(frame) != len(target) or numpy.isnan(target).any():
        return
    inside = relations.floats(models.predict(tables.model, frame.iloc[:_MOST_ROWS]))
    values, outputs = relations.floats(given), relations.floats(predicted)
    if inside is None or values is None or outputs is None:
        return
    target = target[:_MOST_ROWS]
    order = numpy.argsort(outputs)
    mapped = extrapolated(inside, outputs[order], values[order])
    width = float(numpy.ptp(target))
    error = float(numpy.median(numpy.abs(mapped - target)))
    trivial = float(numpy.median(numpy.abs(target - numpy.median(target))))
    if error <= 2.0 * trivial or width == 0.0:
        return
    text = (
        f"its predictions are on another scale than the target: from {number(values.min())} to "
        f"{number(values.max())}, and the target is from {number(target.min())} to {number(target.max())}; "
        f"on training rows they are {number(error)} off in the median, and a constant {number(trivial)}"
    )
    yield from _culprit(tables, inside, target, text, is_raw=relations.same(values, outputs))


def unannounced(tables: Tables) -> tuple[float, float] | None:
    """Returns the range of a handed-over target on another scale than that of the task, if its maker does not
    say so; None otherwise. Needs no model."""
    target = relations.floats(tables.train[tables.target_name]) if tables.target_name else None
    handed = None if tables.target is None else relations.floats(tables.target)
    if not tables.is_regression or target is None or handed is None or len(handed) != len(target):
        return None
    if numpy.isnan(handed).any() or numpy.isnan(target).any():
        return None
    handed, target = handed[:_MOST_ROWS], target[:_MOST_ROWS]
    said = tables.facts.get("claims", {}).get(tables.names.target, ())
    if relations.same(handed, target) or _announced(scale_of(handed, target), said):
        return None
    return float(handed.min()), float(handed.max())


def extrapolated(points: Any, known: Any, images: Any) -> Any:
    """Interpolates, and continues with the slope of the whole beyond what is known."""
    inner = numpy.interp(points, known, images)
    width = known[-1] - known[0]
    slope = (images[-1] - images[0]) / width if width > 0.0 else 0.0
    below, above = numpy.minimum(points - known[0], 0.0), numpy.maximum(points - known[-1], 0.0)
    return inner + slope * (below + above)


def scale_of(values: Any, target: Any) -> str:
    """Returns the scale of values: ``itself`` (the target's), one of ``SCALES``, ``rescaled`` or ""."""
    errors = {"itself": _error(values, target)}
    with numpy.errstate(all="ignore"):
        for name, function in SCALES.items():
            errors[name] = _error(values, function(target))
    best = min(errors, key=lambda name: errors[name])
    if errors[best] < 0.5:
        return best
    line = numpy.polyfit(values, target, 1) if numpy.ptp(values) > 0.0 else numpy.zeros(2)
    return "rescaled" if _error(numpy.polyval(line, values), target) < 0.7 else ""


def _error(values: Any, wanted: Any) -> float:
    """Root mean square error, in standard deviations of what is wanted."""
    spread = float(numpy.std(wanted)) if numpy.isfinite(wanted).all() else 0.0
    return float(numpy.sqrt(numpy.mean((values - wanted) ** 2))) / spread if spread > 0.0 else numpy.inf


def _culprit(tables: Tables, inside: Any, target: Any, text: str, *, is_raw: bool) -> Iterator[Complaint]:
    names, claims = tables.names, tables.facts.get("claims", {})
    if (bounds := unannounced(tables)) is not None:
        yield Complaint(
            AUDIT, names.target, "proof",
            f"is on another scale than the target ({number(bounds[0])} to {number(bounds[1])}), "
            f"which its maker does not say; {names.submission}: {text}",
        )  # fmt: skip
        return
    handed = None if tables.target is None else relations.floats(tables.target)
    actual = scale_of(inside, target if handed is None else handed[:_MOST_ROWS])
    said = claims.get(names.model, ())
    if said and actual and not _announced(actual, said):
        yield Complaint(
            AUDIT, names.model, "words",
            f"predicts {_described(actual)}, and its maker says: {', '.join(said)}; "
            f"{names.submission}: {text}",
        )  # fmt: skip
    elif not said and actual not in ("", "itself"):
        yield Complaint(
            AUDIT, names.model, "proof",
            f"predicts {_described(actual)}, which its maker does not say; {names.submission}: {text}",
        )  # fmt: skip
    elif not is_raw or _announced(actual, said):
        yield Complaint(AUDIT, names.submission, "proof", text)
    else:
        yield Complaint(AUDIT, names.model, "proof", f"{names.submission}: {text}")


def _announced(actual: str, said: Collection[str]) -> bool:
    if actual == "itself" and not said:
        return True
    return actual in said or (actual == "log1p" and "log" in said) or (actual == "log" and "log1p" in said)


def _described(scale: str) -> str:
    return {"itself": "the target itself", "rescaled": "a rescaled target"}.get(
        scale, f"{scale} of the target"
    )
