"""Samples with vLLM, in this process: engines of its own, which get the weights after every update.

What is trained decides how. An adapter: one engine with the frozen base for all policies, and one LoRA each,
under a fresh name and path for every version. Whole models: an engine each, and the weights loaded in place.

Only ``learners.weights.base.Source`` is asked of a policy: its weights may be in another process.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import torch

from conf import ConfigError
from conf.extras import require
from envs.types import Message
from learners.base import TrainingError
from learners.generators.vllm import weight_check
from learners.generators.vllm.driver import Driver
from learners.generators.vllm.head import HeadKeeper
from learners.generators.vllm.process import SETTINGS, process_left_alone
from learners.generators.vllm.scratch import Scratch
from learners.generators.vllm.served import Adapter, Answer, Request, Served, adapter_shape
from learners.models.base import ModelConfig
from learners.types import Completion
from learners.weights.base import Source

log = logging.getLogger(__name__)

Result = TypeVar("Result")

TESTED = "0.32"
VERSIONS = ((0, 28), (0, 33))
"""First and last (major, minor) that have all the calls made here, by their sources; run was ``TESTED``."""
PRECISIONS = ("float32", "bfloat16")


class Vllm:
    """Continuous batching: requests of concurrent episodes are under way together, whenever they come.

    Batches thus depend on timing, and so do the last bits of logprobs: a run is not repeated bit for bit.
    A request's random stream is decided by its seed alone.

    The logprobs are those of the policy at temperature 1, whatever temperature was sampled at. No top-k,
    top-p or min-p: they would bias the policy gradient.
    """

    lockstep = False

    @dataclass
    class Config:
        gpu_memory_utilization: float
        """Share of a GPU's memory for all engines of this process together, weights included."""
        kv_cache_gb: float
        """GiB of keys and values of all engines together; on CPUs only."""
        max_num_seqs: int
        """Completions that an engine samples at once; others wait their turn."""
        enforce_eager: bool | None
        """No compilation and no CUDA graphs; None: so on CPUs, where compiling takes longer than it saves."""
        tensor_parallel: int
        """GPUs that share an engine."""
        deadline: float
        """Seconds after which whoever waits for an engine gives up."""
        tolerance: dict[str, float]
        """Nats a token that engine and trainer may differ by, on average over a probe; by precision."""
        drift: float
        """Nats a token that outputs of unchanged weights may differ by from one time to the next."""

        def __post_init__(self) -> None:
            if set(self.tolerance) != set(PRECISIONS):
                raise ConfigError(f"generator.tolerance needs a value for each of {', '.join(PRECISIONS)}")
            if min(self.max_num_seqs, self.tensor_parallel) < 1 or min(self.deadline, self.kv_cache_gb) <= 0:
                raise ConfigError(
                    "generator.max_num_seqs and tensor_parallel must be at least 1, deadline and kv_cache_gb "
                    "above 0"
                )

    def __init__(self, config: Config, *, policies: Mapping[str, Source]) -> None:
        self.config = config
        self._scratch = Scratch()
        self._changing = threading.RLock()
        self._numbers = itertools.count(1)
        self._engines: list[VllmEngine] = []
        self._served: dict[str, Served] = {}
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
        """One completion, blocking. ``temperature`` 0 is greedy; ``order`` changes nothing here.

        Raises:
            TrainingError: the engine failed, is closed, or gave no answer in time.
        """
        served = self._served[policy]
        with served.tokenizing:
            prompt = served.chat.prompt(messages)
        request = Request(prompt, seed, temperature, served.limit, served.chat.stop, served)
        answer: Answer = self._driver.ask(served.engine, request)
        with served.tokenizing:
            return served.chat.completion(prompt, answer.ids, answer.logprobs, answer.version)

    def sync(self, policy: str, version: int) -> None:
        """Gives the engine the weights as they are now, once all requests before are answered.

        Raises:
            TrainingError: the engine's log-probabilities are not the trainer's, or those of other policies
                changed too.
        """
        with self._changing:
            self._load(self._served[policy], version)
            self._check(updated={policy})

    def sleep(self) -> None:
        """Weights go to host memory and the cache is dropped; on CPUs there is nothing to free."""
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
        """Ends the engines, and whatever waits for them; removes all files."""
        self._driver.close(self._end)
        self._served.clear()
        self._scratch.close()
        gc.collect()

    def _call(self, command: Callable[[], Result]) -> Result:
        """Runs a command in the engines' thread; what goes wrong in vLLM is one line."""
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
        folders = {name: self._saved(source, name) for name, source in adapters.items()}
        lora = _lora_room([adapter_shape(folder) for folder in folders.values()])
        if torch.distributed.is_initialized():  # vLLM would take the group for its own, and end it
            raise ConfigError("generator vllm cannot share a process with torch.distributed: use runtime=ray")
        if adapters:
            engine, base = self._open(next(iter(adapters.values())), share=1, lora=lora)
            for name, source in adapters.items():
                self._served[name] = Served.of(source, engine, base)
                self._put_adapter(self._served[name], folders[name], version=0)
            self._scratch.drop(base)
        for name, source in policies.items() if not adapters else ():
            engine, base = self._open(source, share=1 / len(policies), lora={})
            self._served[name] = Served.of(source, engine, base)
            self._scratch.drop(base)
        self._check(updated=set(policies))

    def _open(self, source: Source, *, share: float, lora: Mapping[str, Any]) -> tuple[VllmEngine, Path]:
        """An engine with the source's base, and the folder that this is in."""
        base = self._scratch.new("base")
        source.save_base(base)
        engine = self._call(lambda: VllmEngine(base, self.config, source.config, share=share, lora=lora))
        self._engines.append(engine)
        return engine, base

    def _saved(self, source: Source, label: str) -> Path:
        folder = self._scratch.new(label)
        source.save(folder)
        return folder

    def _load(self, served: Served, version: int) -> None:
        folder = self._saved(served.source, f"{served.source.name}-v{version}")
        if served.source.adapter:
            self._put_adapter(served, folder, version)
            return

        def reload() -> None:
            served.engine.reload(served.source.name, folder)
            served.version = version

        self._call(reload)
        self._scratch.drop(folder)

    def _put_adapter(self, served: Served, folder: Path, version: int) -> None:
        """The new one first, then away with the old: its files must stay for as long as the engine has it."""
        number = next(self._numbers)
        fresh = Adapter(f"{served.source.name}-v{version}.{number}", number, folder)

        def swap() -> Adapter | None:
            served.engine.add_adapter(fresh)
            old, served.adapter, served.version = served.adapter, fresh, version
            if old is not None:
                served.engine.remove_adapter(old)
            return old

        old = self._call(swap)
        if old is not None:
            self._scratch.drop(old.folder)

    def _check(self, *, updated: set[str]) -> None:
        """Runs the probe for all policies, always in the same batches, and judges what came of it."""
        traces = self._call(self._probe)
        for name, served in self._served.items():
            trace, before = traces[name], served.checked
            if name in updated:
                (wanted,) = served.source.logprobs([trace.completion])
                now = weight_check.Checked(trace, wanted)
                weight_check.check_updated(name, now, before, self.config.tolerance[served.engine.precision])
                served.checked = now
                log.debug("%s: %.2g nats a token from the trainer", name, now.gap)
            elif before is not None:
                weight_check.check_unchanged(name, trace, before.trace, self.config.drift)

    def _probe(self) -> dict[str, weight_check.Trace]:
        found = {}
        for engine in self._engines:
            own = {name: served for name, served in self._served.items() if served.engine is engine}
            for name, served in own.items():
                new = min(weight_check.SAMPLED, served.limit)
                engine.add(
                    name, Request(served.tokens, weight_check.SEED, 1.0, new, frozenset(), served, whole=True)
                )
            answers: dict[str, Answer] = {}
            while len(answers) < len(own):
                answers |= engine.step()
            for name, served in own.items():
                found[name] = weight_check.Trace(
                    tuple(served.tokens), answers[name].ids, answers[name].logprobs
                )
        return found


