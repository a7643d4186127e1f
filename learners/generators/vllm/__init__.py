"""Samples with vLLM, in this process: engines of its own, which get the weights after every update.

The kind of weights decides how. Adapters: one engine with the frozen base for all policies, and one LoRA
each, under a fresh name and path for every version. Whole models: one engine per policy, and weights loaded
in place.

How one completion is sampled (``Vllm.generate``), from any number of threads:

1. The chat template turns the messages into token ids (``learners.generators.chat``).
2. ``Driver.ask`` hands the request to the one thread that runs all engines, and waits.
3. That thread adds the request to the engine, which samples it together with all others under way.
4. The answer, with the version of the weights that sampled it, becomes a ``Completion``.

How new weights arrive (``Vllm.sync``), after every update:

1. The policy's ``Source``, which may be in another process, lends a folder with its weights: in shared
   memory, in the dtype that the engine computes in, written once for all engines
   (``learners.weights.lending``). Whole weights on the engine's own GPU, in another process, are shared
   there instead, in parts (``learners.weights.sharing``, ``transfer``).
2. The driver waits until no request is under way; later requests wait too.
3. The engine loads them: a copy of a new adapter, before the old one is removed, or the whole weights in
   place. Cached keys and values are dropped.
4. A fixed prompt runs through every policy (``weight_check``): the updated policy must agree with the
   trainer, all others must give exactly what they gave before. Otherwise the run stops.
"""

from __future__ import annotations

import gc
import itertools
import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from conf import ConfigError
from conf.ranges import NonNegative, Positive
from envs.types import Message
from learners.base import Source
from learners.errors import TrainingError
from learners.generators.vllm import transfer, weight_check
from learners.generators.vllm.driver import Driver
from learners.generators.vllm.engine import (
    EngineConfig,
    VllmEngine,
    import_vllm,
    lora_settings,
    without_ipc,
)
from learners.generators.vllm.requests import LoraAdapter, TokenAnswer, TokenRequest
from learners.generators.vllm.served import ServedPolicy, adapter_shape
from learners.types import Completion
from learners.weights.scratch import Scratch, size_of

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PRECISIONS = ("float32", "bfloat16")


