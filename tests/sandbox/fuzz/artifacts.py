"""``check_artifacts`` reads what hostile artifacts made its probe say, and listings that lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any, get_args
from unittest.mock import patch

from sandbox.artifacts import ArtifactSpec, check_artifacts
from sandbox.base import FileInfo, Result, Status
from tests.sandbox.fuzz.engine import Target, guard
from tests.sandbox.fuzz.garbage import hostile_text, mutated, objects_like, raw_json
from tests.sandbox.fuzz.pickles import random_pickle

_SPECS = (
    ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True),
    ArtifactSpec("X_test.pkl", "table", rows_of="test.csv", columns_of="X_train.pkl", complete=True),
    ArtifactSpec("y_train.pkl", "vector", rows_of="train.csv"),
    ArtifactSpec("model.pkl", "estimator"),
    ArtifactSpec("submission.csv", "csv"),
    ArtifactSpec("notes.txt"),
)
_CODES = {"ok", "missing", "empty", "size", "unreadable", "kind", "rows", "columns", "text", "nan"}
_DETAIL = 4000
"""Characters that the detail of a check may have: an agent reads them."""


@cache
def _pickles() -> list[bytes]:
    """A few of those that are a target of their own."""
    return [random_pickle(Random(number)) for number in range(100)]


class Liar:
    """A sandbox whose programs print what they like."""

    def __init__(self, random: Random, said: str) -> None:
        self.random, self.said = random, said

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        status = self.random.choice(get_args(Status))
        return Result(status, 0, self.said, "", False, 0.1, 0.1)

    def read(self, path: str) -> bytes:
        if self.random.random() < 0.2:
            raise self.random.choice((FileNotFoundError(path), ValueError(path)))
        return self.random.choice(_pickles())


def _facts(random: Random) -> str:
    good: dict[str, Any] = {
        "type": "DataFrame", "dimensions": random.choice((1, 2, 2, 3)), "rows": 30, "n_columns": 2,
        "columns": ["a", "b"], "n_text": random.choice((0, 1)), "text": ["a"], "missing": 3,
        "missing_rows": 2, "infinite": random.choice((0, 1)), "has_predict": True, "fitted": True,
    }  # fmt: skip
    if random.random() < 0.05:
        good["columns"] = [hostile_text(random) for _ in range(20)]
    if random.random() < 0.1:
        good = {"error": hostile_text(random)}
    return objects_like(random, good) if random.random() < 0.95 else raw_json(random)


def _said(random: Random, specs: Sequence[ArtifactSpec]) -> str:
    """What a probe prints, nearly."""
    chance = random.random()
    if chance < 0.0005:
        names = [json.dumps([f"{letter}{number}" for number in range(40_000)]) for letter in "ab"]
        facts = ", ".join(
            f'"{s.name}": {{"dimensions": 2, "columns": {names[s.name == "X_test.pkl"]}}}' for s in _SPECS
        )
        return f'{{"facts": {{{facts}}}, "rows": {{"train.csv": 1, "test.csv": 1}}}}'
    if chance < 0.001:
        return "[" * 60_000
    facts = ", ".join(
        f'"{spec.name}": {_facts(random)}'
        for spec in dict.fromkeys((*specs, _SPECS[0]))
        if random.random() < 0.97
    )
    rows = objects_like(random, {"train.csv": 30, "test.csv": 30})
    text = f'{random.choice(("", "noise" + chr(10)))}{{"facts": {{{facts}}}, "rows": {rows}}}'
    if random.random() < 0.3:
        text = mutated(random, text.encode("utf-8", "replace")).decode("utf-8", "replace")
    return text


def _listing(random: Random) -> dict[str, FileInfo]:
    files = {}
    for name in (*(spec.name for spec in _SPECS), "train.csv", "test.csv"):
        if random.random() < 0.95:
            size = random.choice((0, 10**30, 16 << 20, (16 << 20) + 1)) if random.random() < 0.1 else 100
            files[name] = FileInfo(name, size, random.choice(("", "ab" * 32, "../../etc/passwd")))
    return files


def _case(random: Random) -> None:
    specs = random.sample(_SPECS, random.randint(1, 3))
    box: Any = Liar(random, _said(random, specs))
    with guard.watch():
        checks = check_artifacts(specs, _listing(random), box)
    assert [check.name for check in checks] == [spec.name for spec in specs]
    for check in checks:
        assert check.code in _CODES
        assert len(check.detail) <= _DETAIL, "a detail as long as an artifact likes"
        json.dumps([check.detail, check.facts, check.imports], allow_nan=False, ensure_ascii=False).encode()


def _round(random: Random) -> None:
    guard.root = ""
    for _ in range(50):
        _case(random)


def _trust_types() -> None:
    patch("sandbox.artifacts._sound", lambda facts: dict(facts)).start()


def _trust_texts() -> None:
    patch("sandbox.artifacts._writable", lambda value: value).start()


def _compare_slowly() -> None:
    def different(found: list[str], wanted: list[str], name: str) -> str:
        return f"{len([column for column in wanted if column not in found])} columns of {name} are missing"

    patch("sandbox.artifacts._different", different).start()


TARGET = Target(
    _round,
    50,
    {
        "types are believed": _trust_types,
        "texts are taken as they are": _trust_texts,
        "columns are compared one by one": _compare_slowly,
    },
)
