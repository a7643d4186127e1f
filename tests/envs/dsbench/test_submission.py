from __future__ import annotations

import io
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.dsbench import submission
from envs.dsbench.cells import canonical
from envs.dsbench.submission import Key, validate

VALUES = Key("id", ("y",), ("7", "003", "a b"), "value")
PROBA = replace(VALUES, prediction="proba")
LABELS = replace(VALUES, prediction="label", labels=("0", "1", "no, thanks"))
TWO = replace(VALUES, target_columns=("y", "z"))


def code(text: str | bytes | None, key: Key = VALUES) -> str:
    return validate(text.encode() if isinstance(text, str) else text, key).code


def test_rows_are_joined_by_id_in_any_order_and_columns_by_name() -> None:
    result = validate(b"z,id,y\n30,a b,3\n20,003,2\n10,7,1\n", TWO)
    assert result.code == "ok"
    assert result.values is not None
    assert result.values.tolist() == [[1, 10], [2, 20], [3, 30]]


def test_what_pandas_writes_is_read_back_exactly() -> None:
    frame = pd.DataFrame({"id": VALUES.ids, "y": [1 / 3, -1e-300, 12345678901234.5]})
    result = validate(frame.to_csv(index=False).encode(), VALUES)
    assert result.values is not None
    assert result.values[:, 0].tolist() == frame["y"].tolist()
    result = validate(frame.assign(y=["no, thanks", "1", "0"]).to_csv(index=False).encode(), LABELS)
    assert result.values is not None
    assert result.values[:, 0].tolist() == ["no, thanks", "1", "0"]


@pytest.mark.parametrize(
    "text",
    [
        "id,y\r\n7,1\r\n003,2\r\na b,3\r\n",
        "\ufeffid,y\n7,1\n003,2\na b,3",
        'id,y\n\n"7","1"\n\n003,2\na b,3\n\n',
    ],
)
def test_line_ends_quotes_blank_lines_and_a_byte_order_mark_are_plain_csv(text: str) -> None:
    assert code(text) == "ok"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, "missing"),
        (b"", "unreadable"),
        (b"\n\n", "unreadable"),
        (b"id,y\n7,1\n003,\xff\na b,3\n", "unreadable"),
        (b"id,y\n7,1\n003,2\x00\na b,3\n", "unreadable"),
        (b'id,y\n7,1\n003,"2\na b,3\n', "unreadable"),
        (b'id,y\n7,1\n003,"2"x\na b,3\n', "unreadable"),
        (b"\x80\x05\x95pickle", "unreadable"),
        (b"7,1\n003,2\na b,3\n", "columns"),
        (b"id,Y\n7,1\n003,2\na b,3\n", "columns"),
        (b",id,y\n0,7,1\n1,003,2\n2,a b,3\n", "columns"),
        (b"id,y,y\n7,1,1\n003,2,2\na b,3,3\n", "columns"),
        (b"id,y\n7,1\n003\na b,3\n", "columns"),
        (b"id,y\n7,1\n003,2,9\na b,3\n", "columns"),
        (b"id;y\n7;1\n003;2\na b;3\n", "columns"),
        (b"id,y\n", "rows"),
        (b"id,y\n7,1\n003,2\n", "rows"),
        (b"id,y\n7,1\n003,2\na b,3\na b,3\n", "rows"),
        (b"id,y\n7,1\n3.5,2\na b,3\n", "ids"),
        (b"id,y\n7,1\n7.0,2\na b,3\n", "ids"),
        (b"id,y\n7,1\n7,2\na b,3\n", "ids"),
        (b"id,y\n7,1\n003,\na b,3\n", "nan"),
        (b"id,y\n7,1\n003,NaN\na b,3\n", "nan"),
        (b"id,y\n7,1\n003,inf\na b,3\n", "range"),
        (b"id,y\n7,1\n003,1e999\na b,3\n", "range"),
        (b"id,y\n7,1\n003,1_0\na b,3\n", "range"),
        ("id,y\n7,1\n003,\u0661\na b,3\n".encode(), "range"),
        (b"id,y\n7,1\n003,True\na b,3\n", "range"),
        (b"id,y\n7,1\n003,[0.2]\na b,3\n", "range"),
    ],
)
def test_errors_are_reported(text: bytes | None, wanted: str) -> None:
    result = validate(text, VALUES)
    assert result.code == wanted, result
    assert result.values is None
    assert result.detail