class VllmEngine:
    """One vLLM engine. Only the driver's thread has it."""

    def __init__(
        self, folder: Path, config: Vllm.Config, model: ModelConfig, *, share: float, lora: Mapping[str, Any]
    ) -> None:
        from vllm import EngineArgs, LLMEngine
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        eager = on_cpu if config.enforce_eager is None else config.enforce_eager
        self.precision = "bfloat16" if model.autocast or model.dtype == "bfloat16" else "float32"
        self._sleeps = not on_cpu
        memory: dict[str, Any] = (
            {"kv_cache_memory_bytes": int(config.kv_cache_gb * share * 2**30)}
            if on_cpu
            else {"gpu_memory_utilization": config.gpu_memory_utilization * share, "enable_sleep_mode": True}
        )
        arguments = EngineArgs(
            model=str(folder),
            skip_tokenizer_init=True,  # tokens in, tokens out
            generation_config="vllm",
            dtype=self.precision,
            hf_overrides={"head_dtype": "float32"} if model.head_float32 else {},
            logprobs_mode="raw_logprobs",  # of temperature 1
            max_model_len=model.max_prompt_tokens + model.max_new_tokens,
            max_num_seqs=config.max_num_seqs,
            enable_prefix_caching=True,
            enforce_eager=eager,
            tensor_parallel_size=config.tensor_parallel,
            worker_extension_cls=f"{HeadKeeper.__module__}.{HeadKeeper.__qualname__}",
            use_tqdm_on_load=False,
            disable_log_stats=True,
            **memory,
            **lora,
        )
        with process_left_alone():
            self._engine: Any = LLMEngine.from_engine_args(arguments)
        self._versions: dict[str, int] = {}

    def add(self, key: str, request: Request) -> None:
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = request.served.adapter
        settings = SamplingParams(
            temperature=request.temperature,
            top_p=1.0,
            top_k=-1,
            min_p=0.0,
            seed=request.seed,
            max_tokens=request.limit,
            stop_token_ids=sorted(request.stop),
            ignore_eos=True,  # the ids above are all that end a turn
            logprobs=0,
            prompt_logprobs=0 if request.whole else None,
            detokenize=False,
        )
        lora = LoRARequest(adapter.name, adapter.number, str(adapter.folder)) if adapter else None
        self._engine.add_request(key, {"prompt_token_ids": list(request.prompt)}, settings, lora_request=lora)
        self._versions[key] = request.served.version

    def step(self) -> dict[str, Answer]:
        return {output.request_id: self._answer(output) for output in self._engine.step() if output.finished}

    def _answer(self, output: Any) -> Answer:
        (sampled,) = output.outputs
        if sampled.finish_reason not in ("stop", "length"):
            raise TrainingError(f"vLLM ended a completion by itself: {sampled.finish_reason}")
        ids = [*output.prompt_token_ids[1:], *sampled.token_ids]
        known = [*(output.prompt_logprobs or [])[1:], *sampled.logprobs]
        logprobs = tuple(entry[token].logprob for entry, token in zip(known, ids[-len(known) :], strict=True))
        return Answer(tuple(sampled.token_ids), logprobs, self._versions.pop(output.request_id))

    def add_adapter(self, adapter: Adapter) -> None:
        from vllm.lora.request import LoRARequest

        if not self._engine.add_lora(LoRARequest(adapter.name, adapter.number, str(adapter.folder))):
            raise TrainingError(f"vLLM did not take the adapter {adapter.name}")
        self._forget()

    def remove_adapter(self, adapter: Adapter) -> None:
        if not self._engine.remove_lora(adapter.number):
            raise TrainingError(f"vLLM had lost the adapter {adapter.name}")

    def reload(self, name: str, folder: Path) -> None:
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        self._engine.collective_rpc("repack_head")
        if not all(self._engine.collective_rpc("head_is_current")):
            raise TrainingError(f"vLLM samples for {name} through an output head that is not the loaded one")
        self._forget()

    def sleep(self) -> None:
        if self._sleeps:
            self._engine.sleep(level=1)  # level 2 would drop weights that nobody sends again

    def wake(self) -> None:
        if self._sleeps:
            self._engine.wake_up()
        self._forget()

    def close(self) -> None:
        self._engine.engine_core.shutdown()
        self._engine = None

    def _forget(self) -> None:
        """Drops keys and values that other weights have made."""
        if not self._engine.reset_prefix_cache():
            raise TrainingError("vLLM could not reset its prefix cache")


