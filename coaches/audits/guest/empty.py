"""Do the features hold anything?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy

from coaches.audits.guest.complaint import Complaint, listed
from coaches.audits.guest.tables import Tables

AUDIT = "empty"


def audit(tables: Tables) -> Iterator[Complaint]:
    """Counts the columns of X_train.pkl that are missing or the same in all rows: all of them is proof, half
    of them a doubt. A few are in many good tables."""
    frame = tables.features
    if frame is None or frame.shape[1] == 0 or len(frame) < 2:
        return
    numbers = frame.select_dtypes("number")
    values = numbers.to_numpy(float)
    low, high = numpy.fmin.reduce(values, axis=0), numpy.fmax.reduce(values, axis=0)
    same = [name for name, one in zip(numbers.columns, ~(low < high), strict=True) if one]
    same += [name for name in frame.columns.difference(numbers.columns) if frame[name].nunique() < 2]
    if len(same) == frame.shape[1] or len(same) >= max(2, frame.shape[1] / 2):
        yield Complaint(
            AUDIT, tables.names.features, "proof" if len(same) == frame.shape[1] else "doubt",
            f"{len(same)} of {frame.shape[1]} columns are missing or the same in all rows: {listed(same)}",
        )  # fmt: skip