def test_wrong_ids_are_reported_with_examples() -> None:
    result = validate(b"id,y\nq,1\np,2\no,3\n", VALUES)
    assert result.detail == "unknown: 3 (e.g. 'q'); missing: 3 (e.g. '7')"


IDS = ("001", "002", "010")


@pytest.mark.parametrize("ids", [("1", "2", "10"), ("1.0", "2.0", "10.0"), ("10", "1e0", "002"), IDS])
def test_ids_that_are_equal_numbers_are_equal(ids: tuple[str, ...]) -> None:
    key = replace(VALUES, ids=IDS)
    result = validate("".join(["id,y\n", *(f"{name},{float(name)}\n" for name in ids)]).encode(), key)
    assert result.values is not None, result
    assert result.values[:, 0].tolist() == [1.0, 2.0, 10.0]


@pytest.mark.parametrize(
    ("ids", "given", "wanted"),
    [
        (("1", "01"), ("1", "01"), "ok"),
        (("1", "01"), ("1", "1"), "ids"),
        (("1", "01"), ("1.0", "01"), "ids"),
        (("1", "01", "001"), ("1", "01", "1.0"), "ids"),
        (("1e5", "7"), ("100000.0", "7.0"), "ok"),
        (("9007199254740993", "9007199254740992"), ("9007199254740993", "9007199254740992.0"), "ok"),
        (("9007199254740993", "7"), ("9007199254740992", "7"), "ids"),
        (("True", "False"), ("true", "FALSE"), "ok"),
        (("a1", "7"), ("A1", "7"), "ids"),
        (("-1", "1"), ("-1.0", "1.0"), "ok"),
    ],
)
def test_ids_that_the_task_distinguishes_are_not_equal(
    ids: tuple[str, ...], given: tuple[str, ...], wanted: str
) -> None:
    text = "".join(["id,y\n", *(f"{name},1\n" for name in given)])
    assert code(text, replace(VALUES, ids=ids)) == wanted


@pytest.mark.parametrize(
    ("labels", "given", "values"),
    [
        (("False", "True"), ("true", "FALSE", "True"), ["True", "False", "True"]),
        (("False", "True"), ("1", "0.0", "1"), ["True", "False", "True"]),
        (("0", "1"), ("True", "False", "true"), ["1", "0", "1"]),
        (("0.5", "1.50"), (".5", "1.5", "0.50"), ["0.5", "1.50", "0.5"]),
        (("1", "True"), ("1", "True", "1.0"), None),
        (("01", "1"), ("1", "01", "1.0"), None),
    ],
)
def test_labels_that_are_equal_numbers_or_booleans_are_equal(
    labels: tuple[str, ...], given: tuple[str, ...], values: list[str] | None
) -> None:
    text = "".join(["id,y\n", *(f"{name},{label}\n" for name, label in zip(VALUES.ids, given, strict=True))])
    result = validate(text.encode(), replace(LABELS, labels=labels))
    assert (None if result.values is None else result.values[:, 0].tolist()) == values


