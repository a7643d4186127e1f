"""Artifact checks in a real sandbox, with honest and hostile artifacts."""

import json
import pickle
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from sandbox.artifacts import ArtifactCheck, ArtifactSpec, check_artifacts
from sandbox.base import Backend, FileInfo, Result, Sandbox, SandboxSpec, Status
from sandbox.host.pickles import pickle_globals
from tests.sandbox.backends import local, or_skip

PRELOAD = ("numpy", "pandas", "joblib", "sklearn.linear_model")
SPECS = (
    ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True),
    ArtifactSpec("y_train.pkl", "vector", rows_of="train.csv"),
    ArtifactSpec(
        "X_test.pkl", "table", rows_of="test.csv", columns_of="X_train.pkl", numeric=True, complete=True
    ),
    ArtifactSpec("model.pkl", "estimator"),
    ArtifactSpec("submission.csv", "csv"),
)
GOOD = """
import joblib, numpy, pandas
from sklearn.linear_model import LinearRegression, LogisticRegression
frame = pandas.DataFrame(numpy.random.rand(30, 3), columns=["a", "b", "c"])
frame.to_csv("train.csv", index=False)
frame[:10].to_csv("test.csv", index=False)
frame.to_pickle("X_train.pkl")
frame["a"].to_pickle("y_train.pkl")
frame[:10].to_pickle("X_test.pkl")
joblib.dump(LogisticRegression().fit(frame, frame["a"] > 0.5), "model.pkl")
frame[:10].to_csv("submission.csv", index=False)
"""


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    built = or_skip(local)
    yield built
    built.close()


@pytest.fixture
def box(backend: Backend) -> Iterator[Sandbox]:
    opened = backend.open(SandboxSpec(PRELOAD))
    yield opened
    opened.close()


def check(box: Sandbox, code: str, *specs: ArtifactSpec) -> list[ArtifactCheck]:
    result = box.run(GOOD + code)
    assert result.status == "ok", result.stderr
    return list(check_artifacts(specs or SPECS, {file.path: file for file in box.list()}, box))


def test_good_artifacts_are_ok_and_their_facts_are_known(box: Sandbox) -> None:
    checks = check(box, "")
    assert [(one.name, one.code) for one in checks] == [(spec.name, "ok") for spec in SPECS]
    assert checks[0].facts["rows"] == 30
    assert checks[0].facts["columns"] == ["a", "b", "c"]
    model = checks[3].facts
    assert (model["fitted"], model["has_predict"], model["has_proba"], model["n_features_in"]) == (
        True,
        True,
        True,
        3,
    )
    assert (model["is_classifier"], model["is_regressor"]) == (True, False)


@pytest.mark.parametrize(
    ("code", "name", "expected", "detail"),
    [
        ("import os; os.remove('X_train.pkl')", "X_train.pkl", "missing", "there is no"),
        (
            "import os; os.remove('model.pkl'); os.mkdir('model.pkl')",
            "model.pkl",
            "missing",
            "model.pkl is a folder, not a file",
        ),
        (
            "import os; os.rename('model.pkl', 'm'); os.symlink('m', 'model.pkl')",
            "model.pkl",
            "missing",
            "model.pkl is a link, not a file",
        ),
        ("open('X_train.pkl', 'w')", "X_train.pkl", "empty", "empty"),
        (
            "open('X_train.pkl', 'wb').write(bytes(17 << 20))",
            "X_train.pkl",
            "size",
            "too large: 17825792 bytes; at most 16777216",
        ),
        ("open('X_train.pkl', 'w').write('x')", "X_train.pkl", "unreadable", "Error"),
        ("joblib.dump(frame, 'model.pkl')", "model.pkl", "kind", "a DataFrame that cannot predict"),
        ("joblib.dump(LinearRegression(), 'X_train.pkl')", "X_train.pkl", "kind", "a LinearRegression, not"),
        ("frame.to_pickle('y_train.pkl')", "y_train.pkl", "kind", "of 3 columns"),
        ("frame[:9].to_pickle('X_train.pkl')", "X_train.pkl", "rows", "9 rows, but train.csv has 30"),
        ("frame[:10][['b', 'a', 'c']].to_pickle('X_test.pkl')", "X_test.pkl", "columns", "another order"),
        (
            "frame[:10][['a']].to_pickle('X_test.pkl')",
            "X_test.pkl",
            "columns",
            "2 columns of X_train.pkl are missing",
        ),
        (
            "frame.assign(a='x').to_pickle('X_train.pkl')",
            "X_train.pkl",
            "text",
            "1 columns are not numeric: a",
        ),
        (
            "frame.where(frame.a > 0.5).to_pickle('X_train.pkl')",
            "X_train.pkl",
            "nan",
            "of 30 rows hold missing",
        ),
        ("(frame / 0).to_pickle('X_train.pkl')", "X_train.pkl", "nan", "90 values are infinite"),
    ],
)
def test_the_first_defect_is_reported(box: Sandbox, code: str, name: str, expected: str, detail: str) -> None:
    checks = {one.name: one for one in check(box, "\n" + code)}
    assert checks[name].code == expected
    assert detail in checks[name].detail


