"""What a fork server has preloaded lies in huge pages."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
import sys

import pytest

from sandbox.base import SandboxSpec
from sandbox.guest.huge_pages import _MADV_COLLAPSE, _SIZE
from sandbox.guest.seccomp import libc
from sandbox.local import Local
from tests.sandbox.backends import local, or_skip

_MEASURE = """
import ctypes, mmap, sys
from sandbox.guest.huge_pages import in_huge_pages

def measured():
    with open("/proc/self/smaps_rollup") as file:
        fields = dict(line.split(":") for line in list(file)[1:])
    return [int(fields[name].split()[0]) >> 10 for name in ("Rss", "AnonHugePages")]

before, _ = measured()
with in_huge_pages():
    kept = []
    for number in range(20):
        kept.append([bytes(100) for _ in range(count)])
        kept.append(mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))  # like a library
resident, huge = measured()
assert sum(len(each) for each in kept[::2]) == 20 * count
print(before, resident, huge)
"""


def _can_collapse() -> bool:
    area = mmap.mmap(-1, 2 * _SIZE, flags=mmap.MAP_PRIVATE)
    area.write(bytes(2 * _SIZE))
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    place = ctypes.c_void_p(-(-start // _SIZE) * _SIZE)
    return int(libc.madvise(place, ctypes.c_size_t(_SIZE), _MADV_COLLAPSE)) == 0


needs_huge_pages = pytest.mark.skipif(not _can_collapse(), reason="the kernel makes no huge pages on request")


def _measured(count: int) -> tuple[int, int, int]:
    command = [sys.executable, "-c", f"count = {count}\n{_MEASURE}"]
    before, resident, huge = map(int, subprocess.check_output(command, text=True).split())
    return before, resident, huge


@needs_huge_pages
def test_small_objects_lie_in_huge_pages_although_mappings_are_made_between_them() -> None:
    before, resident, huge = _measured(15_000)
    assert huge >= 0.8 * (resident - before) >= 30


def test_arenas_that_nothing_needs_are_released() -> None:
    before, resident, _ = _measured(0)
    assert resident - before < 16


@needs_huge_pages
@pytest.mark.namespaces
def test_programs_inherit_huge_pages_and_make_none() -> None:
    backend: Local = or_skip(lambda: local(mode="namespaces"))
    code = """
def huge():
    with open("/proc/self/smaps_rollup") as file:
        return int(next(line.split()[1] for line in file if line.startswith("AnonHugePages:")))
before = huge()
large = bytearray(64 << 20)
print(before > 10 << 10, huge() - before)
"""
    try:
        box = backend.open(SandboxSpec(("import json\njson.loaded = [bytes(100) for _ in range(300_000)]",)))
        assert box.run(code).stdout == "True 0\n"
    finally:
        backend.close()
