"""The child process of ``equivalence``. It is run as a script and imports no other module of this project.

Reads a JSON pair ``[correct, given]`` from each line of stdin and replies ``true`` or ``false``. The kernel
kills the process if one pair takes more CPU seconds than its first argument.
"""

from __future__ import annotations

import json
import resource
import signal
import sys

from math_verify import parse, verify  # type: ignore[import-untyped]

_MEMORY = 2**31


def same(correct: str, given: str) -> bool:
    """Compares two expressions with ``math_verify``. Its own time limit is off; that of the process
    applies."""
    gold = parse(f"${correct}$", parsing_timeout=None)
    answer = parse(f"$\\boxed{{{given}}}$", parsing_timeout=None)
    return bool(gold) and bool(answer) and bool(verify(gold, answer, timeout_seconds=None))


def main(timeout: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    same("1", "1")  # triggers late imports now, outside of the time limit
    print("ready", flush=True)
    for line in sys.stdin:
        correct, given = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, timeout)  # the default action of SIGPROF ends the process
        equal = same(correct, given)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(equal), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
