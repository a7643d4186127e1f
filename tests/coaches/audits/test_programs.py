"""What the text of a program says: on sound programs and on faulty ones."""

from __future__ import annotations

import ast
from dataclasses import replace

import pytest

from coaches.audits import expressions, programs, swallowed, trees
from envs.types import Message, Turn
from sandbox.artifacts import ArtifactSpec
from tests.coaches.turns import ANALYST, ENGINEER, EXECUTOR, MODELER, SOLVER, Story, ran

SUBMITTER = replace(ANALYST, produces=(ArtifactSpec("submission.csv", "csv"),))
READ = "import pandas as pd\ntrain, test = pd.read_csv('train.csv'), pd.read_csv('test.csv')\n"


def said(code: str, role: object = ENGINEER) -> list[tuple[str, str]]:
    story = Story(n_test=30).act(role, f"```python\n{code}\n```")  # type: ignore[arg-type]
    return [(one.strength, one.text) for one in programs.examine(story.turns)]


@pytest.mark.parametrize(
    "code",
    [
        "scaler = S().fit(train[['a']])\nX_train, X_test = scaler.transform(train), scaler.transform(test)",
        "enc = E().fit(pd.concat([train['a'], test['a']]))",
        "A, B, a, b = train_test_split(train, train['y'])\nmodel.fit(A, a)\nprint(model.score(B, b))",
        "means = train.groupby('town')['y'].mean()\ntest['t'] = test['town'].map(means)",
        "grid = {'alpha': [0.1, 1, 10], 'depth': [1, 2, 3]}",
        "bins = list(range(100))",
    ],
)
def test_sound_programs_of_engineers_and_modelers_raise_no_doubt(code: str) -> None:
    assert said(READ + code) == []
    assert said(READ + code, MODELER) == []


def test_a_transformation_that_is_fitted_anew_on_the_test_table_is_in_doubt() -> None:
    code = READ + "X_train = s.fit_transform(train)\nX_test = s.fit_transform(test)"
    assert said(code) == [("doubt", "fits a transformation anew on the test table")]


def test_an_analyst_uses_the_model_and_types_nothing_in() -> None:
    sound = "model = joblib.load('model.pkl')\ntable['y'] = model.predict(X_test)"
    assert said(sound, SUBMITTER) == []
    [(strength, text)] = said(f"{sound}\nother = R().fit(X, y)", SUBMITTER)
    assert (strength, text[:16]) == ("doubt", "calls R().fit in")
    [(strength, text)] = said(f"table['y'] = {[0.5 * n for n in range(30)]}", SUBMITTER)
    assert (strength, text) == ("proof", "has 30 numbers typed in, and as many are to be predicted")
    assert said(f"table['y'] = {list(range(29))}", SUBMITTER) == []
    assert said(f"names = {[str(n) for n in range(60)]}", SUBMITTER) == [], "names of columns are texts"


def test_a_program_that_failed_or_is_no_python_is_for_others_to_judge() -> None:
    code = "X_test = s.fit_transform(pd.read_csv('test.csv'))"
    story = Story().act(ENGINEER, f"```python\n{code}\n```", ran("error"))
    assert programs.examine(story.turns) == []
    assert said("x = = 3") == []


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("print(264)", "264"),
        ("total = 3\nprint('Result:', total)", "3"),
        ("print(sum(range(9)))", ""),
        ("print(2 ** 10)", ""),
        ("print('done')", ""),
        ("x = 3", ""),
        ("def f(): return 3\nprint(f())", ""),
    ],
)
def test_a_number_that_is_printed_and_not_computed(code: str, number: str) -> None:
    assert programs.typed_result(ast.parse(code)) == number


def chain(
    code: str, printed: str, problem: str = "What is the sum of the multiples of 7 up to 90?"
) -> list[Turn]:
    story = (
        Story("math")
        .act(SOLVER, "Add them up.")
        .act(EXECUTOR, f"```python\n{code}\n```", ran(stdout=printed))
    )
    object.__setattr__(story.turns[0], "observation", (Message("user", problem),))
    return story.turns


def texts(turns: list[Turn], again: str | None = "") -> list[str]:
    found = programs.of_chain(turns, lambda _: again)
    assert {one.strength for one in found} <= {"doubt"}
    return [one.text for one in found]


def test_a_program_computes_with_the_numbers_of_the_problem() -> None:
    assert texts(chain("print(sum(range(7, 91, 7)))", "546\n")) == []
    assert texts(chain("print(sum(range(9, 91, 9)))", "495\n")) == [
        "computes with 9, and the problem has 7, 90"
    ]
    assert texts(chain("print(sum(n for n in range(91) if n % 7 == 0))", "546\n")) == []
    assert texts(chain("print(546)", "546\n"))[0] == "prints 546, which it does not compute"


@pytest.mark.parametrize("levels", [160, 500, 900])
def test_what_is_nested_too_deeply_to_be_read_ends_no_audit_and_is_named(levels: int) -> None:
    deep = f"model = x{'.a' * levels}.fit(1)"
    story = Story(n_test=30).act(SUBMITTER, f"```python\n{deep}\n```")
    assert programs.examine(story.turns) == []
    assert [*trees.unread(story.turns)] == ["the program of turn 1: more than 150 levels deep"]
    assert programs.of_chain(chain(f"print({'-' * levels}7)", "7\n"), lambda _: "") == []
    assert swallowed.exposed(f"try:\n    x = {'-' * levels}1\nexcept Exception:\n    pass") is None
    assert expressions.bounds(f"range({'-' * levels}7)") == set()
    assert expressions.of_plan(f"Compute: {'-' * levels}7 + 1") == []


def test_programs_of_usual_depth_are_all_read() -> None:
    total = " + ".join(f"table['{n}']" for n in range(100))
    story = Story(n_test=30).act(SUBMITTER, f"```python\nX = {total}\nR().fit(X, y)\n```")
    assert len(programs.examine(story.turns)) == 1
    assert trees.unread(story.turns) == {}


def test_a_program_that_draws_random_numbers_is_run_again() -> None:
    drawn = chain("import random\nprint(7 * 90 + random.random())", "630.5\n")
    assert texts(drawn, "630.5") == texts(drawn, "") == texts(drawn, None) == []
    assert texts(drawn, "630.9") == ["printed 630.5, and 630.9 with other random numbers"]
