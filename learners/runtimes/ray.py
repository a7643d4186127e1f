"""Every part in a process of its own, on one machine or many: Ray starts the processes and carries the calls.

How a call travels:

1. ``Ray.spawn`` starts an actor (``_Host``) in a process of its own, which builds one object, say a ``Rank``.
   The driver, and every process that it is sent to, has a ``_Handle`` of it.
2. ``handle.start("update", …)`` sends the method's name and arguments, and returns a ``_Pending`` at once.
3. In the actor's process, ``_Host.call`` calls the method in one of ``threads`` threads. What the method
   raises comes back as a value (``_Failure``), together with its cause.
4. ``pending.wait()`` returns the answer, raises the method's exception, or raises ``LostError`` when the
   process died or a call has run for longer than the deadline (``_Host.ran``); the time in which a call waits
   for its turn does not count. The callers decide what a loss means: a rollout worker is replaced
   (``RolloutWorkerPool``), anything else ends this attempt of the run (``learners.run.run``).
"""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from conf import ConfigError
from conf.extras import require
from conf.ranges import Count, Natural, NonNegative, Positive
from learners.config import RunConfig
from learners.errors import LostError
from learners.rollout.threads import run_pool, run_waves
from learners.runtimes.base import In, Out, Parts, closed_on_error
from learners.runtimes.distributed.base import Handle, Placement
from learners.runtimes.distributed.engines import barrier_session
from learners.runtimes.distributed.placement import total

log = logging.getLogger(__name__)

