"""What the text of a program says of how its result came about: fitted on what, computed or typed in.

Read from the syntax tree, without running it. A reader can be wrong in both directions, so most of it is a
doubt: it tells whom to suspect if the episode failed. ``coaches.audits.swallowed`` runs programs again."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from coaches.audits import expressions, recomputed
from coaches.audits.findings import Finding
from coaches.audits.trees import shallow
from coaches.evidence import checks
from envs.actions.parsing import strip_thinking
from envs.dsbench.row_use import fitted_on_test
from envs.types import Turn

_FEWEST_VALUES = 20
_FITS = frozenset(("fit", "fit_transform", "partial_fit"))
_COMPUTES = (
    ast.BinOp, ast.BoolOp, ast.Compare, ast.For, ast.While, ast.comprehension, ast.Lambda, ast.FunctionDef,
)  # fmt: skip


def examine(turns: Sequence[Turn]) -> list[Finding]:
    """Returns what the programs of a table task say, of those that ran without an error."""
    found = []
    for turn in turns:
        tree = _tree(turn)
        for strength, text in () if tree is None else _of_tables(turn, tree):
            found.append(Finding("program", turn.index, "proof" if strength else "doubt", text))
    return found


def _of_tables(turn: Turn, tree: ast.Module) -> Iterator[tuple[bool, str]]:
    """Yields whether it is proof, and what is wrong."""
    rows = max(int(turn.facts.get("n_test", 0)), _FEWEST_VALUES)
    submits = any(spec.kind == "csv" for spec in turn.role.produces)
    if submits and (values := typed_values(tree)) >= rows:
        yield True, f"has {values} numbers typed in, and as many are to be predicted"
    if fitted_on_test(tree) == "fit_transform on rows of the test table":
        yield False, "fits a transformation anew on the test table"
    given = any(spec.kind == "estimator" for spec in turn.role.requires)
    if submits and given and (what := fits(tree)):
        yield False, f"calls {what} in the stage that has to use the model that it was given"


def typed_values(tree: ast.Module) -> int:
    """Returns the largest number of numbers in one literal.

    >>> typed_values(ast.parse("x = [1, -2.5, 'a', y]"))
    2
    """
    literals = [node.elts for node in ast.walk(tree) if isinstance(node, ast.List | ast.Tuple | ast.Set)]
    literals += [node.values for node in ast.walk(tree) if isinstance(node, ast.Dict)]
    return max((sum(map(_is_number, elements)) for elements in literals), default=0)


def fits(tree: ast.Module) -> str:
    """Returns a call that fits something, as ``model.fit``; "" if there is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _FITS:
            return ast.unparse(node.func)[:60]
    return ""


def typed_result(tree: ast.Module) -> str:
    """Returns the number that a program prints without computing anything; "" if it computes.

    >>> typed_result(ast.parse("total = 264\\nprint(total)")), typed_result(ast.parse("print(sum([1, 2]))"))
    ('264', '')
    """
    nodes = list(ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    printed = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
    if len(printed) < len(calls) or not printed or any(isinstance(node, _COMPUTES) for node in nodes):
        return ""
    numbers = [ast.unparse(node) for node in nodes if isinstance(node, ast.expr) and _is_number(node)]
    return numbers[-1] if numbers else ""


def of_chain(turns: Sequence[Turn], evaluate: Callable[[str], str | None]) -> list[Finding]:
    """Returns what the last program of a team without files says, against the problem and its own result."""
    programs = [turn for turn in turns if turn.role.can_run_code and turn.code is not None]
    tree = _tree(programs[-1]) if programs else None
    if tree is None:
        return []
    turn = programs[-1]
    texts = [
        *_typed(tree),
        *_other_constants(turns, turn),
        *_changes(turn, evaluate),
        *_inexact(turn, evaluate),
    ]
    return [Finding("program", turn.index, "doubt", text) for text in texts]


def _typed(tree: ast.Module) -> Iterator[str]:
    if number := typed_result(tree):
        yield f"prints {number[:40]}, which it does not compute"


def _other_constants(turns: Sequence[Turn], turn: Turn) -> Iterator[str]:
    """A program that computes with numbers which neither the problem nor a plan has, and lacks some of the
    problem's. One that is one more or less may be a bound."""
    first = next((message.content for message in turns[0].observation if message.role == "user"), "")
    given = expressions.numbers(first.partition("\n## From ")[0])
    said = {part for one in turns[: turn.index] for part in expressions.numbers(strip_thinking(one.action))}
    used = expressions.numbers(turn.code or "")
    missing, new = given - used - said, used - given - said - {"0", "1", "2"}
    other = {one for one in new if all(abs(float(one) - float(known)) > 1.0 for known in given | said)}
    if missing and other and len(given) > 1:
        yield (
            f"computes with {', '.join(sorted(other)[:3])}, and the problem has "
            f"{', '.join(sorted(missing)[:3])}"
        )


def _changes(turn: Turn, evaluate: Callable[[str], str | None]) -> Iterator[str]:
    """A program that draws random numbers is run again, with others."""
    value, program = checks.printed(turn), recomputed.reseeded(turn.code or "")
    again = None if value is None or program is None else evaluate(program)
    if value is not None and again and not checks.agrees(value, again):
        yield f"printed {value[:40]}, and {again[:40]} with other random numbers"


def _inexact(turn: Turn, evaluate: Callable[[str], str | None]) -> Iterator[str]:
    """A program that prints a whole number and computes with floats is run again, with fractions."""
    value = recomputed.whole(checks.printed(turn) or "")
    program = None if value is None else recomputed.exactly(turn.code or "")
    again = None if program is None else recomputed.whole(evaluate(program) or "")
    if again is not None and again != value:
        yield f"printed {str(value)[:40]}, and computed with fractions it is {str(again)[:40]}"


def _tree(turn: Turn) -> ast.Module | None:
    ran = turn.code is not None and turn.result is not None and turn.result.status == "ok"
    return shallow(turn.code) if ran and turn.code is not None else None


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, int | float) and not isinstance(value, bool)
