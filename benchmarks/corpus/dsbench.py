"""The scripted data engineer, modeler and analyst."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.corpus import habits
from benchmarks.corpus.reading import (
    TableTask,
    first_action,
    last_status,
    marked,
    own_turns,
    section,
    table_task,
)
from benchmarks.corpus.styles import Manner, program
from envs.types import Message

ALL_ROWS = "train on all rows"
ARCSINH = "predict gives arcsinh of the target"
ITSELF = "predict gives the target itself"
COLUMN = "the probability asked for is column {} of predict_proba"
LABELS = "predict gives the labels themselves"

_LOOK = {
    "data_engineer": """
import pandas as pd

train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")
print("train", train.shape, "test", test.shape)
print("missing in train:", train.isna().sum()[lambda n: n > 0].to_dict())
print("target:", train["{target}"].iloc[:6].tolist())
""",
    "modeler": """
import pandas as pd

X, y = pd.read_pickle("X_train.pkl"), pd.read_pickle("y_train.pkl")
print("features", X.shape, "target", y.shape, y.dtype)
print("columns:", list(X.columns)[:12])
""",
    "analyst": """
import joblib
import pandas as pd

model, T = joblib.load("model.pkl"), pd.read_pickle("X_test.pkl")
print(type(model).__name__, "for", T.shape, "rows and columns")
""",
}
_LOOKING = "A look first."
_SLIP = {
    "data_engineer": ('train["{target}"]', 'train["target"]'),
    "modeler": ('read_pickle("X_train.pkl")', 'read_pickle("train.pkl")'),
    "analyst": ('joblib.load("model.pkl")', 'joblib.load("model.joblib")'),
}
_PROSE = {
    "data_engineer": "First the tables become numbers. All that is learned, fill values and categories "
    "alike, comes from the training rows, and both tables are treated in the same way, so that no row of the "
    "test file can tell the model anything, and no column is in one table only.",
    "modeler": "The features are in order, so a tree ensemble is a safe choice here: it needs no scaling, it "
    "bends where the data bend, and with a few rows a leaf it does not learn the noise by heart. I fit it on "
    "the training rows and keep the whole model in one file.",
    "analyst": "The model takes the test features as they are. I predict every row, put the predictions next "
    "to the ids of the test file, in the order of that file, and write the two columns that were asked for.",
}
_DONE = {
    "data_engineer": "X_train.pkl, y_train.pkl and X_test.pkl are written.",
    "modeler": "model.pkl is written.",
    "analyst": "submission.csv is written.",
}


def data_engineer(messages: Sequence[Message], manner: Manner) -> str:
    """Writes features for both tables; everything is learned from the training rows."""
    return _stage("data_engineer", messages, manner, _features(table_task(messages), manner))


def modeler(messages: Sequence[Message], manner: Manner) -> str:
    """Fits a model on the rows that the engineer names, and states how to read its predictions."""
    note = marked(section(messages, "data_engineer"), "handover") or ALL_ROWS
    return _stage("modeler", messages, manner, _fit(table_task(messages), manner, note))


def analyst(messages: Sequence[Message], manner: Manner) -> str:
    """Writes predictions, read as the modeler says."""
    note = marked(section(messages, "modeler"), "handover") or ""
    return _stage("analyst", messages, manner, _predict(table_task(messages), manner, note))


def _stage(agent: str, messages: Sequence[Message], manner: Manner, code: str) -> str:
    """Returns one turn of an agent: an inspection or a deliberate error if the style has one, the program, or
    the note.

    What has been done is read from the first action, so that a stage begun in one style can go on in another.
    """
    task, turn = table_task(messages), own_turns(messages)
    if turn == 0 and manner.style in ("explorer", "repairer"):
        return _opening(agent, task, manner, code)
    first = first_action(messages)
    if first.startswith(_LOOKING) or _slip(agent, task)[1] in first:
        turn -= 1
    if turn == 0:
        return manner.prose(_PROSE[agent]) + program(code)
    if last_status(messages) != "ok":
        return "My program failed, and the fault is not in it: I leave it at that."
    note = marked(messages[-1].content, "handover")
    return manner.prose("That ran without an error.") + _DONE[agent] + (f"\nhandover: {note}" if note else "")


def _opening(agent: str, task: TableTask, manner: Manner, code: str) -> str:
    if manner.style == "explorer":
        return f"{_LOOKING}\n" + program(_LOOK[agent].replace("{target}", task.target))
    right, wrong = _slip(agent, task)
    assert right in code
    return program(code.replace(right, wrong))


def _slip(agent: str, task: TableTask) -> tuple[str, str]:
    """Returns the correct text and the mistaken text that the repairer writes first."""
    right, wrong = _SLIP[agent]
    return right.replace("{target}", task.target), wrong.replace("{target}", task.target)


def _features(task: TableTask, manner: Manner) -> str:
    lines = [
        "import pandas as pd",
        "",
        'train, test = pd.read_csv("train.csv"), pd.read_csv("test.csv")',
        f'y = train["{task.target}"]',
        f'X = train.drop(columns=["{task.id_column}", "{task.target}"])',
        f'T = test.drop(columns="{task.id_column}")',
    ]
    for name in task.names("date"):
        lines += [
            "for table in (X, T):",
            f'    day = pd.to_datetime(table.pop("{name}"))',
            f'    table["{name}_year"], table["{name}_day"] = day.dt.year, day.dt.dayofyear',
            f'    table["{name}_hour"] = day.dt.hour',
        ]
    if task.names("number"):
        lines += [
            f"numbers = {task.names('number')}",
            "middle = X[numbers].median()",
            "X[numbers], T[numbers] = X[numbers].fillna(middle), T[numbers].fillna(middle)",
        ]
    if task.names("text"):
        lines += _encoding(task, manner)
    lines += [line.replace("{target}", task.target) for line in habits.ENGINEER[manner.habit]]
    lines += [
        'X.to_pickle("X_train.pkl")',
        'y.to_pickle("y_train.pkl")',
        'T.to_pickle("X_test.pkl")',
        'print(f"{X.shape[1]} features, {len(X)} rows to train on, {len(T)} to predict")',
        f'print("handover: {ALL_ROWS}")',
    ]
    return "\n".join(lines)


def _encoding(task: TableTask, manner: Manner) -> list[str]:
    if manner.way % 2:
        return [
            "X = pd.get_dummies(X, dtype=float)",
            "T = pd.get_dummies(T, dtype=float).reindex(columns=X.columns, fill_value=0.0)",
        ]
    return [
        f"for name in {task.names('text')}:",
        "    codes = {value: place for place, value in enumerate(X[name].dropna().unique())}",
        "    X[name] = X[name].map(codes).fillna(-1).astype(float)",
        "    T[name] = T[name].map(codes).fillna(-1).astype(float)",
    ]


def _fit(task: TableTask, manner: Manner, note: str) -> str:
    family = ("RandomForest", "ExtraTrees")[manner.way % 2]
    regression = task.task_type == "regression"
    name = family + ("Regressor" if regression else "Classifier")
    lines = [
        "import joblib",
        "import numpy as np",
        "import pandas as pd",
        f"from sklearn.ensemble import {name}",
        "",
        'X, y = pd.read_pickle("X_train.pkl"), pd.read_pickle("y_train.pkl")',
    ]
    if (rows := note.removeprefix("train on the first ").removesuffix(" rows")).isdigit():
        lines.append(f"X, y = X.head({rows}), y.head({rows})")
    if transformed := regression and manner.way % 2 == 0:
        lines.append("y = np.arcsinh(y)")
    if task.prediction == "proba":
        premise = COLUMN.format(1)
    elif regression:
        premise = ARCSINH if transformed else ITSELF
    else:
        premise = LABELS
    lines += [
        f"model = {name}(n_estimators=60, min_samples_leaf=2, random_state=0)",
        *(habits.UNDONE if regression and not transformed and manner.habit == habits.HABITS else ()),
        *habits.FIT[manner.habit],
        'joblib.dump(model, "model.pkl")',
        f'print(f"{name} fitted on {{len(X)}} rows")',
        f'print("handover: {premise}")',
    ]
    return "\n".join(lines)


def _predict(task: TableTask, manner: Manner, note: str) -> str:
    lines = [
        "import joblib",
        "import numpy as np",
        "import pandas as pd",
        "",
        'model, T = joblib.load("model.pkl"), pd.read_pickle("X_test.pkl")',
    ]
    if task.prediction == "proba":
        column = 0 if note == COLUMN.format(0) else 1
        lines.append(f"values = model.predict_proba(T)[:, {column}]")
    elif task.prediction == "ranking":
        lines += [
            "ranked = model.classes_[model.predict_proba(T).argsort(axis=1)[:, :-4:-1]]",
            'values = [" ".join(map(str, labels)) for labels in ranked]',
        ]
    else:
        lines.append("values = model.predict(T)")
    if note == ARCSINH:
        lines.append("values = np.sinh(values)")
    lines += [
        f'ids = pd.read_csv("test.csv")["{task.id_column}"]',
        f'out = pd.DataFrame({{"{task.id_column}": ids, "{task.target}": values}})',
        *(line.replace("{id}", task.id_column) for line in habits.WRITE[manner.habit]),
        'out.to_csv("submission.csv", index=False)',
        'print(f"{len(out)} rows written")',
    ]
    return "\n".join(lines)