@pytest.mark.parametrize(
    "code",
    [
        "joblib.dump(frame.to_numpy(), 'X_train.pkl')",
        "import scipy.sparse; joblib.dump(scipy.sparse.csr_matrix(frame.to_numpy()), 'X_train.pkl')",
        "frame.assign(a=frame.a > 0.5).to_pickle('X_train.pkl')",
        "joblib.dump(frame, 'X_train.pkl', compress=3)",
    ],
)
def test_other_kinds_of_table_are_tables_too(box: Sandbox, code: str) -> None:
    assert check(box, "\n" + code, SPECS[0])[0].code == "ok"


def test_unfitted_models_and_regressors_are_recognized(box: Sandbox) -> None:
    facts = check(box, "\njoblib.dump(LinearRegression(), 'model.pkl')", SPECS[3])[0].facts
    assert facts["fitted"] is False
    assert facts["is_regressor"] is True
    assert facts["has_proba"] is False


HOSTILE = """
import json
import pickle
class Evil:
    def __reduce__(self): return exec, ({program!r},)
pickle.dump(Evil(), open("X_train.pkl", "wb"))
"""


@pytest.mark.parametrize(
    "program",
    [
        "import os; os._exit(0)",
        "raise SystemExit(0)",
        "raise KeyboardInterrupt",
        "import time; time.sleep(60)",
        "while True: print('x' * 10000)",
        'import os; os.write(1, b\'{"facts": [], "rows": {}}\'); os._exit(0)',
        "import os; os.write(1, b'[' * 30000); os._exit(0)",
        'import os; os.write(1, b\'{"facts": {"X_train.pkl": {"rows": "many"}}, "rows": {}}\'); os._exit(0)',
        "import os; os.kill(os.getppid(), 9); os.kill(os.getpid(), 9)",
    ],
)
def test_an_artifact_that_attacks_its_reader_is_foreign_and_not_run(box: Sandbox, program: str) -> None:
    box.run(GOOD + HOSTILE.format(program=program))
    files = {file.path: file for file in box.list()}
    [report] = check_artifacts(SPECS[:1], files, box, timeout=1)
    assert report.code == "foreign"
    assert "builtins.exec" in report.detail
    assert "of your own" in report.detail
    assert box.run("print('unharmed')").stdout == "unharmed\n"


SHADOWS = """
for name in ("pickle json pandas joblib numpy contextlib sklearn sitecustomize usercustomize posix __future__"
             " typing gzip zlib bz2 lzma hashlib io collections math types encodings codecs").split():
    open(name + ".py", "w").write("open('shadow', 'w').write(__name__)")
"""


def test_files_in_the_work_folder_shadow_no_library(box: Sandbox) -> None:
    assert [one.code for one in check(box, SHADOWS)] == ["ok"] * 5
    assert "shadow" not in {file.path for file in box.list()}


def test_files_in_the_work_folder_shadow_no_library_either_where_none_is_loaded(backend: Backend) -> None:
    bare = backend.open(SandboxSpec())
    try:
        bare.run("import pickle\npickle.dump([1, 2, 3], open('y.pkl', 'wb'))\n" + SHADOWS)
        [report] = check_artifacts([ArtifactSpec("y.pkl", "vector")], {f.path: f for f in bare.list()}, bare)
        assert (report.code, report.facts["rows"]) == ("ok", 3)
        assert "shadow" not in {file.path for file in bare.list()}
    finally:
        bare.close()


