"""Writes a run's trained weights as plain Hugging Face folders, one for each policy, that load without this
project.

    python -m learners.export runs/dsbench/<run> exported
    python -m learners.export runs/dsbench/<run> exported --adapters

The weights are those of the newest checkpoint. With ``weights=adapter``, each adapter is merged into the
base; ``--adapters`` writes the adapters themselves instead, in the format of ``peft``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

import conf
from conf import ConfigError, commands
from conf.arguments import Parser
from learners.config import RunConfig

if TYPE_CHECKING:
    from learners.base import Weights


def export(run: Path, out: Path, *, adapters: bool = False) -> list[Path]:
    """Writes ``<out>/<policy>`` for every policy that the run trained and returns these folders.

    What fails leaves nothing in ``out``.

    Raises:
        ConfigError: there is no run or no checkpoint that can be read, it has no adapters to write, ``out``
        is not empty or cannot be written, or a part cannot be built.
    """
    from learners.run import checkpoint
    from learners.run.folder import located, read_config
    from learners.runtimes.capabilities import weights_class
    from learners.runtimes.parts import load_weights
    from learners.runtimes.team import team_of
    from learners.update.state_file import open_state

    run = located(run)
    made = read_config(run)
    for own in (made, *made.team.values()):  # wherever it was trained: only adapters need computing
        if own.get("model"):
            OmegaConf.update(own, "model.device", "cpu")
    config = RunConfig.read(made)
    if adapters and not weights_class(config).shares_base:
        kind = config.weights.name
        raise ConfigError(f"{run} has whole weights (weights={kind}), not adapters: leave out --adapters")
    newest = checkpoint.latest(run)
    if newest is None:
        raise ConfigError(f"{run} has no checkpoint yet")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} is not an empty folder")
    algorithm = conf.build("learners", config.algorithm)
    scenario = conf.build("envs", config.env)
    trained = [policy for policy in team_of(config, scenario).local if policy.learns]
    weights = load_weights(config, scenario, trained, reference=algorithm.needs_reference)

    def write(own: Weights, folder: Path) -> None:
        with open_state(newest.path / f"{own.name}.pt") as state:
            own.restore(state["weights"])
        (own.save if adapters else own.save_merged)(folder)

    return _write_all(weights, out, write)


def untrained(run: Path) -> dict[str, str]:
    """Returns the policies that played in a run and did not learn, and the name of the model of each."""
    from learners.run.folder import located, read_config
    from learners.runtimes.team import team_of

    config = RunConfig.read(read_config(located(run)))
    team = team_of(config, conf.build("envs", config.env))
    return {one.name: str(one.describe()["model"]) for one in team.policies.values() if not one.learns}


def _write_all(
    weights: Mapping[str, Weights], out: Path, write: Callable[[Weights, Path], None]
) -> list[Path]:
    """Calls ``write`` for each of the weights and its folder below ``out``; removes all if one fails."""
    existed = out.exists()
    try:
        for name, own in weights.items():
            write(own, out / name)
    except BaseException as error:
        for name in weights:
            shutil.rmtree(out / name, ignore_errors=True)
        if not existed and out.is_dir():
            out.rmdir()
        # safetensors has an error of its own for a full disk
        if isinstance(error, OSError) or "os error" in str(error):
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{out} cannot be written: {reason}") from error
        raise
    return [out / name for name in weights]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. User errors print one line to stderr and exit with code 2."""
    parser = Parser("python -m learners.export", __doc__)
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("out", type=Path, help="the folder to write to; new or empty")
    parser.add_argument("--adapters", action="store_true", help="write adapters, not merged weights")
    options = parser.parse_args(arguments)
    with commands.one_line_errors():
        written = export(options.run, options.out, adapters=options.adapters)
        for path in written:
            print(f"written: {path}")
        for agent, own in untrained(options.run).items():
            print(f"not written, because it did not learn: {agent} ({own})")


if __name__ == "__main__":
    main()
