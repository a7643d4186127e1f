"""The command line: ``python -m benchmarks.corpus build`` or ``verify``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import conf
from benchmarks.common.command import make_parser
from benchmarks.corpus import build, replay
from benchmarks.corpus.cases import FOLDER
from sandbox.base import SandboxError


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 on success, 1 if a replay differs from the record, 2 if the command could not run."""
    parser = make_parser("corpus", build.__doc__)
    parser.add_argument("command", choices=("build", "verify"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the corpus")
    parser.add_argument(
        "--some", type=int, help="verify only this many episodes, evenly spread over the corpus"
    )
    parser.add_argument("words", nargs="*", metavar="sandbox=…", help="settings of the sandbox")
    options = parser.parse_intermixed_args(arguments)
    try:
        backend = conf.build("sandbox", conf.choose("sandbox", options.words or ["sandbox=auto"]))
        try:
            if options.command == "build":
                build.build(backend, options.folder, print)
                return 0
            return replay.verify(backend, options.folder, print, some=options.some)
        finally:
            backend.close()
    except (conf.ConfigError, SandboxError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
