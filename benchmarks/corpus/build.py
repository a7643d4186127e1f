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
from benchmarks.corpus import (
    faults_dsbench,
    faults_dsbench_later,
    faults_mathchat,
    faults_mathchat_later,
)
from benchmarks.corpus.cases import SPLITS, path_of
from benchmarks.corpus.faults import Fault
from benchmarks.corpus.habits import HABITS
from benchmarks.corpus.play import Played, perform, row, worse
from benchmarks.corpus.styles import STYLES, WAYS, Manner
from envs.pipeline import PipelineEnv
from envs.types import Split, Task
from sandbox.base import Backend

MARGIN = 0.05
"""A faulty episode that succeeds scores at least this much (on a scale of 1) below every sound one of its
task."""
FAULTS: Mapping[str, Sequence[Fault]] = {
    "dsbench": (*faults_dsbench.FAULTS, *faults_dsbench_later.FAULTS),
    "mathchat": (*faults_mathchat.FAULTS, *faults_mathchat_later.FAULTS),
}
_PRESET = 7
"""Of xz: its window of 16 MiB is longer than the text of a part, in which prompts and programs repeat."""
_STYLES = len(STYLES) * WAYS
"""Number of seeds that play in a usual way; a habit is added to later ones (``Manner.habit``)."""


@dataclass(frozen=True)
class Plan:
    """What is played of each task of one environment in one part."""

    faulty: tuple[int, ...]
    """For each sound episode, the number of faulty ones that depart from it."""
    unusual: int = 0
    """How many of the sound episodes, the last ones, are played in unusual ways."""
    problems: int = 2
    """Mathematics problems of each family."""
    edition: int = 1
    """The last edition whose faults are planted."""
    at_least: int = 0
    """Kinds of fault with fewer episodes than this come before all others."""
    tries: int = 1
    """With how many sound episodes of a task one fault is tried."""

    def seeds(self, position: int) -> Iterator[int]:
        """Yields the seeds of the sound episodes of the task at ``position``."""
        usual = len(self.faulty) - self.unusual
        for n in range(len(self.faulty)):
            habit = 0 if n < usual else 1 + (position + n - usual) % HABITS
            yield _STYLES * habit + (position + 5 * n) % _STYLES


PLANS: Mapping[str, Mapping[str, Plan]] = {
    "public": {"dsbench": Plan((2, 1)), "mathchat": Plan((2,))},
    "heldout": {
        "dsbench": Plan((4, 4, 4, 4, 4, 3, 3, 3, 2, 2, 2), unusual=3, edition=2, at_least=5, tries=11),
        "mathchat": Plan((2, 2, 0), unusual=1, problems=4, edition=2, at_least=5, tries=2),
    },
}
"""The public part has kinds of the first edition only, so that nobody develops a coach on later ones."""
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
    jobs = [(env, split) for split in reversed(SPLITS) for env in FAULTS]  # the longest first
    with ThreadPoolExecutor(2) as pool:
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
    env, tally, plan = environment(name, backend), Tally(), PLANS[split][name]
    for position, task in enumerate(_tasks(env, split, plan.problems)):
        sound = [perform(env, task, seed, {}, f"{name}-{task.id}-{seed}") for seed in plan.seeds(position)]
        for played in sound:
            if not played.success:
                raise RuntimeError(f"the sound episode {played.rollout.episode.id} failed")
        tried: Counter[int] = Counter()
        for played, wanted in zip(sound, plan.faulty, strict=True):
            edition = 2 if Manner.of(played.seed).habit else 1
            tally.rows.append(row(played, split, edition, None, None))
            faulty = _faulty(env, split, played, sound, tally, tried)
            tally.rows += islice(faulty, wanted)
    return tally


def _tasks(env: PipelineEnv, split: str, problems: int) -> Iterator[Task]:
    """Returns all tables, or the first few problems of each family."""
    taken: Counter[str] = Counter()
    for task in env.scenario.tasks(_ENV_SPLITS[split]):
        family = task.id.rpartition("-")[0] if env.scenario.name == "mathchat" else task.id
        taken[family] += 1
        if taken[family] <= problems:
            yield task


def _faulty(
    env: PipelineEnv,
    split: str,
    twin: Played,
    sound: Sequence[Played],
    tally: Tally,
    tried: Counter[int],
) -> Iterator[dict[str, Any]]:
    """Returns episodes with one fault each; kinds and agents that were rare so far come first."""
    plan = PLANS[split][twin.env]
    faults = [fault for fault in FAULTS[twin.env] if fault.edition <= plan.edition]
    agents: Counter[str] = Counter()
    rest = {position for position in range(len(faults)) if tried[position] < plan.tries}
    while rest:
        position = min(rest, key=lambda at: _rarity(faults[at], at, agents, tally, plan.at_least))
        rest.remove(position)
        fault = faults[position]
        tried[position] += 1
        if (planted := plant(fault, twin)) is None:
            continue
        turn, action = planted
        name = f"{twin.rollout.episode.id}-{fault.kind}-{position}"
        played = perform(env, twin.task, twin.seed, {turn: action}, name)
        if not worse(sound, played, MARGIN):
            tally.harmless.append(f"{twin.task.id}: {fault.kind} by {fault.agent}")
            tried[position] = plan.tries
            continue
        agents[fault.agent] += 1
        tally.used.update((fault.kind, fault.agent, f"{position}"))
        label = {"kind": fault.kind, "agent": fault.agent, "turn": turn}
        yield row(played, split, fault.edition, label, twin.rollout.episode.id)


def _rarity(
    fault: Fault, position: int, agents: Counter[str], tally: Tally, at_least: int
) -> tuple[int, ...]:
    used = tally.used
    enough = min(used[fault.kind], at_least)
    if fault.narrow and enough < at_least:
        enough = -1
    return enough, agents[fault.agent], used[fault.kind], used[f"{position}"], used[fault.agent], position


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