class Vllm:
    """Continuous batching: requests of concurrent episodes are sampled together, whenever they arrive.

    Batches thus depend on timing, and so do the last bits of logprobs: a run is not reproducible bit for bit.
    The random stream of a request is decided by its seed alone.

    The logprobs are those of the policy at temperature 1, whatever temperature was sampled at. No top-k,
    top-p or min-p: they would bias the policy gradient.
    """

    trains = True
    lockstep = False

    @dataclass
    class Config(EngineConfig):
        deadline: Positive
        """Seconds after which a call that waits for an engine gives up."""
        tolerance: dict[str, NonNegative]
        """Nats per token that engine and trainer may differ by, on average over the probe; by precision."""
        drift: NonNegative
        """Nats per token that outputs of unchanged weights may differ by from one check to the next."""
        transfer: str
        """How whole weights of an update reach the engines: ``learners.generators.vllm.transfer.WAYS``."""
        scratch: str | None
        """Folder through which weights reach the engines; None: shared memory (``/dev/shm``)."""

        def __post_init__(self) -> None:
            if set(self.tolerance) != set(PRECISIONS):
                raise ConfigError(f"generator.tolerance needs a value for each of {', '.join(PRECISIONS)}")
            transfer.check_way(self.transfer)

    def __init__(self, config: Config, *, policies: Mapping[str, Source]) -> None:
        """Starts the engines, and checks their weights against those of ``policies``.

        Raises:
            ConfigError: vLLM is missing, or an engine cannot start.
        """
        self.config = config
        self._root = Path(config.scratch) if config.scratch else None
        self._scratch = Scratch(self._root)
        """Has the adapters that engines use: they may read them again at any time."""
        self._changing = threading.RLock()
        self._numbers = itertools.count(1)
        self._engines: list[VllmEngine] = []
        self._served: dict[str, ServedPolicy] = {}
        import_vllm()
        self._driver = Driver("vLLM", config.deadline)
        try:
            self._start(policies)
        except BaseException as error:
            self.close()
            if isinstance(error, TrainingError):
                raise ConfigError(f"generator vllm cannot start: {error}") from error
            raise

    def generate(
        self, policy: str, messages: Sequence[Message], *, seed: int, order: int, temperature: float = 1.0
    ) -> Completion:
        """Returns one completion; blocking. ``temperature`` 0 is greedy; ``order`` has no effect here.

        Raises:
            TrainingError: the engine failed, is closed, or gave no answer in time.
        """
        served = self._served[policy]
        with served.tokenizing:
            prompt = served.chat.prompt(messages)
        request = TokenRequest(prompt, seed, temperature, served.limit, served.chat.stop, served.weights)
        answer: TokenAnswer = self._driver.ask(served.engine, request)
        with served.tokenizing:
            return served.chat.completion(prompt, answer.ids, answer.logprobs, answer.version)

    def sync(self, policy: str, version: int) -> Mapping[str, int]:
        """Gives the engine the current weights, once all earlier requests are answered.

        Raises:
            TrainingError: the engine's log-probabilities are not the trainer's, or those of other policies
                changed too.
        """
        with self._changing:
            moved = self._load(self._served[policy], version)
            self._check(updated={policy})
        return moved

    def sleep(self) -> None:
        """Moves weights to host memory and drops the cache; on CPUs there is nothing to free."""
        with self._changing:
            self._call(self._sleep)

    def wake(self) -> None:
        """Brings the weights back.

        Raises:
            TrainingError: outputs changed.
        """
        with self._changing:
            self._call(self._wake)
            self._check(updated=set())

    def close(self) -> None:
        """Ends the engines, fails whatever waits for them, and removes all files."""
        self._driver.close(self._end)
        self._served.clear()
        self._scratch.close()
        gc.collect()

    def _call(self, command: Callable[[], Result]) -> Result:
        """Runs a command in the engines' thread; an exception of vLLM becomes one line."""
        try:
            return self._driver.call(command)
        except (TrainingError, ConfigError):
            raise
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise TrainingError(f"vLLM failed: {reason}") from error

    def _sleep(self) -> None:
        for engine in self._engines:
            engine.sleep()

    def _wake(self) -> None:
        for engine in self._engines:
            engine.wake()

    def _end(self) -> None:
        while self._engines:
            self._engines.pop().close()

    def _start(self, policies: Mapping[str, Source]) -> None:
        adapters = {name: source for name, source in policies.items() if source.adapter}
        if adapters and len(adapters) < len(policies):
            raise ConfigError("generator vllm: either all policies are adapters or none is")
        if adapters and len({str(source.config) for source in adapters.values()}) > 1:
            raise ConfigError(
                "generator vllm: in one process all adapters have the same base: with team.<agent>.model set "
                "runtime=ray, or weights=full"
            )
        folders = {name: self._copied(source)[0] for name, source in adapters.items()}
        lora = lora_settings([adapter_shape(folder) for folder in folders.values()])
        if torch.distributed.is_initialized():  # vLLM would take the group for its own, and end it
            raise ConfigError("generator vllm cannot share a process with torch.distributed: use runtime=ray")
        if adapters:
            self._open(adapters, next(iter(adapters.values())), share=1, lora=lora)
            for name, folder in folders.items():
                self._swap_adapter(self._served[name], folder, version=0)
        for name, source in policies.items() if not adapters else ():
            self._open({name: source}, source, share=1 / len(policies), lora={})
        self._check(updated=set(policies))

    def _open(
        self, served: Mapping[str, Source], source: Source, *, share: float, lora: Mapping[str, Any]
    ) -> None:
        """Starts an engine with the base of ``source``, for all ``served``."""
        places, way = source.places(), self.config.transfer
        reason = transfer.obstacle(way, places) or without_ipc()
        if reason is not None:
            transfer.announce(way, source.name, reason)
        receives = reason is None
        with source.lend(self._root, base=True) as base:
            engine = self._call(
                lambda: VllmEngine(
                    base.folder, self.config, source.config, share=share, lora=lora, receives=receives
                )
            )
            self._engines.append(engine)
            for name, own in served.items():
                self._served[name] = ServedPolicy.from_base(own, engine, base.folder)
        if receives:
            reason = transfer.apart(places, self._call(engine.gpus))
            transfer.announce(way, source.name, reason)
            self._served[source.name].shared = reason is None

    def _copied(self, source: Source) -> tuple[Path, int]:
        """Returns a folder of our own with the adapter, and the bytes that were written for that."""
        folder = self._scratch.new()
        with source.lend(self._root) as lent:
            shutil.copytree(lent.folder, folder, dirs_exist_ok=True)
            return folder, lent.written + lent.size

    def _load(self, served: ServedPolicy, version: int) -> Mapping[str, int]:
        """Returns what ``sync`` does."""
        if served.source.adapter:
            folder, written = self._copied(served.source)
            self._swap_adapter(served, folder, version)
            return _moved(written, size_of(folder))
        if served.shared:
            return {"sync_bytes_shared": self._call(lambda: self._receive(served, version))}
        with served.source.lend(self._root) as lent:

            def reload() -> None:
                served.engine.reload(served.source.name, lent.folder)
                served.weights.version = version

            self._call(reload)
        return _moved(lent.written, lent.size)

    def _receive(self, served: ServedPolicy, version: int) -> int:
        """Runs in the engines' thread as one command: no request is sampled from half of the weights."""
        size = served.engine.receive(served.source.name, served.source.share())
        served.weights.version = version
        return size

    def _swap_adapter(self, served: ServedPolicy, folder: Path, version: int) -> None:
        """Adds the new adapter, removes the old one, then deletes its files: the engine may still read
        them."""
        number = next(self._numbers)
        fresh = LoraAdapter(f"{served.source.name}-v{version}.{number}", number, folder)
        weights = served.weights

        def swap() -> LoraAdapter | None:
            served.engine.add_adapter(fresh)
            old, weights.adapter, weights.version = weights.adapter, fresh, version
            if old is not None:
                served.engine.remove_adapter(old)
            return old

        old = self._call(swap)
        if old is not None:
            self._scratch.drop(old.folder)

    def _check(self, *, updated: set[str]) -> None:
        """Probes all policies, always in the same batches, and compares: see ``weight_check``."""
        traces = self._call(self._probe)
        for name, served in self._served.items():
            trace, before = traces[name], served.checked
            if name in updated:
                (expected,) = served.source.logprobs([trace.completion])
                now = weight_check.Checked(trace, expected)
                weight_check.check_updated(name, now, before, self.config.tolerance[served.engine.precision])
                served.checked = now
                log.debug("%s: %.2g nats a token from the trainer", name, now.gap)
            elif before is not None:
                weight_check.check_unchanged(name, trace, before.trace, self.config.drift)

    def _probe(self) -> dict[str, weight_check.Trace]:
        """Runs in the engines' thread, while no other request is under way."""
        traces = {}
        for engine in self._engines:
            own = {name: served for name, served in self._served.items() if served.engine is engine}
            for name, served in own.items():
                engine.add(name, served.probe_request())
            answers: dict[str, TokenAnswer] = {}
            while len(answers) < len(own):
                answers |= engine.step()
            for name, served in own.items():
                answer = answers[name]
                traces[name] = weight_check.Trace(tuple(served.probe), answer.ids, answer.logprobs)
        return traces


def _moved(written: int, read: int) -> dict[str, int]:
    return {"sync_bytes_written": written, "sync_bytes_read": read}
