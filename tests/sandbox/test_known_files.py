"""A file that did not change is not looked at again by a check of artifacts; one that changed always is."""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.artifacts import ArtifactCheck, ArtifactSpec, check_artifacts
from sandbox.base import FileInfo, Result, Sandbox, SandboxSpec
from tests.sandbox.backends import local, or_skip

X = ArtifactSpec("X_train.pkl", "table", rows_of="train.csv", numeric=True, complete=True)
Y = ArtifactSpec("y_train.pkl", "vector", rows_of="train.csv")
SPECS = (X, Y)
MAKE = """
import pandas
frame = pandas.DataFrame({"a": range(30), "b": range(30)})
frame.to_csv("train.csv", index=False)
frame.to_pickle("X_train.pkl")
frame["a"].to_pickle("y_train.pkl")
"""


class Counting:
    """A sandbox that notes the programs that ran in it and the files that were read."""

    def __init__(self, box: Sandbox) -> None:
        self.box, self.programs, self.reads = box, list[str](), list[str]()

    def run(
        self, code: str, *, timeout: float | None = None, seed: int = 0, session: str | None = None
    ) -> Result:
        self.programs.append(code)
        return self.box.run(code, timeout=timeout, seed=seed, session=session)

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        return self.box.read(path)

    def write(self, path: str, data: bytes) -> None:
        self.box.write(path, data)

    def list(self) -> tuple[FileInfo, ...]:
        return self.box.list()

    def end_session(self, session: str) -> None:
        self.box.end_session(session)

    def close(self) -> None:
        self.box.close()

    def make(self, code: str) -> None:
        result = self.box.run(code)
        assert result.status == "ok", result

    def check(self, *specs: ArtifactSpec) -> tuple[ArtifactCheck, ...]:
        self.programs.clear()
        self.reads.clear()
        return check_artifacts(specs or SPECS, {file.path: file for file in self.list()}, self)


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    backend = or_skip(local)
    yield lambda: Counting(backend.open(SandboxSpec(("pandas",))))
    backend.close()


@pytest.fixture
def box(opened: Any) -> Iterator[Counting]:
    counting = opened()
    yield counting
    counting.close()


def test_what_did_not_change_is_not_read_again(box: Counting) -> None:
    box.make(MAKE)
    first = box.check()
    assert [one.code for one in first] == ["ok", "ok"]
    assert (len(box.programs), box.reads) == (1, ["X_train.pkl", "y_train.pkl"])
    for _ in range(2):
        assert box.check() == first
        assert (box.programs, box.reads) == ([], [])
    box.make("open('notes.txt', 'w').write('new')")
    assert box.check() == first
    assert (box.programs, box.reads) == ([], [])


def test_of_several_files_only_the_one_that_changed_is_read_again(box: Counting) -> None:
    box.make(MAKE)
    box.check()
    box.make("import pandas\npandas.Series(range(29)).to_pickle('y_train.pkl')")
    assert [(one.code, one.facts["rows"]) for one in box.check()] == [("ok", 30), ("rows", 29)]
    [program] = box.programs
    assert box.reads == ["y_train.pkl"]
    assert "'y_train.pkl': 'pickle'" in program
    assert "X_train.pkl" not in program
    assert "train.csv" not in program


def test_the_rows_of_a_table_are_counted_once_for_each_content(box: Counting) -> None:
    box.make(MAKE)
    box.check()
    box.make("import pandas\npandas.DataFrame({'a': range(29)}).to_csv('train.csv')")
    assert [one.detail for one in box.check()] == ["30 rows, but train.csv has 29"] * 2
    assert len(box.programs) == 1
    box.check()
    assert box.programs == []


def test_a_damaged_file_is_read_once(box: Counting) -> None:
    box.make(MAKE + "open('X_train.pkl', 'w').write('nothing')")
    first = box.check()
    assert [one.code for one in first] == ["unreadable", "ok"]
    assert len(box.programs) == 2  # both, and the damaged one again on its own
    assert box.check() == first
    assert box.programs == []


def test_each_sandbox_reads_for_itself(opened: Any, box: Counting) -> None:
    other = opened()
    for one in (box, other):
        one.make(MAKE)
        one.check()
        assert len(one.programs) == 1
    other.close()


SAME_TIMES = """
import os
before = os.stat("y_train.pkl")
with open("y_train.pkl", "r+b") as file:
    file.seek(-1, 2)
    file.write(b"?")
os.utime("y_train.pkl", ns=(before.st_atime_ns, before.st_mtime_ns))
"""
MAPPED = """
import mmap
with open("y_train.pkl", "r+b") as file, mmap.mmap(file.fileno(), 0) as data:
    seen = data[:]  # the page is there now: writing to it tells the file system nothing
    data[:] = seen[:-1] + b"?"
"""
SWAPPED = "import os; os.rename('y_train.pkl', 'a'); os.rename('X_train.pkl', 'y_train.pkl')"
LINKED = "import os; os.remove('y_train.pkl'); os.link('X_train.pkl', 'y_train.pkl')"


