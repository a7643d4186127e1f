"""The process that ``benchmarks.rollout.play`` starts: plays training steps with one checkout's packages.

It is run by its path, with that checkout on ``PYTHONPATH``, which may be older than this file. So it imports
nothing of ``benchmarks``, and uses of ``learners`` only what both have.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import learners
from conf import commands
from learners.config import RunConfig
from learners.policy import Policy
from learners.rollout import lockstep
from learners.rollout.worker import LocalRolloutWorker
from learners.run.build import build
from learners.run.folder import open_folder
from learners.run.report import Reporter
from learners.run.trainer import Trainer
from learners.runtimes.base import Parts
from learners.types import Assignment, Completion

WARM_UP = 2
"""Episodes that are played before anything is measured: they start what every later episode finds started."""


class Replay:
    """A generator that acts as recorded: the n-th turn of an episode is the n-th of its actions.

    A batch takes ``token_s`` for each token of its longest action, in which it only sleeps.
    """

    trains = False
    lockstep = True

    def __init__(self, token_s: float) -> None:
        self._token_s = token_s
        self._turns: dict[int, list[tuple[str, int]]] = {}

    def load(self, episodes: Sequence[dict[str, Any]]) -> None:
        """Takes the actions of a step, by the number of their episode."""
        self._turns = {
            number: list(zip(episode["actions"], episode["tokens"], strict=True))
            for number, episode in enumerate(episodes)
        }

    def generate(
        self, policy: str, messages: Any, *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        if not self._turns[order]:
            raise ValueError(f"episode {order} goes on after its last recorded action")
        action = self._turns[order].pop(0)  # one thread per episode
        return lockstep.call(policy, (order, seed), action, self.batch)

    def batch(self, actions: Sequence[tuple[str, int]]) -> list[Completion]:
        time.sleep(self._token_s * max(tokens for _, tokens in actions))
        return [Completion(text, (), (), (), 0, "stop") for text, _ in actions]

    def sync(self, policy: str, version: int) -> None: ...
    def sleep(self) -> None: ...
    def wake(self) -> None: ...
    def close(self) -> None: ...


class Nobody:
    """A reporter whose reports nobody reads. Older checkouts report no episodes."""

    def episode(self, row: Any) -> None: ...


class Player(Trainer):
    """Plays and records the episodes of training steps as a run does, and trains on none of them."""

    given: list[Assignment] | None = None
    """The episodes of the next step; None: those of the run."""
    most: int | None = None

    def play(self, step: int) -> list[Any]:
        """Returns the rollouts of a step."""
        rollouts, _ = self._train_episodes(step)
        return rollouts

    def _train_assignments(self, step: int) -> list[Assignment]:
        given = super()._train_assignments(step) if self.given is None else self.given
        return given[: self.most]


class Meter:
    """Counts the calls of sandboxes by method, batches, and how long too little is going on."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self._lock = threading.Lock()
        self._busy = 0
        self._since = time.perf_counter()
        self.reset()

    def reset(self) -> None:
        """Begins to count anew, while nothing is going on."""
        self._sandboxes: Counter[str] = Counter()
        self._batches = 0
        self._sampling_s = self._idle_s = 0.0
        self._since = time.perf_counter()

    def read(self) -> dict[str, Any]:
        """Returns what has been counted. ``idle_s``: core-seconds in which neither an episode nor a batch
        could use a core, because they waited for others."""
        with self._lock:
            return {
                "sandboxes": dict(self._sandboxes),
                "batches": self._batches,
                "sampling_s": self._sampling_s,
                "idle_s": self._idle_s,
            }

    @contextmanager
    def busy(self, change: int = 1) -> Iterator[None]:
        """While the block runs, ``change`` more threads of episodes and batches do not wait for others."""
        self._change(change)
        try:
            yield
        finally:
            self._change(-change)

    def opening(self, opening: Callable[..., Any]) -> Callable[..., Any]:
        """``Backend.open``, so that the calls of its sandboxes are counted."""
        count = self._count

        class Counted:
            def __init__(self, box: Any) -> None:
                self._box = box

            def __getattr__(self, name: str) -> Any:
                count(name)
                return getattr(self._box, name)

        def open_counted(*args: Any) -> Any:
            count("open")
            return Counted(opening(*args))

        return open_counted

    def playing(self, play: Callable[..., Any]) -> Callable[..., Any]:
        """``RolloutWorker.play``."""

        def play_measured(*args: Any, **options: Any) -> Any:
            with self.busy():
                return play(*args, **options)

        return play_measured

    def asking(self, generate: Callable[..., Completion]) -> Callable[..., Completion]:
        """``Generator.generate``, in which an episode waits."""

        def generate_measured(*args: Any, **options: Any) -> Completion:
            with self.busy(-1):
                return generate(*args, **options)

        return generate_measured

    def sampling(self, batch: Callable[..., list[Completion]]) -> Callable[..., list[Completion]]:
        """``batch`` of a generator, in one of the waiting threads."""

        def batch_measured(*args: Any) -> list[Completion]:
            start = time.perf_counter()
            with self.busy():
                completions = batch(*args)
            with self._lock:
                self._sampling_s += time.perf_counter() - start
                self._batches += 1
            return completions

        return batch_measured

    def _count(self, name: str) -> None:
        with self._lock:
            self._sandboxes[name] += 1

    def _change(self, change: int) -> None:
        with self._lock:
            now = time.perf_counter()
            self._idle_s += max(0, self._cores - self._busy) * (now - self._since)
            self._since, self._busy = now, self._busy + change


