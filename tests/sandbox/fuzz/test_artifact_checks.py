"""``check_artifacts`` reads what hostile artifacts made its probe print, and listings that lie."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sandbox.artifacts import ArtifactSpec, check_artifacts
from sandbox.base import FileInfo, Result, Status
from tests.sandbox.fuzz.explore import explore, watch
from tests.sandbox.fuzz.strategies import changed, hostile_texts, mostly, objects_like, raw_json
from tests.sandbox.fuzz.test_pickle_listing import pickles

SPECS = (
    ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True),
    ArtifactSpec("X_test.pkl", "table", rows_of="test.csv", columns_of="X_train.pkl", complete=True),
    ArtifactSpec("y_train.pkl", "vector", rows_of="train.csv"),
    ArtifactSpec("model.pkl", "estimator"),
    ArtifactSpec("submission.csv", "csv"),
    ArtifactSpec("notes.txt"),
)
_CODES = {"ok", "missing", "empty", "size", "foreign", "unreadable", "kind", "rows", "columns", "text", "nan"}
MAX_DETAIL = 4000
"""Characters that the detail of a check may have: an agent reads them."""


class Liar:
    """A sandbox whose programs print what they like."""

    def __init__(self, status: Status, printed: str, content: bytes | Exception) -> None:
        self.status, self.printed, self.content = status, printed, content

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        return Result(self.status, 0, self.printed, "", False, 0.1, 0.1)

    def read(self, path: str) -> bytes:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


chosen = st.lists(st.sampled_from(SPECS), min_size=1, max_size=4, unique=True)


@st.composite
def facts(draw: DrawFn) -> str:
    good: dict[str, Any] = {
        "type": "DataFrame", "dimensions": draw(st.integers(1, 3)), "rows": 30, "n_columns": 2,
        "columns": draw(st.just(["a", "b"]) | st.lists(hostile_texts, max_size=20)), "n_text": 1,
        "text": ["a"], "columns_sha256": draw(st.sampled_from(("a", "b"))), "missing": 3, "missing_rows": 2,
        "infinite": draw(st.integers(0, 1)), "has_predict": True, "fitted": True,
    }  # fmt: skip
    return draw(
        mostly(
            objects_like(good),
            objects_like({draw(st.sampled_from(("error", "foreign"))): draw(hostile_texts)}) | raw_json,
        )
    )


@st.composite
def prints(draw: DrawFn) -> str:
    """What a probe prints, nearly."""
    shared = [draw(facts()) for _ in range(2)]
    named = [
        f'{{"name": "{spec.name}", "facts": {draw(st.sampled_from(shared))}}}'
        for spec in SPECS
        if draw(st.integers(0, 30))
    ]
    rows = draw(st.integers(-1, 30) | raw_json)
    counted = [f'{{"name": "{name}", "rows": {rows}}}' for name in ("train.csv", "test.csv")]
    noise = draw(st.sampled_from(("", "noise\n")))
    text = noise + "\n".join([*named, *counted])
    return draw(changed(text.encode("utf-8", "replace"))).decode("utf-8", "replace")


liars = st.builds(
    Liar,
    st.sampled_from(get_args(Status)),
    prints(),
    pickles().map(lambda pair: pair[0]) | st.sampled_from((FileNotFoundError("x"), ValueError("x"))),
)
files = st.builds(
    FileInfo,
    st.just("x"),
    st.sampled_from((100,) * 8 + (0, 10**30, 16 << 20, (16 << 20) + 1)),
    st.sampled_from(("", "ab" * 32, "../../etc/passwd")),
)
listings = st.fixed_dictionaries(
    {}, optional=dict.fromkeys((*(spec.name for spec in SPECS), "train.csv", "test.csv"), files)
)


def check_report(specs: list[ArtifactSpec], listing: dict[str, FileInfo], liar: Any) -> None:
    with watch():
        checks = check_artifacts(specs, listing, liar)
    assert [check.name for check in checks] == [spec.name for spec in specs]
    for check in checks:
        assert check.code in _CODES
        assert len(check.detail) <= MAX_DETAIL, "a detail as long as an artifact likes"
        json.dumps([check.detail, check.facts, check.imports], allow_nan=False, ensure_ascii=False).encode()


COMPLETE = {
    name: FileInfo(name, 100, "") for name in (*(spec.name for spec in SPECS), "train.csv", "test.csv")
}
_COLUMNS = [
    {
        "name": spec.name,
        "facts": {
            "dimensions": 2,
            "columns": [f"{'ab'[spec.name == 'X_test.pkl']}{n}" for n in range(40_000)],
        },
    }
    for spec in SPECS
]
BOMBS = ("{" * 60_000, '{"a":' * 60_000, "\n".join(map(json.dumps, _COLUMNS)), "{}\n" * 100_000)


def test_a_report_becomes_bounded_checks_that_can_be_written_down() -> None:
    explore(check_report, chosen, listings, liars)


@pytest.mark.parametrize("printed", BOMBS, ids=["braces", "depth", "columns", "lines"])
def test_a_report_that_is_a_bomb_costs_bounded_time_and_memory(printed: str) -> None:
    check_report(list(SPECS), COMPLETE, Liar("ok", printed, b"N."))
