"""Makes the corpus: sound episodes, and faults that make a difference, played in a real sandbox."""

from __future__ import annotations

import json
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import conf
from benchmarks.corpus import faults_tables, faults_words
from benchmarks.corpus.cases import SPLITS
from benchmarks.corpus.faults import Fault
from benchmarks.corpus.play import Played, perform, row, worse
from envs.pipeline import PipelineEnv
from envs.types import Split, Task
from sandbox.base import Backend

MARGIN = 0.05
"""A faulty episode that does not fail scores lower than every sound one of its task by this much, of 1."""
FAULTS: Mapping[str, Sequence[Fault]] = {"dsbench": faults_tables.FAULTS, "mathchat": faults_words.FAULTS}
_FAULTY = {"dsbench": (2, 1), "mathchat": (2,)}
"""A number for each sound episode of a task: how many faulty ones depart from it."""
_PER_FAMILY = 2
"""Mathematics problems of each family, in each split."""
_OF: Mapping[str, Split] = {"public": "train", "heldout": "heldout"}


@dataclass
class Tally:
    """What was played of one environment and split, and which faults made no difference."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    used: Counter[str] = field(default_factory=Counter)
    """By kind, by agent, and by both with the place in the list."""
    idle: list[str] = field(default_factory=list)
    """Faults that left the outcome as good as it was: ``<task>: <kind> by <agent>``."""


def build(backend: Backend, folder: Path, say: Callable[[str], None]) -> None:
    """Writes ``<split>.jsonl`` into ``folder``. The same bytes on the same machine.

    Raises:
        RuntimeError: a sound episode failed.
        SandboxError: a sandbox was lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(env, split) for split in SPLITS for env in FAULTS]
    with ThreadPoolExecutor(2) as pool:  # an environment is one thread's; what is played is not shared
        done = dict(zip(jobs, pool.map(lambda job: _part(backend, *job), jobs), strict=True))
    for split in SPLITS:
        rows = [made for env in FAULTS for made in done[env, split].rows]
        lines = [_homeless(json.dumps(made, ensure_ascii=False)) for made in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        faulty = sum(made["fault"] is not None for made in rows)
        say(f"{split}: {len(rows) - faulty} sound and {faulty} faulty episodes")
    for (env, split), tally in done.items():
        say(f"{env}, {split}: {len(tally.idle)} faults made no difference and are left out")
        for line in sorted(tally.idle):
            say(f"  {line}")


def _homeless(line: str) -> str:
    """Tracebacks name where the libraries lie: put as in the image of docker sandboxes."""
    return line.replace(sysconfig.get_path("purelib"), "/opt/site")


def environment(env: str, backend: Backend) -> PipelineEnv:
    """``env`` with the settings that ship with us."""
    return PipelineEnv(conf.build("envs", conf.load("env", env)), backend)


def _part(backend: Backend, name: str, split: str) -> Tally:
    env, tally = environment(name, backend), Tally()
    for place, task in enumerate(_tasks(env, split)):
        seeds = [(place + 5 * n) % 8 for n in range(len(_FAULTY[name]))]
        sound = [perform(env, task, seed, {}, f"{name}-{task.id}-{seed}") for seed in seeds]
        for played in sound:
            if not played.success:
                raise RuntimeError(f"{played.rollout.episode.id} is sound, and failed")
        tried: set[int] = set()
        for played, wanted in zip(sound, _FAULTY[name], strict=True):
            tally.rows.append(row(played, split, None, None))
            faulty = _faulty(env, split, played, sound, tally, tried)
            tally.rows += islice(faulty, wanted)
    return tally


def _tasks(env: PipelineEnv, split: str) -> Iterator[Task]:
    """All tables; of each family of problems the first few."""
    taken: Counter[str] = Counter()
    for task in env.scenario.tasks(_OF[split]):
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
    """Episodes with a fault each, the kinds and agents that were rare so far first."""
    faults = FAULTS[twin.env]
    agents: Counter[str] = Counter()
    while len(tried) < len(faults):
        rest = [place for place in range(len(faults)) if place not in tried]
        place = min(rest, key=lambda at: _weight(faults[at], at, agents, tally))
        tried.add(place)
        fault = faults[place]
        if (planted := plant(fault, twin)) is None:
            continue
        turn, action = planted
        name = f"{twin.rollout.episode.id}-{fault.kind}-{place}"
        played = perform(env, twin.task, twin.seed, {turn: action}, name)
        if not worse(sound, played, MARGIN):
            tally.idle.append(f"{twin.task.id}: {fault.kind} by {fault.agent}")
            continue
        agents[fault.agent] += 1
        tally.used.update((fault.kind, fault.agent, f"{place}"))
        label = {"kind": fault.kind, "agent": fault.agent, "turn": turn}
        yield row(played, split, label, twin.rollout.episode.id)


def _weight(fault: Fault, place: int, agents: Counter[str], tally: Tally) -> tuple[int, ...]:
    used = tally.used
    return agents[fault.agent], used[fault.kind], used[f"{place}"], used[fault.agent], place


def plant(fault: Fault, twin: Played) -> tuple[int, str] | None:
    """The turn of ``twin`` that ``fault`` replaces, and the action in its place; None where none fits."""
    with_code = fault.step == "program"
    places = [
        turn.index
        for turn in twin.rollout.episode.turns
        if turn.agent == fault.agent and (turn.code is not None) == with_code
    ]
    if not places:
        return None
    action = twin.actions[places[-1]]
    new = fault.change(action, twin.task)
    return None if new is None or new == action else (places[-1], new)
