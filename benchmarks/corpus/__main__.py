"""The command line: ``python -m benchmarks.corpus build`` or ``verify``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import conf
from benchmarks.common.command import make_parser
from benchmarks.corpus import build, replay
from benchmarks.corpus.cases import FOLDER
from conf import commands
from conf.arguments import add_overwrite, integer, require_new
from sandbox.base import SandboxError


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 on success, 1 if a replay differs from the record. User errors exit with 2 and one line."""
    parser = make_parser("corpus", build.__doc__)
    parser.add_argument("command", choices=("build", "verify"))
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the corpus")
    parser.add_argument(
        "--some", type=integer(1), help="verify only this many episodes, evenly spread over the corpus"
    )
    add_overwrite(parser)
    commands.add_overrides(parser, "settings of the sandbox: sandbox=<name> sandbox.<key>=<value>")
    options = parser.parse_intermixed_args(arguments)
    with commands.one_line_errors(SandboxError):
        if options.command == "build":
            require_new(options.overwrite, *build.paths(options.folder), option="--folder")
        parts = {"sandbox": "auto"}
        chosen = commands.compose_parts(options.overrides, parts, config_dir=options.config_dir)
        backend = conf.build("sandbox", chosen.sandbox)
        try:
            if options.command == "build":
                build.build(backend, options.folder, print)
                return 0
            return replay.verify(backend, options.folder, print, some=options.some)
        finally:
            backend.close()


if __name__ == "__main__":
    sys.exit(main())
