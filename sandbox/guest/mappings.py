"""Merges the mappings of shared libraries, so that forks are cheap. Standard library only.

A fork copies every mapping, and the end of its child removes it. The loader makes five for a library, and
what dsbench imports has 260 libraries. Three of the five lie side by side and differ only in whether code in
them may run: what precedes the code, the code, and what follows it. They become one in which all may.

Nothing becomes writable that was not, and whoever runs here can map what it likes as executable anyway."""

from __future__ import annotations

import ctypes
from itertools import pairwise
from typing import NamedTuple

from sandbox.guest.seccomp import libc

_READ, _EXECUTE = 1, 4


class Mapping(NamedTuple):
    """One line of ``/proc/<pid>/maps``."""

    start: int
    end: int
    rights: str
    offset: int
    file: tuple[str, str]
    """Device and inode; the inode is 0 without a file."""


def mappings() -> list[Mapping]:
    """Returns those of this process, in the order of their addresses."""
    with open("/proc/self/maps") as lines:
        return [_parse(line) for line in lines]


def merge() -> None:
    """Makes readable mappings executable that continue one with code. What the kernel refuses stays as it
    is."""
    for one, other in pairwise(mappings()):
        if {one.rights, other.rights} == {"r--p", "r-xp"} and _continues(one, other):
            data = one if one.rights == "r--p" else other
            libc.mprotect(
                ctypes.c_void_p(data.start), ctypes.c_size_t(data.end - data.start), _READ | _EXECUTE
            )


def _continues(one: Mapping, other: Mapping) -> bool:
    """Returns whether ``other`` maps what follows in the file that ``one`` maps, right after it."""
    size = one.end - one.start
    return one.end == other.start and one.file == other.file and one.offset + size == other.offset


def _parse(line: str) -> Mapping:
    addresses, rights, offset, device, inode = line.split(None, 5)[:5]
    start, _, end = addresses.partition("-")
    return Mapping(int(start, 16), int(end, 16), rights, int(offset, 16), (device, inode))
