"""Estimates what a run needs before anything is loaded: memory of every GPU and host, disk, time, money.

    python -m learners.plan experiment=dsbench_4b_1xh100
    python -m learners.plan experiment=paper_dsbench_4b hardware=h200 rollout.concurrency=64

Takes the settings of a run and two more groups: ``hardware=h100|h200``, whose values can be changed
(``hardware.gpus=1``), and ``assume=usual``, guesses about what no configuration says (``assume.tool_s=5``,
``assume.episodes.dsbench.completion=2000``). Needs no GPU, no network and no weights.

All numbers are estimates. The exit code is 0 if everything fits, 1 if something does not fit, and 2 if a
setting is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from rich import box
from rich.console import Console

import conf
from conf.commands import with_default
from conf.tables import make_console, make_table
from learners.config import RunConfig
from learners.train import main

if TYPE_CHECKING:
    from learners.planning.assumptions import Assume, Hardware
    from learners.planning.files import Items
    from learners.planning.job import Job
    from learners.planning.memory import Device
    from learners.planning.timing import Times

GROUPS = {"hardware": "h100", "assume": "usual"}
"""Groups that only the configuration of a plan has -> the default of each."""
GIB = 2**30
LAST_ROWS = ("CUDA context", "margin", "engine", "engine, asleep")
"""The last rows of a memory table: what does not depend on the trainer."""


def arguments(words: list[str]) -> list[str]:
    """Returns the command line's ``words`` as Hydra requires them: new groups have a + before their name."""
    for group, name in GROUPS.items():
        words = [f"+{word}" if word.startswith(f"{group}=") else word for word in words]
        words = with_default(words, f"+{group}", name)
    return words


def run_config(config: DictConfig) -> RunConfig:
    """Returns the configuration of the run that is planned, without the groups that only a plan has.

    Raises:
        ConfigError: a setting is wrong.
    """
    return RunConfig.read(OmegaConf.masked_copy(config, [str(key) for key in config if key not in GROUPS]))


def plan(config: DictConfig) -> None:
    """Prints the estimate; exits with 1 if something does not fit.

    Raises:
        ConfigError: a setting is wrong, or the run cannot be planned.
    """
    from learners.planning import files, memory, timing
    from learners.planning.assumptions import Assume, Hardware
    from learners.planning.job import read_jobs

    hardware = conf.typed(Hardware, config.hardware, "hardware")
    assume = conf.typed(Assume, config.assume, "assume")
    jobs = read_jobs(run_config(config), assume)
    devices = memory.devices(jobs, hardware, assume)
    console = make_console(highlight=False)
    for job in jobs:
        _heading(job, hardware, console)
    if hosted := ", ".join(jobs[0].hosted):
        console.print(
            f"hosted, at {assume.coach_s:g} s a turn (assume.coach_s) and a price not counted: {hosted}"
        )
    for device in devices:
        _memory(device, console)
    # In one process all engines share one cache.
    sampling = jobs[:1] if jobs[0].layout.local else jobs
    cached = [_engine_cache(job, hardware, assume, console) for job in sampling]
    console.print(f"disk: {_sizes(files.disk(jobs))}")
    _times(jobs[0], timing.estimate(jobs, hardware, assume), console)
    _guesses(config, console)
    _verdict(memory.gpus_needed(jobs), hardware, devices, all(cached) and memory.all_fit(devices), console)


def _heading(job: Job, hardware: Hardware, console: Console) -> None:
    shapes, layout = job.shapes, job.layout
    trained = f"adapters of {job.trained / 1e6:.1f} M each" if job.adapters else "whole weights"
    console.print(
        f"{job.policies} policies{_learning(job)}, {trained}; model of {shapes.parameters / 1e9:.3f} B "
        f"parameters in {shapes.layers} layers; {layout.groups * layout.gpus:g} {hardware.gpu} "
        f"(there are {hardware.gpus}), {layout.groups * layout.ranks} processes that train, "
        f"{layout.groups * layout.engines} that sample"
    )


def _learning(job: Job) -> str:
    if job.trained_policies == job.policies:
        return ""
    return f" ({job.trained_policies or 'none'} of them learning)"