FORGED = """
import json, pickle
PROGRAM = '''
import json, os
good = {"type": "DataFrame", "dimensions": 2, "rows": 30, "n_columns": 3, "columns": ["a", "b", "c"],
        "n_text": 0, "text": [], "missing": 0, "missing_rows": 0, "infinite": 0}
vector = {**good, "dimensions": 1, "n_columns": 1}
facts = {"X_train.pkl": good, "y_train.pkl": vector, "X_test.pkl": {**good, "rows": 10}}
rows = {"train.csv": 30, "test.csv": 10}
lines = [json.dumps({"name": name, "facts": fact}) for name, fact in facts.items()]
lines += [json.dumps({"name": name, "rows": count}) for name, count in rows.items()]
for text in (json.dumps({"facts": facts, "rows": rows}), *lines):
    os.write(1, ("\\n" + text + "\\n").encode())
os._exit(0)
'''
class Evil:
    def __reduce__(self): return exec, (PROGRAM,)
with open("X_train.pkl", "wb") as file: pickle.dump(Evil(), file)
for name in ("y_train.pkl", "X_test.pkl"): open(name, "w").write("nothing")
"""


def test_an_artifact_that_forges_the_reports_of_all_is_foreign_and_the_others_are_as_they_are(
    box: Sandbox,
) -> None:
    assert [one.code for one in check(box, FORGED, *SPECS[:3])] == ["foreign", "unreadable", "unreadable"]
    hidden = FORGED.replace(
        "pickle.dump(Evil(), file)", "file.write(__import__('gzip').compress(pickle.dumps(Evil())))"
    )
    checks = check(box, hidden, *SPECS[:3])
    assert [one.code for one in checks] == ["foreign", "unreadable", "unreadable"]
    assert checks[0].imports == ("?",)


def test_names_that_the_host_can_list_are_judged_without_a_probe() -> None:
    class Listed:
        def run(self, *_: object, **__: object) -> None:
            raise AssertionError("the probe ran")

        def read(self, _: str) -> bytes:
            return pickle.dumps(_Evil())

    files = {name: FileInfo(name, 9, "") for name in ("X_train.pkl", "notes.pkl")}
    for spec in (SPECS[0], ArtifactSpec("notes.pkl")):
        [report] = check_artifacts([spec], files, Listed())  # type: ignore[arg-type]
        assert (report.code, report.imports) == ("foreign", ("builtins.eval",))


@pytest.mark.parametrize("status", ["error", "timeout", "killed", "output_limit"])
def test_a_report_counts_only_if_its_program_ended_well(status: Status) -> None:
    good = {"type": "DataFrame", "dimensions": 2, "rows": 3, "n_columns": 1}

    class Reports:
        status: Status = "ok"

        def run(self, *_: object, **__: object) -> Result:
            line = json.dumps({"name": "X.pkl", "facts": good})
            return Result(self.status, 0, f"\n{line}\n", "", False, 0.1, 0.1)

        def read(self, _: str) -> bytes:
            return b"N."

    box: Any = Reports()
    specs, files = [ArtifactSpec("X.pkl", "table")], {"X.pkl": FileInfo("X.pkl", 9, "")}
    assert check_artifacts(specs, files, box)[0].code == "ok"
    box.status = status
    assert check_artifacts(specs, files, box)[0].code == "unreadable"


def test_a_file_that_ends_its_reader_changes_nothing_for_the_others(box: Sandbox) -> None:
    bomb = "\nopen('X_train.pkl', 'wb').write(b'cbuiltins\\nbytearray\\n(L9999999999L\\ntR.')"
    for code, wanted in ((bomb, "ok"), (bomb + "\nframe[:29]['a'].to_pickle('y_train.pkl')", "rows")):
        checks = check(box, code)
        assert [one.code for one in checks] == ["unreadable", wanted, "ok", "ok", "ok"]


