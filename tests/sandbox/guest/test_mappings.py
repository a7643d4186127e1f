"""The mappings of shared libraries are merged where they differ in nothing that matters."""

from __future__ import annotations

import json
import subprocess
import sys

_MEASURE = """
import ctypes, json, sqlite3, ssl
from itertools import pairwise
from sandbox.guest.mappings import mappings, merge

def state():
    found = mappings()
    return {
        "libraries": sum(each.file[1] != "0" for each in found),
        "mapped": sum(each.end - each.start for each in found if each.file[1] != "0"),
        "unreadable": [each[:3] for each in found if "r" not in each.rights],
        "written": [each[:3] for each in found if "w" in each.rights and each.file[1] != "0"],
        "writable code": sum({"w", "x"} <= {*each.rights} for each in found),
        "apart": sum(
            {one.rights, two.rights} == {"r--p", "r-xp"} and one.end == two.start and one.file == two.file
            and one.offset + one.end - one.start == two.offset for one, two in pairwise(found)
        ),
    }

before = state()
merge()
after = state()
assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
assert ssl.create_default_context()
print(json.dumps([before, after]))
"""


def test_three_mappings_of_a_library_become_one_and_nothing_becomes_writable() -> None:
    done = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert before["apart"] > 20
    assert after["libraries"] == before["libraries"] - before["apart"]
    for same in ("mapped", "unreadable", "written", "writable code"):
        assert after[same] == before[same]
    assert after["writable code"] == 0
