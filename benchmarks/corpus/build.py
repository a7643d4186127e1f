"""Builds the corpus: plays sound episodes, and faulty ones with a worse outcome, in a real sandbox."""

from __future__ import annotations

import json
import lzma
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import conf
from benchmarks.corpus import faults_dsbench, faults_mathchat
from benchmarks.corpus.cases import SPLITS, path_of
from benchmarks.corpus.faults import Fault
from benchmarks.corpus.play import Played, perform, row, worse
from envs.pipeline import PipelineEnv
from envs.types import Split, Task
from sandbox.base import Backend

MARGIN = 0.05
"""A faulty episode that succeeds scores at least this much (on a scale of 1) below every sound one of its
task."""
FAULTS: Mapping[str, Sequence[Fault]] = {"dsbench": faults_dsbench.FAULTS, "mathchat": faults_mathchat.FAULTS}
_PRESET = 7
"""Of xz: its window of 16 MiB is longer than the text of a part, in which prompts and programs repeat."""
_FAULTY = {"dsbench": (2, 1), "mathchat": (2,)}
"""For each sound episode of a task, the number of faulty episodes that depart from it."""
_PER_FAMILY = 2
"""Mathematics problems of each family in each split."""
_ENV_SPLITS: Mapping[str, Split] = {"public": "train", "heldout": "heldout"}


@dataclass
class Tally:
    """The episodes of one environment and split, and the faults that made no difference."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)
    """How often each kind, each agent and each position in the list of faults was used."""
    harmless: list[str] = field(default_factory=list)
    """Faults that did not make the outcome worse: ``<task>: <kind> by <agent>``."""


def build(backend: Backend, folder: Path, say: Callable[[str], None]) -> None:
    """Writes ``<split>.jsonl.xz`` into ``folder``; the same bytes each time on the same machine.

    Raises:
        RuntimeError: a sound episode failed.
        SandboxError: a sandbox was lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(env, split) for split in SPLITS for env in FAULTS]
    with ThreadPoolExecutor(2) as pool:  # one thread per environment; they share nothing
        done = dict(zip(jobs, pool.map(lambda job: _part(backend, *job), jobs), strict=True))
    for split, path in zip(SPLITS, paths(folder), strict=True):
        rows = [line for env in FAULTS for line in done[env, split].rows]
        lines = [_portable(json.dumps(line, ensure_ascii=False)) for line in rows]
        path.write_bytes(lzma.compress(("\n".join(lines) + "\n").encode(), preset=_PRESET))
        faulty = sum(line["fault"] is not None for line in rows)
        say(f"{split}: {len(rows) - faulty} sound and {faulty} faulty episodes")
    for (env, split), tally in done.items():
        say(f"{env}, {split}: {len(tally.harmless)} faults made no difference and are left out")
        for line in sorted(tally.harmless):
            say(f"  {line}")


def paths(folder: Path) -> list[Path]:
    """Returns the files that ``build`` writes, one for each of ``SPLITS``."""
    return [path_of(split, folder) for split in SPLITS]


def _portable(line: str) -> str:
    """Replaces this machine's library folder, which tracebacks contain, by that of the docker image."""
    return line.replace(sysconfig.get_path("purelib"), "/opt/site")


def environment(env: str, backend: Backend) -> PipelineEnv:
    """Returns ``env`` with its default settings, in the style that the scripted team reads."""
    return PipelineEnv(conf.build("envs", conf.load("env", env, style="compact")), backend)


def _part(backend: Backend, name: str, split: str) -> Tally:
    env, tally = environment(name, backend), Tally()
    for position, task in enumerate(_tasks(env, split)):
        seeds = [(position + 5 * n) % 8 for n in range(len(_FAULTY[name]))]
        sound = [perform(env, task, seed, {}, f"{name}-{task.id}-{seed}") for seed in seeds]
        for played in sound:
            if not played.success:
                raise RuntimeError(f"the sound episode {played.rollout.episode.id} failed")
        tried: set[int] = set()
        for played, wanted in zip(sound, _FAULTY[name], strict=True):
            tally.rows.append(row(played, split, 1, None, None))
            faulty = _faulty(env, split, played, sound, tally, tried)
            tally.rows += islice(faulty, wanted)
    return tally


def _tasks(env: PipelineEnv, split: str) -> Iterator[Task]:
    """Returns all tables, or the first few problems of each family."""
    taken: Counter[str] = Counter()
    for task in env.scenario.tasks(_ENV_SPLITS[split]):
        family = task.id.rpartition("-")[0] if env.scenario.name == "mathchat" else task.id
        taken[family] += 1
        if taken[family] <= _PER_FAMILY:
            yield task


def _faulty(
    env: PipelineEnv,
    split: str,
    twin: Played,
    sound: Sequence[Played],
    tally: Tally,
    tried: set[int],
) -> Iterator[dict[str, Any]]:
    """Returns episodes with one fault each; kinds and agents that were rare so far come first."""
    faults = FAULTS[twin.env]
    agents: Counter[str] = Counter()
    while len(tried) < len(faults):
        rest = [position for position in range(len(faults)) if position not in tried]
        position = min(rest, key=lambda at: _rarity(faults[at], at, agents, tally))
        tried.add(position)
        fault = faults[position]
        if (planted := plant(fault, twin)) is None:
            continue
        turn, action = planted
        name = f"{twin.rollout.episode.id}-{fault.kind}-{position}"
        played = perform(env, twin.task, twin.seed, {turn: action}, name)
        if not worse(sound, played, MARGIN):
            tally.harmless.append(f"{twin.task.id}: {fault.kind} by {fault.agent}")
            continue
        agents[fault.agent] += 1
        tally.used.update((fault.kind, fault.agent, f"{position}"))
        label = {"kind": fault.kind, "agent": fault.agent, "turn": turn}
        yield row(played, split, fault.edition, label, twin.rollout.episode.id)


def _rarity(fault: Fault, position: int, agents: Counter[str], tally: Tally) -> tuple[int, ...]:
    used = tally.used
    return agents[fault.agent], used[fault.kind], used[f"{position}"], used[fault.agent], position


def plant(fault: Fault, twin: Played) -> tuple[int, str] | None:
    """Returns the turn of ``twin`` in which ``fault`` is planted, and its new action; None if the fault does
    not fit."""
    with_code = fault.step == "program"
    positions = [
        turn.index
        for turn in twin.rollout.episode.turns
        if turn.agent == fault.agent and (turn.code is not None) == with_code
    ]
    if not positions:
        return None
    action = twin.actions[positions[-1]]
    new = fault.change(action, twin.task)
    return None if new is None or new == action else (positions[-1], new)