def test_columns_are_compared_whole_and_told_in_short(box: Sandbox) -> None:
    long = "\nlong = frame.rename(columns={'a': 'x' * (%d << 20) + 'y'})\nlong.to_pickle('X_train.pkl')"
    same = long % 10 + "\nlong[:10].to_pickle('X_test.pkl')"
    assert {one.code for one in check(box, same, SPECS[0], SPECS[2])} == {"ok"}
    other = same + "\nframe[:10].rename(columns={'a': 'x' * (10 << 20) + 'z'}).to_pickle('X_test.pkl')"
    [first, second] = check(box, other, SPECS[0], SPECS[2])
    assert (first.code, second.code) == ("ok", "columns")
    assert len(json.dumps([asdict(first), asdict(second)])) < 1 << 14
    many = "\nwide = pandas.DataFrame(numpy.zeros((30, 3000))).add_prefix('column')"
    many += "\nwide.to_pickle('X_train.pkl')"
    swapped = many + "\nwide[:10][[*wide.columns[:2998], *wide.columns[:-3:-1]]].to_pickle('X_test.pkl')"
    assert [one.code for one in check(box, swapped, SPECS[0], SPECS[2])] == ["ok", "columns"]


def test_an_artifact_without_columns_is_no_table(box: Sandbox) -> None:
    [report] = check(box, "\nframe[[]].to_pickle('X_train.pkl')", SPECS[0])
    assert (report.code, report.detail) == ("columns", "it has no columns")


def test_nothing_runs_when_there_are_no_files() -> None:
    class Untouchable:
        def run(self, *_: object, **__: object) -> None:
            raise AssertionError("the probe ran")

        def read(self, path: str) -> bytes:
            raise FileNotFoundError(path)

    checks = check_artifacts(SPECS, {}, Untouchable())  # type: ignore[arg-type]
    assert {one.code for one in checks} == {"missing"}


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1/0",)


@pytest.mark.parametrize("protocol", range(6))
def test_the_imports_of_a_pickle_are_listed_without_loading_it(protocol: int) -> None:
    wanted = "__builtin__.eval" if protocol < 3 else "builtins.eval"
    assert pickle_globals(pickle.dumps([_Evil(), _Evil()], protocol)) == (wanted,)


def test_a_broken_or_endless_pickle_lists_what_came_before() -> None:
    assert pickle_globals(b"") == ("?",)
    assert pickle_globals(b"cos\nsystem\n\xff\xff") == ("?", "os.system")
    endless = b"cos\nsystem\n" + b"N0" * 10**6 + b"cos\nexit\n."
    assert pickle_globals(endless, max_ops=1000) == ("?", "os.system")


@pytest.mark.parametrize(
    "code",
    [
        b"\x8c\x02os\x8c\x06system\x8c\x01a\x8c\x01b00\x93.",  # others are put on top, and taken away
        b"U\x02osU\x06system\x93.",  # the texts of Python 2 name things too
        b"Vos\nq\x00Vx\n0h\x00Vsystem\n\x93.",  # kept for later
        b"Vos\n(Va\nVb\nl0Vsystem\n\x93.",  # something is made in between
        b"Vos\n(uVsystem\n}b\x93.",  # nothing is put into a text, which stays one
    ],
)
def test_a_pickle_cannot_hide_what_it_imports_from_the_list(code: bytes) -> None:
    assert "os.system" in pickle_globals(b"\x80\x04" + code)


def test_a_name_that_is_no_constant_and_a_list_that_is_too_long_are_marked() -> None:
    assert pickle_globals(b"\x80\x04Vos\nN\x93.") == ("?",)
    many = b"".join(b"cm\nn%d\n0" % number for number in range(200)) + b"N."
    assert len(pickle_globals(many)) == 100
    assert pickle_globals(many)[-1] == "?"


def test_a_check_lists_what_a_pickle_would_import_before_anything_loads_it(box: Sandbox) -> None:
    imports = {one.name: one.imports for one in check(box, "")}
    assert any(name.startswith("pandas.") for name in imports["X_train.pkl"])
    assert "sklearn.linear_model._logistic.LogisticRegression" in imports["model.pkl"]
    assert imports["submission.csv"] == ()
    hides = "open('X_train.pkl', 'wb').close()"  # what loading it would do: it leaves nothing to be seen
    box.run(GOOD + HOSTILE.format(program=hides))
    [evil] = check_artifacts(SPECS[:1], {file.path: file for file in box.list()}, box)
    assert evil.imports == ("builtins.exec",)
    assert json.loads(json.dumps(asdict(evil)))["imports"] == ["builtins.exec"]


