"""``python -m tests.sandbox.fuzz TARGET``: ends with 1, and the command that plays it again, at a failure."""

import argparse
import importlib
import sys

TARGETS = ("host", "guest", "folder", "artifacts", "pickles")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--round", type=int, help="play this one alone")
    parser.add_argument("--break", dest="broken", default="", help="break the code under test in this way")
    given = parser.parse_args()
    from tests.sandbox.fuzz.engine import play

    target = importlib.import_module(f"tests.sandbox.fuzz.{given.target}").TARGET
    rounds = range(-(-given.cases // target.cases))
    if given.round is not None:
        rounds = range(given.round, given.round + 1)
    return 0 if play(given.target, target, given.seed, rounds, given.broken) else 1


if __name__ == "__main__":
    sys.exit(main())