GRACE = 20.0
"""Seconds to wait, once a call has failed, for the loss of a process that may have caused the failure."""
REPLY = 20.0
"""Seconds in which a process says how long a call has run."""
CONTROL = "control"
"""The threads of an actor that answer while all others are busy."""
OPEN = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Environment variable that Ray reads when it is imported. 0: a new cluster keeps to the loopback address."""
STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class Ray:
    """Runs learners, engines, rollout workers and the coach as Ray actors.

    Episodes in flight are threads of the driver, each of which waits for the process that plays it. When a
    machine or process is lost: a rollout worker is replaced and its episodes are played again; for any other
    process the run is rebuilt and continues from its newest checkpoint. Every call has a deadline; a process
    that misses it counts as lost.

    On several machines ``run_dir`` has to be on a file system that all of them share.
    """

    @dataclass
    class Config:
        address: str | None
        """Of a running cluster (``auto``: this machine's). None: a cluster for this run alone, on this
        machine and its loopback address."""
        torch_threads: Count | None
        """Of a process that trains; see ``runtime=local``."""
        rollout_workers: Count
        """Processes that play episodes."""
        rollout_worker_cpus: NonNegative
        """Of each rollout worker."""
        ranks: Count
        """Processes that share each policy's update."""
        learner_cpus: NonNegative
        """Of each rank."""
        learner_gpus: NonNegative
        """Of each rank; a fraction shares a GPU."""
        engines: Count
        """Copies of the generator for each group of policies."""
        engine_cpus: NonNegative
        engine_gpus: NonNegative
        strategy: str
        """How Ray distributes ranks and engines over machines: ``PACK``, ``SPREAD``, or either strictly."""
        start_timeout: Positive
        """Seconds for the cluster to find resources, and for a process to start."""
        call_timeout: Positive
        """Seconds that one call may run: a completion, a verdict, an update. Waiting for its turn is free."""
        episode_timeout: Positive
        """Seconds for one episode."""
        episode_retries: Natural
        """How often an episode whose process was lost is played again before it is dropped, and counted."""
        restarts: Natural
        """How often the run is rebuilt."""

        def __post_init__(self) -> None:
            if self.strategy not in STRATEGIES:
                known = ", ".join(STRATEGIES)
                raise ConfigError(f"runtime.strategy must be one of {known}, not {self.strategy!r}")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.restarts = config.restarts
        self._connected = False
        if config.address is None and "ray" not in sys.modules:
            os.environ.setdefault(OPEN, "0")
        self._ray = _ray()
        self._handles: list[_Handle] = []
        self._group: Any = None
        self._barrier: Handle | None = None

    def assemble(self, config: RunConfig) -> Parts:
        """Builds all parts as actors.

        Raises:
            ConfigError: as ``Runtime.assemble``.
            LostError: a process did not start.
        """
        from learners.runtimes.distributed.assembly import assemble  # torch: only the driver needs it

        with closed_on_error() as opened:
            opened.callback(self.close)
            parts, self._barrier = assemble(config, self, self)
        return parts

    def map(
        self, fn: Callable[[In], Out], items: Iterable[In], *, limit: int, groups: int | None
    ) -> list[Out | Exception]:
        """See ``Runtime.map``; ``fn`` runs in threads of this process, and waits for other processes."""
        if groups is None:
            return run_pool(fn, items, limit)
        assert self._barrier is not None
        return run_waves(fn, items, limit, groups, barrier_session(self._barrier))

    def each(self, fn: Callable[[In], Out], items: Iterable[In]) -> list[Out]:
        """Runs ``fn`` on all items at once: policies are trained by different processes, or queue in one."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(fn, items))

    def close(self) -> None:
        """Ends every process and leaves the cluster; a cluster of the run's own ends with that."""
        for handle in self._handles:
            handle.kill()
        self._handles.clear()
        if self._group is not None:
            self._ray.util.remove_placement_group(self._group)
        self._group = self._barrier = None
        if self._connected:
            self._ray.shutdown()
            self._connected = False

    def reserve(self, bundles: Sequence[tuple[float, float]]) -> None:
        """See ``Cluster.reserve``; starts or joins the cluster first."""
        self._connect(bundles)
        self._group = self._ray.util.placement_group(
            [{"CPU": cpus, "GPU": gpus} for cpus, gpus in bundles], strategy=self.config.strategy
        )
        if not self._group.wait(self.config.start_timeout):
            need, has = total(bundles), self._ray.cluster_resources()
            raise ConfigError(
                f"the cluster cannot place {need.cpus:g} CPUs and {need.gpus:g} GPUs in {len(bundles)} "
                f"bundles; it has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs"
            )

    def spawn(
        self,
        make: Callable[..., object],
        *args: Any,
        name: str,
        placement: Placement,
        threads: int = 1,
        deadline: float | None = None,
    ) -> _Handle:
        """See ``Cluster.spawn``."""
        strategy: Any = "SPREAD"
        if placement.bundle is not None:
            assert self._group is not None
            schedule = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
            strategy = schedule(self._group, placement_group_bundle_index=placement.bundle)
        actor = self._ray.remote(concurrency_groups={CONTROL: 1})(_Host).options(
            num_cpus=placement.cpus,
            num_gpus=placement.gpus,
            max_concurrency=threads,
            scheduling_strategy=strategy,
        )
        handle = _Handle(actor.remote(), name, deadline or self.config.call_timeout)
        self._handles.append(handle)
        handle.make(make, args, self.config.start_timeout)
        return handle

    @staticmethod
    def gather(pending: Sequence[Any]) -> list[Any]:
        """See ``Cluster.gather``."""
        return gather(pending)

    def _connect(self, bundles: Sequence[tuple[float, float]]) -> None:
        if self._ray.is_initialized():  # by the program that this run is part of: use its cluster
            return
        settings: dict[str, Any] = {"address": self.config.address}
        if self.config.address is None:
            if OPEN not in os.environ:
                raise ConfigError(
                    "Ray was imported before runtime=ray was built, and would listen on all of the machine's "
                    f"addresses; set {OPEN}=0 in the environment (or 1 to allow it)"
                )
            # Most of our processes only wait: our own cluster may offer more CPUs than the machine has.
            workers = self.config.rollout_workers * self.config.rollout_worker_cpus
            wanted = total(bundles).cpus + workers
            settings = {"num_cpus": max(os.cpu_count() or 1, int(wanted) + 1), "include_dashboard": False}
        try:
            self._ray.init(logging_level=logging.WARNING, **settings)
            self._connected = True
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"runtime=ray: {str(error).splitlines()[0]}") from error


def _ray() -> Any:
    require("runtime=ray", "ray")
    import ray

    return ray


@dataclass(frozen=True)
class _Failure:
    """What a method raised. Its cause is kept apart because pickling an exception drops it."""

    error: Exception
    cause: BaseException | None


