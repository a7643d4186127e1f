"""Measures what a fork costs, by the memory and the mappings of the process that forks.

    python -m benchmarks.sandbox.forks            # two minutes on two idle cores
    python -m benchmarks.sandbox.forks --rounds 1 --forks 10

Each case is a process of its own. It prepares memory, forks a guest that does not let the kernel make more
huge pages, and the guest forks children one after the other. ``empty`` children end at once; ``snippet``
children run the headline program of ``benchmarks.sandbox`` first. A fork's cost is the CPU time of the guest
and the child, in user and kernel mode, and their page faults: the least of all rounds, in which the cases
take turns. The cases named after libraries have those that dsbench preloads.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.table import Table

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import machine
from conf import commands
from conf.arguments import integer
from conf.tables import make_console

_MADV_HUGEPAGE, _HUGE = 14, 1 << 21
_CASES: dict[str, tuple[str, int]] = {
    "nothing": ("none", 0),
    "50 MB": ("small", 50),
    "100 MB": ("small", 100),
    "200 MB": ("small", 200),
    "200 MB in huge pages": ("huge", 200),
    "200 MB in huge pages, all split": ("split", 200),
    "1000 mappings": ("mappings", 1000),
    "libraries": ("plain", 0),
    "libraries, not frozen": ("unfrozen", 0),
    "libraries, no collection in children": ("no gc", 0),
    "libraries, freed memory trimmed": ("trimmed", 0),
    "libraries, malloc asks for huge pages": ("tunable", 0),
    "libraries in huge pages where they are": ("collapsed", 0),
    "libraries in huge pages": ("in huge pages", 0),
}
"""Name -> how the memory is prepared, and how much (megabytes or mappings)."""


@dataclass(frozen=True)
class Cost:
    """A fork and its child."""

    case: str
    resident_mb: int
    mappings: int
    empty: tuple[int, int, int]
    """Microseconds in user mode and in the kernel, and minor faults."""
    snippet: tuple[int, int, int] | None


def measure(rounds: int, forks: int) -> list[Cost]:
    """Returns the costs of all cases."""
    found: dict[str, list[Cost]] = {name: [] for name in _CASES}
    for _ in range(rounds):
        for name in _CASES:
            found[name].append(_in_process(name, forks))
    return [_least(costs) for costs in found.values()]


def _least(costs: Sequence[Cost]) -> Cost:
    empty = min((cost.empty for cost in costs), key=lambda each: each[0] + each[1])
    snippets = [cost.snippet for cost in costs if cost.snippet]
    snippet = min(snippets, key=lambda each: each[0] + each[1]) if snippets else None
    return Cost(costs[0].case, costs[0].resident_mb, costs[0].mappings, empty, snippet)


def _in_process(name: str, forks: int) -> Cost:
    from benchmarks.sandbox.methods import preload
    from benchmarks.sandbox.workloads import SNIPPET
    from sandbox.host.boot import ENVIRONMENT

    given = json.dumps([name, forks, preload(), SNIPPET.code])
    environment = {**ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])}
    if name == "libraries, malloc asks for huge pages":
        environment["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    code = "from benchmarks.sandbox.forks import child; child()"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], input=given, env=environment, text=True, check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    resident, mappings, empty, snippet = json.loads(done.stdout)
    return Cost(name, resident, mappings, tuple(empty), tuple(snippet) if snippet else None)


def child() -> None:
    """The process of one case: reads it from standard input, and prints what it measured as JSON."""
    from sandbox.guest.seccomp import PR_SET_THP_DISABLE, libc

    name, forks, parts, snippet = json.load(sys.stdin)
    kind, amount = _CASES[name]
    kept = _prepare(kind, amount, parts)
    guest = os.fork()
    if guest == 0:
        libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
        if kind == "split":
            for place in range(0, amount << 20, _HUGE):
                ctypes.memset(kept + place, 2, 1)
        if kind == "no gc":
            gc.disable()
        program = compile(snippet, "<snippet>", "exec")
        empty = _cost(lambda: None, forks)
        ran = _cost(lambda: exec(program, {}), forks) if name.startswith("libraries") else None
        print(json.dumps([*_size(), empty, ran]), flush=True)
        os._exit(0)
    os.waitpid(guest, 0)


def _prepare(kind: str, amount: int, parts: Sequence[str]) -> int:
    """Fills this process; returns the address of what was mapped, if anything was."""
    from sandbox.guest import huge_pages
    from sandbox.guest.preload import preload
    from sandbox.guest.seccomp import libc

    if kind in ("small", "huge", "split"):
        start = -(-_mapped((amount << 20) + _HUGE) // _HUGE) * _HUGE
        if kind != "small":
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(amount << 20), _MADV_HUGEPAGE)
        ctypes.memset(start, 1, amount << 20)
        return start
    if kind == "mappings":  # the kernel merges neighbours with the same rights
        for number in range(amount):
            place = _mapped(4096)
            ctypes.memset(place, 1, 4096)
            libc.mprotect(ctypes.c_void_p(place), ctypes.c_size_t(4096), 1 + 2 * (number % 2))
    elif kind != "none":
        with huge_pages.in_huge_pages() if kind == "in huge pages" else nullcontext():
            preload(parts)
        if kind == "unfrozen":
            gc.unfreeze()
        elif kind == "trimmed":
            libc.malloc_trim(0)
        elif kind == "collapsed":
            huge_pages.collapse()
    return 0


def _mapped(size: int) -> int:
    from sandbox.guest.seccomp import libc

    libc.mmap.restype = ctypes.c_void_p
    return int(libc.mmap(None, ctypes.c_size_t(size), 3, 0x22, -1, ctypes.c_long(0)))


def _size() -> tuple[int, int]:
    """Returns this process's resident megabytes and the number of its mappings."""
    status, maps = (Path("/proc/self", name).read_text("utf-8").splitlines() for name in ("status", "maps"))
    resident = next(line.split()[1] for line in status if line.startswith("VmRSS:"))
    return int(resident) >> 10, len(maps)


