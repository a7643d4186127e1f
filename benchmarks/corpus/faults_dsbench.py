"""Faults of data engineer, modeler and analyst. Most of them leave files that pass all checks."""

from __future__ import annotations

from benchmarks.corpus.dsbench import ALL_ROWS, ARCSINH, COLUMN, ITSELF
from benchmarks.corpus.faults import Change, Fault, swap
from envs.types import Task

SAVE_X = 'X.to_pickle("X_train.pkl")'
SAVE_Y = 'y.to_pickle("y_train.pkl")'
SAVE_T = 'T.to_pickle("X_test.pkl")'
FIT = "model.fit(X, y)"
SAVE_MODEL = 'joblib.dump(model, "model.pkl")'
WRITE = 'out.to_csv("submission.csv", index=False)'
IDS = 'ids = pd.read_csv("test.csv")["{id}"]'
_LOAD = 'model, T = joblib.load("model.pkl"), pd.read_pickle("X_test.pkl")'
PREDICT = "values = model.predict(T)"
_BACKWARDS = "values = model.classes_[::-1][model.predict_proba(T).argmax(axis=1)]"
_SAMPLE = 'values = pd.read_csv("sample_submission.csv")["{target}"]'


def before(anchor: str, *lines: str, regression: bool | None = None) -> Change:
    """Inserts ``lines`` before ``anchor``."""
    return swap((anchor, "\n".join([*lines, anchor])), regression=regression)


def after(anchor: str, *lines: str) -> Change:
    """Inserts ``lines`` after ``anchor``."""
    return swap((anchor, "\n".join([anchor, *lines])))


def _numeric_target(action: str, task: Task) -> str | None:
    """Uses another numeric column as the target."""
    if task.kind != "regression" or "numbers = ['" not in action:
        return None
    other = action.split("numbers = ['")[1].split("'")[0]
    target = task.facts["target_columns"][0]
    return action.replace(f'y = train["{target}"]', f'y = train["{other}"]')


def _first_twelve(action: str, task: Task) -> str | None:
    """Tells the modeler to train on the first 12 rows only."""
    note = "\nhandover: train on the first 12 rows"
    return action.replace(f"\nhandover: {ALL_ROWS}", note) if ALL_ROWS in action else None


def _stump(action: str, task: Task) -> str | None:
    """The analyst replaces the model by its own, which is far too simple and fitted on few rows."""
    kind = "Regressor" if task.kind == "regression" else "Classifier"
    fit = "model.fit(X, y)" if "np.sinh" not in action else "model.fit(X, np.arcsinh(y))"
    lines = (
        f"from sklearn.tree import DecisionTree{kind}",
        'X, y = pd.read_pickle("X_train.pkl").tail(30), pd.read_pickle("y_train.pkl").tail(30)',
        f"model = DecisionTree{kind}(max_depth=1, random_state=0)",
        fit,
    )
    return after(_LOAD, *lines)(action, task)


