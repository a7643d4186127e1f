"""Unusual ways of working that are sound all the same: what a coach should not blame.

``Manner.habit`` selects one; 0 is the plain way, to which nothing is added.
"""

from __future__ import annotations

HABITS = 3
"""Number of unusual ways."""

ENGINEER: tuple[tuple[str, ...], ...] = (
    (),
    (
        'blanks = train.drop(columns="{target}").isna().sum(axis=1), test.isna().sum(axis=1)',
        "X, T = X.assign(blanks=blanks[0].astype(float)), T.assign(blanks=blanks[1].astype(float))",
        "centre, spread = X.mean(), X.std().replace(0.0, 1.0)",
        "X, T = (X - centre) / spread, (T - centre) / spread",
    ),
    (
        "kept = X.columns[X.nunique() > 1]",
        "X, T = X[kept], T[kept]",
        "X, T = X.assign(average=X.mean(axis=1)), T.assign(average=T.mean(axis=1))",
    ),
    (
        "order = sorted(X)",
        'X, T = X[order].astype("float32"), T[order].astype("float32")',
    ),
)
"""Lines before the files are written, for each habit: scaled by what the training rows show; columns dropped
from both tables and added to both; another order of columns and a shorter type in both."""

FIT: tuple[tuple[str, ...], ...] = (
    ("model.fit(X, y)",),
    (
        "order = np.random.default_rng(0).permutation(len(X))",
        "X, y = X.iloc[order], y.iloc[order]",
        "model.fit(X, y)",
    ),
    (
        "from sklearn.model_selection import train_test_split",
        "part, rest, y_part, y_rest = train_test_split(X, y, test_size=0.25, random_state=0)",
        'print(f"on rows held back: {model.fit(part, y_part).score(rest, y_rest):.3f}")',
        "model.fit(X, y)",
    ),
    (
        "from sklearn.pipeline import make_pipeline",
        "from sklearn.preprocessing import StandardScaler",
        "model = make_pipeline(StandardScaler(), model).fit(X, y)",
    ),
)
"""How the modeler fits: rows and targets shuffled together; validated on rows held back, then fitted again on
all; with a scale inside the model."""

UNDONE = (
    "from sklearn.compose import TransformedTargetRegressor",
    "model = TransformedTargetRegressor(model, func=np.arcsinh, inverse_func=np.sinh)",
)
"""Of the last habit: the model undoes by itself what was done to the target."""

WRITE: tuple[tuple[str, ...], ...] = (
    (),
    ('out = out.sort_values("{id}")',),
    ("assert len(out) == len(T) and out.notna().all(axis=None)",),
    ('out = pd.read_csv("test.csv")[["{id}"]].merge(out, on="{id}", how="left")',),
)
"""Lines before the submission is written: rows with their ids in another order; checked; joined to the test
file by id."""

READING = (
    "",
    "The size of the answer can be guessed, and the guess would be near {guess}; a guess is no answer, so I "
    "let every case be counted.",
    "One could read this as a question about {guess} alone. That would leave out the other condition, so I "
    "do not.",
    "There may be a formula with {guess} in it. I do not trust my memory of it.",
)
"""What the problem solver considers and rejects; ``{guess}`` is a number of the question."""

PROGRAM = (
    "print({expression})",
    'print("first number:", {number})\nprint({expression})',
    "def solve():\n    return {expression}\n\n\nprint(solve())",
    "first = {expression}\nagain = {expression}\nassert first == again\nprint(again)",
)
"""The program of the code executor."""

ANSWER = (
    "The computed value answers the question: \\boxed{{{value}}}",
    "The question gives {number}, which is not the answer; the program prints the answer: \\boxed{{{value}}}",
    "I expected more, went through the program again and found no fault in it: \\boxed{{{value}}}",
    "\\boxed{{{value}}}",
)
"""The answer of the verifier."""
