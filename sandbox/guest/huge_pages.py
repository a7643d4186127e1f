"""Moves what a process has preloaded into huge pages, so that its forks are cheap. Standard library only.

For every small page that is resident, a fork copies an entry and counts one more user, and the end of the
child undoes both: almost 0.1 ms for each megabyte. In huge pages it is a hundredth, or a tenth once a write
has split the mapping. Programs cannot make such pages (``sandbox.guest.seccomp``). The process that made
those they inherit maps them as a whole, so nothing of them escapes ``sandbox.guest.memory``.

It pays after some twenty forks: not in a guest that imports its libraries itself, which makes fewer."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

from sandbox.guest.seccomp import libc

_SIZE = 1 << 21
_MADV_COLLAPSE = 25
_BLOCK = 479
"""Length of a ``bytes`` object of 512 bytes, the most that Python's allocator takes from its arenas."""
_ARENA = 1953
"""So many fill an arena, a mebibyte."""
_ARENAS = 96
"""More than preloaded libraries need: what is left over is released."""


@contextlib.contextmanager
def in_huge_pages() -> Iterator[None]:
    """Moves memory that is allocated meanwhile into huge pages afterwards, as far as the kernel can do so
    (since Linux 6.1).

    The arenas of Python's allocator are made before, side by side: the kernel maps a library wherever there
    is room, and a huge page does not fit between two libraries.
    """
    blocks: list[bytes | None] = [None] * (_ARENA * _ARENAS)
    for place in range(len(blocks)):
        blocks[place] = bytes(_BLOCK)
    kept = blocks[::_ARENA]
    del blocks
    yield
    kept.clear()
    collapse()


def collapse() -> None:
    """Moves what this process has allocated into huge pages, where one fits."""
    for start, end in _heaps():
        for address in range(-(-start // _SIZE) * _SIZE, end - _SIZE + 1, _SIZE):
            libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(_SIZE), _MADV_COLLAPSE)


def _heaps() -> list[tuple[int, int]]:
    """Returns the start and end of each range of writable memory without a file."""
    with open("/proc/self/maps") as file:
        lines = [line.split() for line in file]
    ranges = [fields[0].split("-") for fields in lines if fields[1] == "rw-p" and fields[4] == "0"]
    return [(int(start, 16), int(end, 16)) for start, end in ranges]
