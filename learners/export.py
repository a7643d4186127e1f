"""Writes a run's trained weights as plain Hugging Face folders, one for each policy, that load without this
project.

    python -m learners.export runs/dsbench/<run> exported
    python -m learners.export runs/dsbench/<run> exported --adapters

The weights are those of the newest checkpoint. With ``weights=adapter``, each adapter is merged into the
base; ``--adapters`` writes the adapters themselves instead, in the format of ``peft``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import conf
from conf import ConfigError, commands
from conf.arguments import Parser
from learners.config import RunConfig
from learners.run import checkpoint
from learners.run.folder import read_config
from learners.runtimes.parts import load_weights
from learners.update.state_file import open_state


def export(run: Path, out: Path, *, adapters: bool = False) -> list[Path]:
    """Writes ``<out>/<policy>`` for every policy of the run and returns these folders.

    Raises:
        ConfigError: there is no run or no checkpoint, ``out`` is not empty, or a part cannot be built.
    """
    made = read_config(run)
    made.model.device = "cpu"  # wherever it was trained; nothing is computed but the sum of adapter and base
    config = RunConfig.read(made)
    newest = checkpoint.latest(run)
    if newest is None:
        raise ConfigError(f"{run} has no checkpoint yet")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder")
    algorithm = conf.build("learners", config.algorithm)
    weights = load_weights(config, conf.build("envs", config.env), reference=algorithm.needs_reference)
    for name, policy_weights in weights.items():
        with open_state(newest.path / f"{name}.pt") as state:
            policy_weights.restore(state["weights"])
        (policy_weights.save if adapters else policy_weights.save_merged)(out / name)
    return [out / name for name in weights]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    parser = Parser("python -m learners.export", __doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("out", type=Path, help="the folder to write to; new or empty")
    parser.add_argument("--adapters", action="store_true", help="write adapters, not merged weights")
    options = parser.parse_args(arguments)
    with commands.one_line_errors():
        for path in export(options.run, options.out, adapters=options.adapters):
            print(f"written: {path}")


if __name__ == "__main__":
    main()