def _cost(run: Callable[[], object], forks: int) -> tuple[int, int, int]:
    before = _used()
    for _ in range(forks):
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            run()
            os._exit(0)
        os.waitpid(pid, 0)
    user, system, faults = ((now - then) / forks for now, then in zip(_used(), before, strict=True))
    return round(1e6 * user), round(1e6 * system), round(faults)


def _used() -> tuple[float, float, float]:
    own, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        own.ru_utime + theirs.ru_utime,
        own.ru_stime + theirs.ru_stime,
        own.ru_minflt + theirs.ru_minflt,
    )


def show(costs: Sequence[Cost]) -> Table:
    """Returns the table of all cases."""
    table = Table("what forks", "MB", "mappings", "empty, µs user + sys", "faults", "snippet, µs", "faults")
    for cost in costs:
        cells = [f"{user} + {system}" for user, system, _ in filter(None, (cost.empty, cost.snippet))]
        faults = [str(each[2]) for each in filter(None, (cost.empty, cost.snippet))]
        row = [cell for pair in zip(cells, faults, strict=True) for cell in pair]
        table.add_row(cost.case, str(cost.resident_mb), str(cost.mappings), *row)
    return table


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = make_parser("sandbox.forks", __doc__)
    parser.add_argument("--rounds", type=integer(1), default=3, help="rounds, of which the least counts")
    parser.add_argument("--forks", type=integer(1), default=40, help="forks in a row")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/forks.json"))
    given = parser.parse_args(arguments)
    console = make_console()
    costs = measure(given.rounds, given.forks)
    console.print(show(costs))
    write_json(given.out, {"machine": asdict(machine()), "costs": [asdict(cost) for cost in costs]})
    print_path(console, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