def _memory(device: Device, console: Console) -> None:
    """Prints what is in memory (rows) in which phase (columns)."""
    title = f"{device.name}{f', each of {device.count}' if device.count > 1 else ''}: GiB"
    table = make_table(title, ["", *(phase.name for phase in device.phases)], box=box.SIMPLE_HEAD)
    names = dict.fromkeys(name for phase in device.phases for name in phase.items)
    for name in sorted(names, key=lambda name: name in LAST_ROWS):
        table.add_row(name, *(_gib(phase.items.get(name, 0.0)) for phase in device.phases))
    table.add_section()
    table.add_row("total", *(_gib(phase.total) for phase in device.phases))
    console.print(table)
    verdict = "fits" if device.fits else "does not fit"
    console.print(
        f"{device.name}: {verdict}: {device.peak.total / GIB:.1f} GiB of {device.capacity / GIB:.1f} GiB "
        f"({device.peak.name})\n",
        style="" if device.fits else "bold red",
    )


def _engine_cache(job: Job, hardware: Hardware, assume: Assume, console: Console) -> bool:
    """Prints what is in an engine's share; returns whether its cache can hold the longest sequence."""
    from learners.planning import memory

    if not job.layout.engines:
        return True
    capacity = memory.cache_capacity(job, hardware, assume)
    fits = capacity.tokens >= job.row
    console.print(
        f"an engine's share: {_sizes(memory.engine_items(job, hardware, assume))}; {capacity.tokens} tokens: "
        f"{capacity.longest:.1f} sequences of {job.row} tokens, or {capacity.mean:.0f} of the mean length",
        style="" if fits else "bold red",
    )
    return fits


def _times(job: Job, times: Times, console: Console) -> None:
    table = make_table("time", ["a step", "s"], box=box.SIMPLE_HEAD)
    for name, seconds in times.step.items():
        table.add_row(name, f"{seconds:.0f}")
    console.print(table)
    hours = times.run_seconds(job) / 3600
    console.print(
        f"{job.steps} steps of {sum(times.step.values()) / 60:.1f} min and {job.evaluations} evaluations of "
        f"{times.evaluation / 60:.1f} min: about {hours:.1f} h. A step samples {times.tokens:.0f} tokens, "
        f"{times.batch:.0f} sequences at once in an engine."
    )
    calls, dollars = times.coaching.calls, times.coaching.dollars
    if calls:
        console.print(
            f"verdicts: {calls:.0f} calls and ${dollars:.2f} a step, {calls * job.steps:.0f} calls and "
            f"${dollars * job.steps:.0f} in all"
        )


def _guesses(config: DictConfig, console: Console) -> None:
    """Prints all assumptions, in the form in which the command line sets them."""
    console.print("All of this is estimated and nothing is measured. It is based on:")
    assumed = {**config.assume, "episodes": {config.env.name: config.assume.episodes[config.env.name]}}
    for group, node in {"hardware": config.hardware, "assume": assumed}.items():
        plain = OmegaConf.to_container(OmegaConf.create(node))
        console.print(_flat(plain, group), style="dim", soft_wrap=True)


def _verdict(
    needed: float, hardware: Hardware, devices: Iterable[Device], fits: bool, console: Console
) -> None:
    if needed > hardware.gpus:
        console.print(f"does not fit: {needed:g} GPUs of {hardware.gpus}", style="bold red")
    if not fits or needed > hardware.gpus:
        sys.exit(1)
    console.print("Everything fits, by these estimates.")


def _sizes(items: Items) -> str:
    return ", ".join(f"{name} {size / GIB:.1f}" for name, size in items.items()) + " GiB"


def _gib(size: float) -> str:
    return f"{size / GIB:.1f}" if abs(size) >= 0.05 * GIB else ""


def _flat(values: object, prefix: str = "") -> str:
    if not isinstance(values, Mapping):
        return f"{prefix}={values:g}" if isinstance(values, float) else f"{prefix}={values}"
    return " ".join(_flat(value, f"{prefix}.{key}".strip(".")) for key, value in values.items())


if __name__ == "__main__":
    if {"--help", "-h"} & set(sys.argv):
        print(__doc__)
    sys.argv = arguments(sys.argv)
    main(command=plan)
