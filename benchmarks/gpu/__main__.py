"""Measures one GPU in under 8 minutes, without a network: a first look at updates, memory and a training run.

    python -m benchmarks.gpu --weights smollm2          # every part; docs/scaling.md: what has to be there
    python -m benchmarks.gpu update checkpoint --seconds 240
    python -m benchmarks.gpu --toy                      # tiny sizes, on any machine, in about a minute

Parts, in the order of their value:

device      name, libraries, and the measured rate of matrix products, in bfloat16 and float32
update      updates of a model of Qwen3-4B's shape with random weights: adapters and whole weights, 8 rows of
            2k, 16k and 40k tokens; tokens/s, MFU, and peak memory beside the estimate of learners.plan
training    training runs of SmolLM2-135M (with --weights FOLDER) or of the teaching policy, on MathChat and
            on the bundled tables: held-out tasks before and after
attention   rows that lie end to end: the kernel of a run beside one call for each row, and beside a mask
checkpoint  a checkpoint of the GPU opens on the CPU with equal weights, and training goes on from it
tests       the tests that are marked gpu, with pytest if it is there

Every part has a process of its own and a share of --seconds; what one leaves unused goes to those after it.
The folder --out has report.json, which is written again after every result, and a log for each part: a run
that is killed keeps what it had. A part that fails does not end the others.

MFU counts what the mathematics of an update needs, nothing that is recomputed (benchmarks/gpu/updates.py),
and divides by the rate that NVIDIA states for the device.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from benchmarks.common.command import make_parser, print_path, write_json
from benchmarks.common.machine import machine
from benchmarks.gpu.child import MODULES
from benchmarks.gpu.records import FAILED, Part, Report, Settings
from benchmarks.gpu.report import table
from benchmarks.gpu.running import run_parts
from benchmarks.gpu.weights import join
from conf import ConfigError, commands
from conf.arguments import Parser, add_out, number, require_new
from conf.revision import revision
from conf.tables import make_console

SECONDS, TOY_SECONDS = 465.0, 3600.0
REPORT = "report.json"
NEEDED = (
    "torch",
    "transformers",
    "peft",
    "pettingzoo",
    "gymnasium",
    "latex2sympy2_extended",
    "matplotlib",
)


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    given = _parser().parse_args(arguments)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f"not installed: {', '.join(missing)} (docs/scaling.md: without a network)")
    unknown = [name for name in given.parts if name not in MODULES]
    if unknown:
        raise ConfigError(f"there is no part {unknown[0]!r}; there are: {', '.join(MODULES)}")
    folder: Path = given.out.resolve()
    require_new(given.overwrite, folder / REPORT)
    weights = join(given.weights, folder / "smollm2.gguf") if given.weights else None
    if not given.toy:
        _require_gpu()
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings("", given.toy, 0.0, str(folder), str(weights) if weights else None, {})
    here, version = machine(), revision().short

    def keep(parts: Sequence[Part]) -> None:
        seconds = sum(part.seconds for part in parts)
        write_json(folder / REPORT, asdict(Report(here, version, given.toy, seconds, parts)))

    chosen = [name for name in MODULES if name in given.parts or not given.parts]
    try:
        parts = run_parts(chosen, settings, given.seconds or (TOY_SECONDS if given.toy else SECONDS), keep)
    except KeyboardInterrupt as error:
        error.add_note(f"{folder / REPORT} has what was measured; --overwrite starts again")
        raise
    console = make_console()
    console.print(table(parts))
    print_path(console, folder / REPORT)
    return int(any(part.status == FAILED for part in parts))


def _require_gpu() -> None:
    """Raises ``ConfigError`` if torch sees none; asks in another process, because it takes memory there."""
    code = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([sys.executable, "-c", code], check=False).returncode:
        raise ConfigError("torch sees no GPU here: --toy measures tiny sizes on any machine")


def _parser() -> Parser:
    parser = make_parser("gpu", __doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help="parts to run, by default all of them")
    parser.add_argument(
        "--toy", action="store_true", help="tiny sizes, on any machine; the numbers mean little"
    )
    parser.add_argument(
        "--seconds",
        type=number(1),
        help=f"time of all parts together: by default {SECONDS:.0f}, and {TOY_SECONDS:.0f} with --toy",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="SmolLM2's GGUF file, whole or in parts"
    )
    add_out(parser, default=Path("runs/gpu"), help="folder for all results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