def cpu_times() -> dict[str, float]:
    """Returns CPU seconds so far: of this process, of all that it started, and of the whole machine."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    user, system = reaped.ru_utime, reaped.ru_stime
    tick = float(os.sysconf("SC_CLK_TCK"))
    for fields in _descendants():
        user += (int(fields[11]) + int(fields[13])) / tick
        system += (int(fields[12]) + int(fields[14])) / tick
    busy = sum(int(field) for field in Path("/proc/stat").read_text().split()[1:4]) / tick
    return {
        "host_user_s": own.ru_utime,
        "host_system_s": own.ru_stime,
        "sandbox_user_s": user,
        "sandbox_system_s": system,
        "machine_s": busy,
    }


def _descendants() -> list[list[str]]:
    """Returns the fields of ``/proc/<pid>/stat`` after the name, of every descendant: state, parent, …"""
    found: dict[int, list[str]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
    below, ours = {os.getpid()}, list[int]()
    while below:
        below = {pid for pid, fields in found.items() if int(fields[1]) in below}
        ours += below
    return [found[pid] for pid in ours]


def prepare(request: dict[str, Any], parts: Parts, config: RunConfig, meter: Meter) -> Parts:
    """Returns ``parts`` with everything measured, and with recorded actions if there are some."""
    worker: Any = parts.rollout_worker
    worker._backend.open = meter.opening(worker._backend.open)
    generator: Any = parts.generator
    if request["episodes"] is not None:
        generator = Replay(request["token_s"])
        worker = LocalRolloutWorker(
            parts.scenario,
            worker._backend,
            parts.coach,
            {agent: Policy(agent, generator) for agent in parts.team},
            deferred=config.rollout.deferred,
        )
    worker.play = meter.playing(worker.play)
    generator.generate = meter.asking(generator.generate)
    generator.batch = meter.sampling(generator.batch)
    return replace(parts, rollout_worker=worker, generator=generator)


def measure(request: dict[str, Any], player: Player, meter: Meter) -> list[dict[str, Any]]:
    """Plays the requested steps, after a warm-up, and measures each of them."""
    player.most = WARM_UP
    _step(request, player, meter, 0)
    player.most = None
    return [_step(request, player, meter, step) for step in range(request["steps"])]


def _step(request: dict[str, Any], player: Player, meter: Meter, step: int) -> dict[str, Any]:
    if request["episodes"] is not None:
        _load(request["episodes"][step], player)
    meter.reset()
    before, start = cpu_times(), time.perf_counter()
    rollouts = player.play(step)
    seconds, counted, after = time.perf_counter() - start, meter.read(), cpu_times()
    turns = [turn for rollout in rollouts for turn in rollout.episode.turns]
    facts = {
        "seconds": seconds,
        "episodes": len(rollouts),
        "turns": len(turns),
        "programs": sum(turn.result is not None for turn in turns),
        "succeeded": sum(rollout.episode.outcome.success for rollout in rollouts),
        "checks": sorted(Counter(check.code for turn in turns for check in turn.checks).items()),
    }
    return facts | counted | {key: after[key] - before[key] for key in after}


def _load(episodes: Sequence[dict[str, Any]], player: Player) -> None:
    """Gives the player the recorded episodes of a step."""
    generator: Any = player.parts.generator
    generator.load(episodes)
    tasks = {task.id: task for task in player.parts.scenario.tasks("train")}
    player.given = [
        Assignment(episode["id"], tasks[episode["task"]], episode["seed"], order, 1.0)
        for order, episode in enumerate(episodes)
    ]


def main(request_path: Path, result_path: Path) -> None:
    request = json.loads(request_path.read_text(encoding="utf-8"))
    if not Path(str(learners.__file__)).is_relative_to(request["tree"]):
        raise SystemExit(f"learners was imported from {learners.__file__}, not from {request['tree']}")
    meter, nobody = Meter(len(os.sched_getaffinity(0))), cast(Reporter, Nobody())
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig.read(commands.compose([*request["settings"], f"run_dir={folder}/run"]))
        with open_folder(config) as run, closing(build(config)) as built:
            parts = prepare(request, built, config, meter)
            result = measure(request, Player(parts, config, run, nobody), meter)
    result_path.write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