_ENGINEER = [
    Fault("never_saved", "data_engineer", swap((SAVE_T + "\n", ""))),
    Fault("other_name", "data_engineer", swap((SAVE_X, 'X.to_pickle("X_train_features.pkl")'))),
    Fault("column_dropped", "data_engineer", before(SAVE_T, "T = T.drop(columns=T.columns[-1])")),
    Fault(
        "column_blanked",
        "data_engineer",
        before(
            SAVE_T, "T.columns = T.columns.str.upper()", "T = T.reindex(columns=X.columns, fill_value=0.0)"
        ),
    ),
    Fault(
        "encoder_refitted",
        "data_engineer",
        swap(
            (
                "    T[name] = T[name].map(codes)",
                "    codes = {value: place for place, value in enumerate(T[name].dropna().unique())}\n"
                "    T[name] = T[name].map(codes)",
            )
        ),
    ),
    Fault(
        "target_leaked",
        "data_engineer",
        before(
            SAVE_X,
            "rank = {label: place for place, label in enumerate(sorted(y.unique()))}",
            'X["level"] = y.map(rank).astype(float)',
            'T["level"] = X["level"].median()',
        ),
    ),
    Fault(
        "rows_misaligned",
        "data_engineer",
        before(SAVE_X, "X = X.sort_values(list(X)).reset_index(drop=True)"),
    ),
    Fault("target_mistaken", "data_engineer", _numeric_target),
    Fault(
        "target_rescaled", "data_engineer", before(SAVE_Y, "y = (y - y.mean()) / y.std()", regression=True)
    ),
    Fault(
        "error_swallowed",
        "data_engineer",
        before(
            SAVE_X,
            "try:",
            '    X, T = X.drop(columns="index"), T.drop(columns="index")',
            "except KeyError:",
            "    X, T = X * 0.0, T * 0.0",
        ),
    ),
    Fault("units_mixed", "data_engineer", before(SAVE_T, "T[list(T)] = T.to_numpy() / 1000.0")),
    Fault("wrong_premise", "data_engineer", _first_twelve, "note"),
]
_MODELER = [
    Fault("never_saved", "modeler", swap((SAVE_MODEL + "\n", ""))),
    Fault("other_name", "modeler", swap((SAVE_MODEL, 'joblib.dump(model, "best_model.pkl")'))),
    Fault("rows_misaligned", "modeler", before(FIT, "X = X.sample(frac=1.0, random_state=0)")),
    Fault(
        "error_swallowed",
        "modeler",
        swap(
            (
                FIT,
                "try:\n    model.fit(X.drop(columns='index'), y)\nexcept KeyError:\n"
                "    model.fit(X.head(8), y.head(8))",
            )
        ),
    ),
    Fault("left_on_a_sample", "modeler", swap((FIT, "model.fit(X[:20], y[:20])"))),
    Fault(
        "labels_inverted",
        "modeler",
        before(
            FIT,
            "labels = sorted(y.unique())",
            "y = y.map(dict(zip(labels, labels[1:] + labels[:1])))",
            regression=False,
        ),
    ),
    Fault("target_rescaled", "modeler", before(FIT, "y = (y - y.mean()) / y.std()", regression=True)),
    Fault("wrong_premise", "modeler", swap((COLUMN.format(1), COLUMN.format(0))), "note"),
    Fault("wrong_premise", "modeler", swap((ITSELF, ARCSINH)), "note"),
    Fault("wrong_premise", "modeler", swap((ARCSINH, ITSELF)), "note"),
]
_ANALYST = [
    Fault("never_saved", "analyst", swap((WRITE + "\n", ""))),
    Fault("other_name", "analyst", swap((WRITE, 'out.to_csv("predictions.csv", index=False)'))),
    Fault("encoder_refitted", "analyst", after(_LOAD, "T = (T - T.mean()) / T.std().replace(0.0, 1.0)")),
    Fault("retrained_worse", "analyst", _stump),
    Fault("rows_misaligned", "analyst", after(_LOAD, "T = T.sort_values(list(T))")),
    Fault("wrong_ids", "analyst", swap((IDS, IDS.replace("test.csv", "train.csv") + "[: len(T)]"))),
    Fault("ids_sorted", "analyst", swap((IDS, IDS + ".sort_values(ignore_index=True)"))),
    Fault(
        "error_swallowed",
        "analyst",
        swap(
            (
                IDS,
                'try:\n    values = values + pd.read_csv("offsets.csv")["offset"].to_numpy()\n'
                "except FileNotFoundError:\n    values = values[:1].repeat(len(T))\n" + IDS,
            )
        ),
    ),
    Fault("labels_inverted", "analyst", swap(("predict_proba(T)[:, 1]", "predict_proba(T)[:, 0]"))),
    Fault(
        "labels_inverted",
        "analyst",
        swap((PREDICT, _BACKWARDS), regression=False),
    ),
    Fault("not_inverted", "analyst", swap(("values = np.sinh(values)\n", ""))),
    Fault("sample_handed_back", "analyst", before(IDS, _SAMPLE)),
    Fault("rounded", "analyst", before(IDS, "values = np.round(values)")),
]
FAULTS = (*_ENGINEER, *_MODELER, *_ANALYST)
