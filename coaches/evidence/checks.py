"""What the record of a turn proves, without trusting what the agent says about itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice

from envs.actions.parsing import extract_program, strip_thinking
from envs.actions.python_text import is_python
from envs.types import Turn
from sandbox.artifacts import ArtifactCheck, ArtifactSpec

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+|[eE][+-]?\d{1,2}\b)?")
_TOKEN = re.compile(r"\d+|[^\W\d_]{6,}")
"""What a plan repeats from its task: numbers, and words too long to be common."""
_MOST_NUMBERS = 20
"""In a report; one with more of them states none."""
_TO_THE_COACH = re.compile(
    r"(?<![a-z])(score|reward|rating|grade|verdict)\W{0,5}(is|of|to)?\W{0,5}\d"
    r"|(?<![a-z])(coach|judge|grader|evaluator)(?![a-z])|^\s*#+ |<\W?tool|<\|",
    re.IGNORECASE,
)


def own_turns(history: Sequence[Turn]) -> list[Turn]:
    """Returns the earlier turns of the agent that acted last."""
    return [turn for turn in history[:-1] if turn.agent == history[-1].agent]


def codes(turn: Turn) -> dict[str, str]:
    """Returns artifact -> what is wrong with it after the turn; ``ok`` if nothing is.

    For every artifact that the role requires or produces. This is the one definition of a broken artifact,
    for the agent that hands it over and for the one that receives it. In addition to the codes of the checks
    there are ``copied``, a csv product that is another file under a new name; and, of a model that cannot do
    this task, ``unfitted`` (it or a part of it), ``estimator`` (of another kind), ``proba`` (without
    probabilities) and ``features`` (fitted on other columns, or on another number of targets). A product
    without a check is ``missing``; nothing is known of a required artifact without one, and it is omitted.

    A model that predicts the same for every row is poor, but in order; and who submits what it predicts has
    copied nothing, even if the sample submission happens to have the same values: such a file is ``ok``, and
    ``constant_models`` explains the outcome.
    """
    return input_codes(turn) | product_codes(turn)


def product_codes(turn: Turn) -> dict[str, str]:
    """Returns ``codes`` of the artifacts that the role must produce."""
    checked = {check.name: check for check in turn.checks}
    return {
        spec.name: "missing" if (check := checked.get(spec.name)) is None else _code(spec, check, turn)
        for spec in turn.role.produces
    }


def input_codes(turn: Turn) -> dict[str, str]:
    """Returns ``codes`` of the artifacts that the role requires."""
    checked = {check.name: check for check in turn.checks}
    required = [spec for spec in turn.role.requires if spec.name in checked]
    return {spec.name: _code(spec, checked[spec.name], turn) for spec in required}


def constant_models(turn: Turn) -> list[str]:
    """Returns the models that the role requires and that predict the same for every row."""
    required = {spec.name for spec in turn.role.requires if spec.kind == "estimator"}
    sound = [check for check in turn.checks if check.name in required and check.code == "ok"]
    return [check.name for check in sound if check.facts.get("constant") is True]


def bad_inputs(history: Sequence[Turn]) -> tuple[list[str], list[str]]:
    """Returns the required artifacts that are bad after the last turn: (inherited, spoiled).

    An artifact is inherited if its file has not changed since before the agent's first turn, and neither has
    what it is compared with, unless it was bad before that. Otherwise the agent itself spoiled it.
    """
    turn = history[-1]
    start = next(place for place, earlier in enumerate(history) if earlier.agent == turn.agent)
    at_first = {file.path: file.sha256 for file in history[start].files_before}
    now = {file.path: file.sha256 for file in turn.files_after}
    changed = {path for path in at_first.keys() | now.keys() if at_first.get(path) != now.get(path)}
    bad = [name for name, code in input_codes(turn).items() if code != "ok"]
    inherited = [
        name
        for name in bad
        if name not in changed
        and (not changed & references(turn, name) or _last_code(history[:start], name) not in (None, "ok"))
    ]
    return inherited, [name for name in bad if name not in inherited]


def references(turn: Turn, name: str) -> set[str]:
    """Returns the files that the required artifact ``name`` is compared with, so that its code depends on
    them."""
    spec = next(spec for spec in turn.role.requires if spec.name == name)
    tables = [other.name for other in turn.role.requires if other.kind == "table"]
    return {
        *(path for path in (spec.rows_of, spec.columns_of) if path is not None),
        *(tables if spec.kind == "estimator" else ()),
    }


def printed(turn: Turn) -> str | None:
    """Returns the last line printed by a program that ran without error; None if there is none."""
    if turn.result is None or turn.result.status != "ok":
        return None
    lines = [line.strip() for line in turn.result.stdout.splitlines() if line.strip()]
    return lines[-1] if lines else None


def last_printed(history: Sequence[Turn]) -> tuple[str, str] | None:
    """Returns the last line printed by the latest program that printed one, and the agent that wrote the
    program."""
    values = ((printed(turn), turn.agent) for turn in reversed(history))
    return next(((value, agent) for value, agent in values if value is not None), None)


def substance(action: str) -> str:
    """Returns the action without thinking and without lines that grade it or address its judge.

    Use it only to tell something from nothing: a line about a coach in a problem about coaches is removed
    too.
    """
    lines = strip_thinking(action).splitlines()
    return "\n".join(line for line in lines if not _TO_THE_COACH.search(line)).strip()


def agrees(said: str, value: str) -> bool:
    """Returns whether ``said`` equals the printed ``value``: the same text, or the same last number."""
    if said.strip() == value.strip():
        return True
    ours, theirs = list(_numbers(said)), list(_numbers(value))
    return bool(ours and theirs) and _close(ours[-1], theirs[-1])


def mentions(action: str, value: str) -> bool:
    """Returns whether the action states the printed ``value``, as a number or verbatim.

    An action that lists more than ``_MOST_NUMBERS`` numbers states none of them.
    """
    text, theirs = substance(action), list(_numbers(value))
    if theirs:
        ours = list(islice(_numbers(text), _MOST_NUMBERS + 1))
        return len(ours) <= _MOST_NUMBERS and any(_close(number, theirs[-1]) for number in ours)
    return value.strip() in text


def contradicts(action: str, value: str) -> bool:
    """Returns whether the action has numbers, and none is the last one of the printed ``value``, even rounded
    or as a percentage."""
    texts = [match.group().replace(",", "") for match in islice(_NUMBER.finditer(substance(action)), 200)]
    theirs = list(_numbers(value))
    if not texts or not theirs:
        return False
    return not any(_rounded(text, times * theirs[-1]) for text in texts for times in (1, 100))


def _rounded(text: str, value: Fraction) -> bool:
    number = next(_numbers(text), None)
    decimals = len(text.partition(".")[2]) if re.fullmatch(r"-?\d+(\.\d+)?", text) else 6
    return number is not None and abs(number - value) <= Fraction(1, 2 * 10**decimals)


def on_task(said: str, turn: Turn) -> bool:
    """Returns whether ``said`` has all the numbers of the task, or two of its numbers and longer words.

    True if the record does not contain what the agent read.
    """
    task = next((message.content for message in turn.observation if message.role == "user"), "")
    wanted, present = (set(_TOKEN.findall(text.lower())) for text in (task, said))
    numbers = {token for token in wanted if token.isdigit()}
    return len(wanted & present) >= min(2, len(wanted)) or bool(numbers and numbers <= present)


def valid_program(turn: Turn) -> bool:
    """Returns whether the turn has a program that is valid Python."""
    return turn.code is not None and is_python(turn.code)


def uncalled_code(turn: Turn) -> bool:
    """Returns whether the action contains a program although its role cannot run code.

    A turn with ``code`` and without a result comes from a recording that does not tell.
    """
    return not turn.role.can_run_code and turn.code is None and extract_program(turn.action) is not None


def _code(spec: ArtifactSpec, check: ArtifactCheck, turn: Turn) -> str:
    code = check.code
    if code == "ok":
        code = _misfit(spec, check.facts, turn) or _copied(spec, turn) or "ok"
    return "ok" if code == "copied" and constant_models(turn) else code


def _last_code(history: Sequence[Turn], name: str) -> str | None:
    """Returns the code of an artifact after the last turn that had it checked; None if there is none."""
    return next((known[name] for turn in reversed(history) if name in (known := codes(turn))), None)


def _misfit(spec: ArtifactSpec, facts: Mapping[str, object], turn: Turn) -> str | None:
    """Returns why a model that loads cannot do the task; the same criteria for classification and regression.

    The facts come from a probe that cannot tell whether a model's parts fit together, so they only ever lower
    the score of the agent that wrote the file.
    """
    if spec.kind != "estimator":
        return None
    if facts.get("fitted") is False:
        return "unfitted"
    task_type = str(turn.facts.get("task_type", turn.kind))
    wanted, other = "is_classifier", "is_regressor"
    if task_type == "regression":
        wanted, other = other, wanted
    # Either may be of use for a text: where it begins is a number, what it says is a class.
    if task_type != "text" and facts.get(other) is True and facts.get(wanted) is not True:
        return "estimator"
    if turn.facts.get("prediction") == "proba" and facts.get("has_proba") is False:
        return "proba"
    targets = turn.facts.get("target_columns")
    if targets and facts.get("n_outputs", len(targets)) != len(targets):
        return "features"
    fits = (_fits(facts, turn, "n_features_in", "n_columns"), _fits(facts, turn, "feature_names"))
    return None if all(fits) else "features"


def _fits(model: Mapping[str, object], turn: Turn, fact: str, of_tables: str = "") -> bool:
    """Returns whether a fact of a model is that of a table that the role requires and that is in order; also
    if it is not known of the model or of such a table."""
    tables = {spec.name for spec in turn.role.requires if spec.kind == "table"}
    sound = [check.facts for check in turn.checks if check.name in tables and check.code == "ok"]
    known = [facts.get(of_tables or fact) for facts in sound]
    return fact not in model or not known or None in known or model[fact] in known


def _copied(spec: ArtifactSpec, turn: Turn) -> str | None:
    """Returns ``copied`` if a csv product is a copy of a file that was there before, such as the sample
    submission."""
    if spec.kind != "csv" or spec not in turn.role.produces:
        return None
    product = {file.sha256 for file in turn.files_after if file.path == spec.name}
    earlier = {file.sha256 for file in turn.files_before if file.path != spec.name}
    return "copied" if product & earlier else None


def _numbers(text: str) -> Iterator[Fraction]:
    for match in _NUMBER.finditer(text):
        try:
            yield Fraction(match.group().replace(",", ""))
        except (ValueError, ZeroDivisionError):  # "1,5/0" and "2.5/3" are not numbers
            continue


def _close(a: Fraction, b: Fraction) -> bool:
    return abs(a - b) <= Fraction(1, 10**6) * max(Fraction(1), abs(b))