@pytest.mark.parametrize(
    ("text", "spec", "code", "detail"),
    [
        ("[1, 2]", ArtifactSpec("a", "json"), "ok", ""),
        ("[1, 2", ArtifactSpec("a", "json"), "unreadable", "JSONDecodeError"),
        ("[NaN]", ArtifactSpec("a", "json"), "unreadable", "NaN is not JSON"),
        ("[" * 90_000, ArtifactSpec("a", "json"), "unreadable", "Recursion"),
        ("", ArtifactSpec("a", "json"), "empty", "empty"),
        ("[1, 2]", ArtifactSpec("a", "json", rows=2), "ok", ""),
        ("[1, 2]", ArtifactSpec("a", "json", rows=3), "rows", "2 rows, but it must have 3"),
        ("[]", ArtifactSpec("a", "json", rows=3), "rows", "0 rows, but it must have 3"),
        ('{"a": 1}', ArtifactSpec("a", "json", rows=1), "rows", "it is an object without rows, but"),
        ("[1, 2]", ArtifactSpec("a", "json", rows_of="train.csv"), "rows", "2 rows, but train.csv has 30"),
        ('[{"x": 1}]', ArtifactSpec("a", "json", columns_of="submission.csv"), "columns", "a, b, c"),
        ('[{"a": 1, "b": 2, "c": 3}]', ArtifactSpec("a", "json", columns_of="submission.csv"), "ok", ""),
        ('[{"x": "1"}]', ArtifactSpec("a", "json", numeric=True), "text", "not numeric: x"),
        ('[{"x": 1}, {}]', ArtifactSpec("a", "json", complete=True), "nan", "1 of 2 rows"),
        ("[1e999]", ArtifactSpec("a", "json", complete=True), "nan", "infinite"),
        ('[{"x": 1}]', ArtifactSpec("a.json", "table"), "ok", ""),
        ("[1]", ArtifactSpec("a.json", "table"), "kind", "not a table"),
        ("[1]", ArtifactSpec("a.json", "vector"), "ok", ""),
        ("x,y\n1,2\n", ArtifactSpec("a.txt", "csv", rows=1), "ok", ""),
        ("x,y\n1,2\n", ArtifactSpec("a.csv", "csv", rows=2), "rows", "1 rows, but it must have 2"),
    ],
)
def test_json_and_expected_rows(box: Sandbox, text: str, spec: ArtifactSpec, code: str, detail: str) -> None:
    [found] = check(box, f"open({spec.name!r}, 'w').write({text!r})", spec)
    assert found.code == code, found
    assert detail in found.detail


def test_rows_that_the_scenario_knows_are_not_counted_in_what_agents_left(box: Sandbox) -> None:
    assert box.run(GOOD + "frame[:5].to_csv('train.csv'); frame[:5].to_pickle('X_train.pkl')").status == "ok"
    files, spec = {file.path: file for file in box.list()}, SPECS[0]
    assert check_artifacts([spec], files, box)[0].code == "ok"
    [found] = check_artifacts([spec], files, box, rows={"train.csv": 30})
    assert (found.code, found.detail) == ("rows", "5 rows, but train.csv has 30")
    [found] = check_artifacts([spec], files, box, rows={"X_train.pkl": 5, "train.csv": 30})
    assert found.code == "ok"
    del files["train.csv"]  # is gone: the number is still known
    assert check_artifacts([spec], files, box, rows={"train.csv": 30})[0].code == "rows"


def test_a_json_artifact_does_not_import_pandas(backend: Backend) -> None:
    bare = backend.open(SandboxSpec())
    bare.write("pandas.py", b"raise SystemExit")  # not even one of the agent's
    bare.write("json.py", b"raise SystemExit")
    bare.write("a", b"[1]")
    files = {file.path: file for file in bare.list()}
    assert check_artifacts([ArtifactSpec("a", "json", rows=1)], files, bare)[0].code == "ok"
    bare.close()
