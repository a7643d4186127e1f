"""Reads logs of inspect_ai (``.eval`` or JSON) with inspect_ai itself.

An episode is a sample of an evaluation. A call of a model is a turn of the agent whose span it is in, or else
of the solver; what the tools that it called returned is its result. Models that scorers call are no turns.
The first scorer's value is the outcome where it is ``C``, ``I``, ``P``, ``N`` or a number from 0 to 1; only a
full score is a success. ``row["answer"]`` has the sample's target, ``row["scores"]`` what every scorer said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from coaches.recording.fields import BadRowError
from coaches.traces import files
from coaches.traces.inspect_turns import turns
from conf import ConfigError
from conf.errors import reason
from conf.extras import require

ABSENT = "files, checks and instructions of roles"
NAMES = ("*.eval",)
_ZIP = "PK\x03\x04"
_KNOWN = re.compile(r'"eval"\s*:\s*\{')
_VALUES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""The scores that inspect_ai writes as letters: correct, partially correct, incorrect, no answer."""
Row = dict[str, Any]


def recognises(start: str) -> bool:
    """Returns whether a file begins as a log of inspect_ai."""
    if start.startswith(_ZIP):
        return True
    return start.lstrip().startswith("{") and _KNOWN.search(start) is not None and '"status"' in start


def rows(path: Path) -> Iterator[tuple[str, Row | BadRowError]]:
    """Yields every sample of ``path``; see ``formats.Format``."""
    require("format=inspect", "inspect_ai")
    for file in files.of(path, (*NAMES, "*.json")):
        if file != path and not recognises(files.start(file)):
            continue  # beside logs lie lists of them, in JSON too
        try:
            log = _log(file)
        except BadRowError as error:
            yield str(file), error
            continue
        for sample in log.samples or []:
            place = f"{file}, sample {sample.id}, epoch {sample.epoch}"
            try:
                yield place, _row(log, sample)
            except BadRowError as error:
                yield place, error


def _log(file: Path) -> Any:
    from inspect_ai.log import read_eval_log

    try:
        size = file.stat().st_size
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {reason(error)}") from None
    if size == 0:
        raise BadRowError("the file is empty")
    kind = "eval" if files.start(file).startswith(_ZIP) else "json"
    try:
        log = read_eval_log(str(file), resolve_attachments="full", format=kind)
    except Exception as error:  # whatever its parsers raise: they do not say
        said = next(iter(str(error).splitlines()), "")
        raise BadRowError(f"inspect_ai cannot read it: {type(error).__name__}: {said:.200}") from None
    if not log.samples:
        raise BadRowError(f"the log has no samples; its status is {log.status!r}")
    return log


def _row(log: Any, sample: Any) -> Row:
    made, missing = turns(sample)
    if not made:
        raise BadRowError("no model was called" + (f": {sample.error.message:.200}" if sample.error else ""))
    outcome = _outcome([scorer.name for scorer in log.eval.scorers or []], sample.scores or {})
    answer = sample.target if isinstance(sample.target, str) else "\n".join(sample.target)
    started, made = _timed(made)
    row = {
        "id": sample.uuid or f"{log.eval.eval_id}/{sample.id}/{sample.epoch}",
        "task": f"{log.eval.task}/{sample.id}",
        "turns": made,
        "outcome": outcome,
        "answer": answer or None,
        "scores": {name: score.value for name, score in (sample.scores or {}).items()},
        "started": started,
    }
    optional = {"outcome": "outcome", "answer": "true answer", "started": "times"}
    return row | {"missing": [what for key, what in optional.items() if row[key] is None] + missing}


def _outcome(scorers: Sequence[str], scores: Mapping[str, Any]) -> Row | None:
    """Returns the outcome by the first scorer that scored; None without a value that is a share of 1."""
    name = next((one for one in scorers if one in scores), next(iter(scores), None))
    value = None if name is None else scores[name].value
    if isinstance(value, str):
        value = _VALUES.get(value)
    if not isinstance(value, bool | int | float) or not 0.0 <= value <= 1.0:
        return None
    return {"success": float(value) == 1.0, "score": float(value)}


def _timed(made: Sequence[Row]) -> tuple[float | None, list[Row]]:
    """Returns when the first turn began, in seconds since 1970, and the turns with times from there on.

    None, and the turns without times, if a moment is not known or they are not in order.
    """
    moments = [row["moments"] for row in made]
    bare = [{key: value for key, value in row.items() if key != "moments"} for row in made]
    if any(None in one or list(one) != sorted(one) for one in moments):
        return None, bare
    start = moments[0][0]
    if any(first[0] > then[0] for first, then in pairwise(moments)):
        return None, bare
    keys = ("began", "acted", "ended")
    return start, [
        row | {"times": {key: round(at - start, 4) for key, at in zip(keys, when, strict=True)}}
        for row, when in zip(bare, moments, strict=True)
    ]