def test_probabilities_that_rounding_moved_out_of_the_range_are_clipped() -> None:
    result = validate(b"id,y\n7,1.0000000000000002\n003,-1e-17\na b,1.0000000005\n", PROBA)
    assert result.values is not None
    assert result.values[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert code("id,y\n7,True\n003,false\na b,0\n", PROBA) == "ok"
    assert code("id,y\n7,1.00000001\n003,0\na b,0\n", PROBA) == "range"


def test_probabilities_are_in_0_to_1_inclusive() -> None:
    assert code("id,y\n7,0\n003,1\na b,0.5\n", PROBA) == "ok"
    assert code("id,y\n7,-0.01\n003,1\na b,0.5\n", PROBA) == "range"
    assert code("id,y\n7,1.0000001\n003,1\na b,0.5\n", PROBA) == "range"


def test_labels_are_those_of_the_task_and_numbers_among_them_compare_as_numbers() -> None:
    assert code('id,y\n7,1.0\n003,0\na b,"no, thanks"\n', LABELS) == "ok"
    assert code("id,y\n7,0.73\n003,0\na b,1\n", LABELS) == "range"
    assert code("id,y\n7,No\n003,0\na b,1\n", LABELS) == "range"
    assert code("id,y\n7,\n003,0\na b,1\n", LABELS) == "nan"
    assert code("id,y\n7,NA\n003,0\na b,1\n", replace(LABELS, labels=("0", "1", "NA"))) == "ok"


def test_a_lower_bound_is_exclusive() -> None:
    key = replace(VALUES, low=-1.0)
    assert code("id,y\n7,-0.999\n003,0\na b,1\n", key) == "ok"
    assert code("id,y\n7,-1\n003,0\na b,1\n", key) == "range"


def test_equal_labels_have_one_canonical_form() -> None:
    assert canonical("1.0") == canonical("1") == canonical("1e0") == "1"
    assert canonical("-2.0") == "-2"
    assert canonical("1.5") == "1.5"
    assert canonical("True") == "True"
    assert canonical("1e999") == "1e999"
    assert canonical("001") == canonical("+1.0") == "1"
    assert canonical("0.50") == canonical(".5") == "0.5"
    assert canonical("9007199254740993") == canonical("9007199254740993.0") == "9007199254740993"
    assert canonical("9" * 5000) == "9" * 5000


@pytest.mark.parametrize(
    "data",
    [
        b"id,y\n" + b"9" * 40_000_000,
        b"," * 40_000_000,
        b'"' * 3_000_000,
        b"id,y\n" + b'7,"' + b"\n" * 20_000_000,
        b"id,y\n" * 8_000_000,
        b"id,y\n7,1" + b"0" * 4000 + b"\n003,2\na b,3\n",
    ],
    ids=[
        "one huge field",
        "millions of columns",
        "quotes",
        "a field of lines",
        "millions of headers",
        "digits",
    ],
)
def test_a_hostile_file_is_rejected_at_once(data: bytes) -> None:
    start = time.process_time()
    result = validate(data, VALUES)
    assert result.values is None
    assert len(result.detail) < 600
    assert time.process_time() - start < 3.0


def test_a_hostile_file_within_the_size_limit_is_rejected_in_seconds() -> None:
    key = replace(VALUES, ids=tuple(map(str, range(100_000))))
    for data in (b"id,y\n" * 100_001, b'id,y\n"' + b"\n" * 5_000_000, b"id,y\n" + b"\n" * 5_000_000):
        start = time.process_time()
        assert validate(data, key).values is None
        assert time.process_time() - start < 15.0


def test_messages_shorten_hostile_values() -> None:
    result = validate(f"id,y\n7,1\n003,{'x' * 4000}\na b,3\n".encode(), VALUES)
    assert result.code == "range"
    assert len(result.detail) < 200


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300), st.text(alphabet='id,y\n\r"7a b03.e-nf\0', max_size=80).map(str.encode)
    )
)
def test_validation_never_raises(data: bytes) -> None:
    for key in (VALUES, PROBA, LABELS, TWO):
        result = validate(data, key)
        assert (result.values is not None) == (result.code == "ok")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
    st.permutations(range(3)),
)
def test_finite_values_are_returned_in_the_order_of_the_key(values: list[float], order: list[int]) -> None:
    out = io.StringIO("")
    frame = pd.DataFrame({"id": VALUES.ids, "y": values}).iloc[list(order)]
    frame.to_csv(out, index=False)
    result = validate(out.getvalue().encode(), VALUES)
    assert result.values is not None
    assert np.array_equal(result.values[:, 0], values)


def test_the_codes_are_those_of_the_module_docstring() -> None:
    assert submission.__doc__ is not None
    for name in ("missing", "unreadable", "columns", "rows", "ids", "nan", "range", "ok"):
        assert f"\n    {name}" in submission.__doc__