class _Host:
    """The actor: has one object, and calls its methods by name."""

    def __init__(self) -> None:
        self._object: object = None
        self._started: dict[str, float] = {}

    def make(self, make: Callable[..., object], args: Sequence[Any]) -> _Failure | None:
        try:
            self._object = make(*args)
        except Exception as error:
            return _Failure(error, error.__cause__)
        return None

    def call(self, number: str, method: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        self._started[number] = time.monotonic()
        try:
            return getattr(self._object, method)(*args, **kwargs)
        except Exception as error:
            return _Failure(error, error.__cause__)
        finally:
            del self._started[number]

    def ran(self, number: str) -> float:
        """Returns for how many seconds a call has run; of one that waits for its turn, the call before it
        that has run longest."""
        started = dict(self._started)
        return time.monotonic() - started.get(number, min(started.values(), default=time.monotonic()))

    def address(self) -> str:
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{_ray().util.get_node_ip_address()}:{free.getsockname()[1]}"

    def pid(self) -> int:
        return os.getpid()


class _Handle:
    """See ``learners.runtimes.distributed.base.Handle``."""

    def __init__(self, actor: Any, name: str, deadline: float) -> None:
        self.name = name
        self._actor = actor
        self._deadline = deadline

    def make(self, make: Callable[..., object], args: Sequence[Any], deadline: float) -> None:
        """Builds the object in the actor. Raises what ``make`` raised, or ``LostError``.

        The deadline includes the time until there is a process.
        """
        self._pending(self._actor.make.remote(make, args), "start").wait(deadline)

    def start(self, method: str, *args: Any, **kwargs: Any) -> _Pending:
        number = uuid.uuid4().hex
        return self._pending(self._actor.call.remote(number, method, args, kwargs), method, number)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self.start(method, *args, **kwargs).wait()

    def address(self) -> str:
        address: str = self._pending(self._actor.address.remote(), "address").wait()
        return address

    def pid(self) -> int:
        """Returns the id of the process, on its machine."""
        pid: int = self._pending(self._actor.pid.remote(), "pid").wait()
        return pid

    def kill(self) -> None:
        _ray().kill(self._actor)

    def _pending(self, ref: Any, method: str, number: str = "") -> _Pending:
        return _Pending(ref, self._actor, number, self.name, method, self._deadline)


@dataclass(frozen=True)
class _Pending:
    """See ``learners.runtimes.distributed.base.Pending``.

    The deadline is for the time that the call runs. While it waits for its turn, it is that of the call
    before it: a process is lost when any call has run for too long.
    """

    ref: Any
    actor: Any
    number: str
    """Of the call, for ``_Host.ran``."""
    process: str
    method: str
    deadline: float

    def wait(self, timeout: float | None = None) -> Any:
        errors, end = _ray().exceptions, math.inf if timeout is None else time.monotonic() + timeout
        left = self.deadline if timeout is None else timeout
        while True:
            try:
                answer = _ray().get(self.ref, timeout=max(0.0, min(left, end - time.monotonic())))
                break
            except errors.GetTimeoutError:
                if time.monotonic() >= end:
                    raise self._late(timeout) from None
                left = self.left()
            except errors.RayTaskError as error:  # an argument or the answer cannot be pickled
                raise TypeError(f"{self.process}, {self.method!r}: {error.cause}") from error
            except errors.RayActorError as error:
                raise LostError(f"{self.process} died during {self.method!r}", self.process) from error
            except errors.RayError as error:
                raise LostError(f"{self.process}: {str(error).splitlines()[0]}", self.process) from error
        if isinstance(answer, _Failure):
            raise answer.error from answer.cause
        return answer

    def left(self) -> float:
        """Returns for how many seconds the process may still be silent.

        Raises:
            LostError: for none.
        """
        errors = _ray().exceptions
        try:
            asked = self.actor.ran.options(concurrency_group=CONTROL).remote(self.number)
            left = self.deadline - float(_ray().get(asked, timeout=REPLY))
        except errors.GetTimeoutError:
            left = 0.0
        except errors.RayError:
            return 0.0  # it died: whoever waits for the answer is told
        if left <= 0:
            raise self._late(self.deadline)
        return left

    def _late(self, limit: float | None) -> LostError:
        return LostError(f"{self.process} has not answered {self.method!r} within {limit:g} s", self.process)


def gather(pending: Sequence[_Pending]) -> list[Any]:
    """See ``learners.runtimes.distributed.base.Cluster.gather``."""
    waiting, failures = {one.ref: one for one in pending}, list[Exception]()
    left = min((one.deadline for one in pending), default=0.0)
    while waiting:
        # After a failure, wait a little longer: a process that died is the better explanation.
        ready, _ = _ray().wait(list(waiting), timeout=GRACE if failures else left)
        if not ready and failures:
            break
        if not ready:
            left = min(one.left() for one in waiting.values())
        for one in [waiting.pop(ref) for ref in ready]:
            try:
                one.wait()
            except LostError:
                raise
            except Exception as error:
                failures.append(error)
    if failures:
        raise failures[0]
    return [one.wait() for one in pending]