@pytest.mark.parametrize(
    "code", [SAME_TIMES, MAPPED, SWAPPED, LINKED], ids=["times", "mapped", "swapped", "linked"]
)
def test_no_program_passes_a_changed_file_for_the_one_that_was_read(box: Counting, code: str) -> None:
    box.make(MAKE)
    assert box.check()[1].code == "ok"
    time.sleep(0.06)  # from now on, the guest keeps hashes by the times of files
    box.check()
    box.make(code)
    found = box.check(Y)[0]
    assert found.code != "ok"
    assert len(box.programs) == 1
    assert found == check_artifacts([Y], {file.path: file for file in box.list()}, Counting(box.box))[0]


def test_what_is_told_of_columns_does_not_depend_on_what_was_known(opened: Any, box: Counting) -> None:
    wide = [ArtifactSpec(f"{name}.pkl", "table") for name in "abc"]
    make = "import pandas\nfor name, width in (('a', 100), ('b', 700), ('c', 2000)):\n"
    make += (
        "    table = pandas.DataFrame([[0] * width]).add_prefix('column')\n    table.to_pickle(name + '.pkl')"
    )
    box.make(make)
    for chosen in ("b", "abc", "ab", "c"):
        specs = [spec for spec in wide if spec.name[0] in chosen]
        fresh = opened()
        fresh.make(make)
        assert box.check(*specs) == fresh.check(*specs), chosen
        fresh.close()


def test_a_csv_is_read_as_its_name_says(box: Counting) -> None:
    box.box.write("a.csv.gz", gzip.compress(b"x,y\n1,2\n"))
    box.box.write("b.csv", gzip.compress(b"x,y\n1,2\n"))
    packed, wrong = box.check(ArtifactSpec("a.csv.gz", "csv"), ArtifactSpec("b.csv", "csv"))
    assert (packed.code, packed.facts["columns"]) == ("ok", ["x", "y"])
    assert (wrong.code, wrong.detail[:18]) == ("unreadable", "UnicodeDecodeError")


def test_an_array_that_was_cut_off_is_unreadable(box: Counting) -> None:
    box.make("import numpy\nnumpy.save('a.npy', range(30))\nopen('a.npy', 'r+b').truncate(160)")
    [found] = box.check(ArtifactSpec("a.npy", "vector"))
    assert (found.code, found.facts) == ("unreadable", {})
    assert "could only read 4 elements" in found.detail


def test_a_guest_that_has_not_imported_the_probe_is_sent_it() -> None:
    backend = or_skip(local)
    without = "import sys\nfor name in [*sys.modules]:\n"
    without += "    if name.startswith('sandbox.guest.'): del sys.modules[name]"
    box = Counting(backend.open(SandboxSpec((without,))))
    for rows, sent in ((2, [False, True]), (3, [True])):
        box.make(f"open('a.json', 'w').write('{[0] * rows}')")
        assert box.check(ArtifactSpec("a.json", "vector"))[0].facts["rows"] == rows
        assert [len(program) > 20_000 for program in box.programs] == sent
    backend.close()


class Answers(Counting):
    """A sandbox whose probe reports the hash ``sha256``, and whose one file is a pickle of None."""

    def __init__(self, sha256: str, status: Any = "ok") -> None:
        self.programs, self.reads = [], []
        self.sha256, self.status = sha256, status

    def run(self, code: str, **_: Any) -> Result:
        self.programs.append(code)
        facts = {"type": "Series", "dimensions": 1, "rows": 30}
        line = json.dumps({"name": "y_train.pkl", "facts": facts, "size": 60, "sha256": self.sha256})
        return Result(self.status, 0, f"\n{line}\n", "", False, 0.1, 0.1)

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        return b"N."


NONE = hashlib.sha256(b"N.").hexdigest()


@pytest.mark.parametrize(
    ("listed", "reported", "status", "programs", "reads"),
    [
        (NONE, NONE, "ok", 1, 1),
        (NONE, "0" * 64, "ok", 2, 1),  # the probe read something else
        (NONE, "", "ok", 2, 1),
        ("0" * 64, NONE, "ok", 2, 2),  # and so did the host
        ("", "", "ok", 2, 2),  # too large to be hashed
        (NONE, NONE, "timeout", 2, 1),  # what the machine ended may be readable the next time
        (NONE, NONE, "killed", 2, 1),
    ],
)
def test_only_what_was_read_of_the_listed_content_is_known(
    listed: str, reported: str, status: str, programs: int, reads: int
) -> None:
    box = Answers(reported, status)
    files = {"y_train.pkl": FileInfo("y_train.pkl", 2, listed)}
    spec = ArtifactSpec("y_train.pkl", "vector")
    checks = [check_artifacts([spec], files, box) for _ in range(2)]
    assert checks[0] == checks[1]
    assert (len(box.programs), len(box.reads)) == (programs, reads)


def test_what_is_known_is_of_one_name_format_and_set_of_libraries() -> None:
    box = Answers(NONE)
    files = {"y_train.pkl": FileInfo("y_train.pkl", 2, NONE)}
    for spec, libraries in (
        (ArtifactSpec("y_train.pkl", "vector"), ()),
        (ArtifactSpec("y_train.pkl", "csv"), ()),
        (ArtifactSpec("y_train.pkl", "vector"), ("lightgbm",)),
    ):
        check_artifacts([spec], files, box, libraries=libraries)
    assert len(box.programs) == 3