def import_vllm() -> None:
    """Sets ``SETTINGS`` and imports vLLM; warns of a version that was not looked at.

    Raises:
        ConfigError: it is not installed, or cannot be imported.
    """
    for key, value in SETTINGS.items():
        os.environ.setdefault(key, value)
    require("generator=vllm", "vllm")  # the extra is vLLM for CPUs; vLLM for GPUs is the package vllm
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import vllm
            from vllm.platforms import current_platform

            if current_platform.is_cpu():
                # Else a C++ compiler is called for some small functions, before anything is sampled.
                type(current_platform).simple_compile_backend = "eager"
            assert vllm.LLMEngine  # which is where all the rest gets imported
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if any(name in str(error) for name in ("torchvision", "torchaudio", "torchcodec")):
            reason += "; take out what does not fit torch: pip uninstall -y torchvision torchaudio torchcodec"
        raise ConfigError(f"vLLM cannot be imported: {reason}") from error
    if line := version_warning(str(vllm.__version__)):
        log.warning(line)


def version_warning(version: str) -> str | None:
    """What to say of a vLLM outside of ``VERSIONS``."""
    first, last = (".".join(map(str, bound)) for bound in VERSIONS)
    try:
        known = VERSIONS[0] <= tuple(map(int, version.split(".")[:2])) <= VERSIONS[1]
    except ValueError:
        known = False
    if known:
        return None
    return f"vLLM {version} is outside of {first} to {last}, for which generator=vllm was written"


def _lora_room(adapters: Sequence[tuple[int, frozenset[str]]]) -> dict[str, Any]:
    """Engine settings for adapters of these ranks and layers, and for one more while it is swapped."""
    from vllm.config.lora import MaxLoRARanks

    if not adapters:
        return {}
    largest, ranks = max(rank for rank, _ in adapters), get_args(MaxLoRARanks)
    if largest > max(ranks):
        raise ConfigError(f"vLLM has no adapters of rank {largest}: weights.rank may be {max(ranks)} at most")
    return {
        "enable_lora": True,
        "max_lora_rank": min(rank for rank in ranks if rank >= largest),
        "max_loras": len(adapters) + 1,
        "max_cpu_loras": len(adapters) + 1,
        # Layers that no adapter changes are left alone; an adapted output head would break prompt_logprobs.
        "lora_target_modules": sorted(frozenset().union(*(layers for _, layers in adapters))),
    }
