"""One vLLM engine: everything that calls vLLM is here."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from conf import ConfigError
from conf.extras import require
from conf.ranges import Count, Positive, PositiveShare
from learners.errors import TrainingError
from learners.generators.vllm import transfer
from learners.generators.vllm.process import SETTINGS, process_left_alone
from learners.generators.vllm.requests import LoraAdapter, TokenAnswer, TokenRequest
from learners.generators.vllm.worker import WorkerExtension
from learners.types import ModelConfig, Shared

log = logging.getLogger(__name__)

TESTED = "0.32"
VERSIONS = ((0, 28), (0, 33))
"""First and last (major, minor) that have all the calls made here, by their sources; tests ran with
``TESTED``."""


@dataclass
class EngineConfig:
    """Settings of an engine."""

    gpu_memory_utilization: PositiveShare
    """Share of a GPU's memory for all engines of this process together, weights included."""
    kv_cache_gb: Positive
    """GiB of keys and values of all engines together; on CPUs only."""
    max_num_seqs: Count
    """Completions that an engine samples at once; further requests wait."""
    enforce_eager: bool | None
    """No compilation and no CUDA graphs; None: only on CPUs, where compiling takes longer than it saves."""
    tensor_parallel: Count
    """GPUs that share an engine."""


class VllmEngine:
    """One vLLM engine. Only the driver's thread may call it.

    It samples synchronously, a step at a time: ``add`` puts a request into its queue, ``step`` computes one
    token for every running request (continuous batching) and returns those that are complete.
    """

    def __init__(
        self,
        folder: Path,
        config: EngineConfig,
        model: ModelConfig,
        *,
        share: float,
        lora: Mapping[str, Any],
        receives: bool = False,
    ) -> None:
        """Loads the model in ``folder``.

        Args:
            folder: a saved model.
            config: settings of every engine.
            model: the model's settings.
            share: this engine's share of the memory for all engines.
            lora: settings of ``lora_settings``.
            receives: whether ``receive`` will be called.
        """
        from vllm import EngineArgs, LLMEngine
        from vllm.platforms import current_platform

        on_cpu = current_platform.is_cpu()
        eager = on_cpu if config.enforce_eager is None else config.enforce_eager
        self.precision = model.sampling_dtype
        self._sleeps = not on_cpu
        arguments = EngineArgs(
            model=str(folder),
            skip_tokenizer_init=True,  # tokens in, tokens out
            generation_config="vllm",  # not the model's own top-k and the like, which would bias the gradient
            dtype=self.precision,
            hf_overrides={"head_dtype": "float32"} if model.head_float32 else {},
            logprobs_mode="raw_logprobs",  # of temperature 1
            max_model_len=model.max_prompt_tokens + model.max_new_tokens,
            max_num_seqs=config.max_num_seqs,
            enable_prefix_caching=True,
            enforce_eager=eager,
            tensor_parallel_size=config.tensor_parallel,
            worker_extension_cls=f"{WorkerExtension.__module__}.{WorkerExtension.__qualname__}",
            use_tqdm_on_load=False,
            disable_log_stats=True,
            **_memory(config, share, on_cpu=on_cpu),
            **lora,
            **({"weight_transfer_config": {"backend": "ipc"}} if receives else {}),
        )
        with process_left_alone():
            self._engine: Any = LLMEngine.from_engine_args(arguments)
        self._versions: dict[str, int] = {}
        self._names = saved_names(folder) if receives else frozenset[str]()
        if receives:
            self._engine.collective_rpc("init_weight_transfer_engine", kwargs={"init_info": {}})

    def gpus(self) -> list[str | None]:
        """Returns the UUIDs of the engine's GPUs; None for a CPU."""
        return list(self._engine.collective_rpc("uuid_of_gpu"))

    def add(self, key: str, request: TokenRequest) -> None:
        """Queues a request, for the weights that its policy is served from at this moment."""
        from vllm import SamplingParams

        adapter = request.served.adapter
        settings = SamplingParams(
            temperature=request.temperature,
            top_p=1.0,
            top_k=-1,
            min_p=0.0,
            seed=request.seed,
            max_tokens=request.limit,
            stop_token_ids=sorted(request.stop),
            ignore_eos=True,  # only the ids above end a turn
            logprobs=0,
            prompt_logprobs=0 if request.prompt_logprobs else None,
            detokenize=False,
        )
        lora = _lora_request(adapter) if adapter else None
        self._engine.add_request(key, {"prompt_token_ids": list(request.prompt)}, settings, lora_request=lora)
        self._versions[key] = request.served.version

    def step(self) -> dict[str, TokenAnswer]:
        """Computes one token for every running request; returns the completed ones, by key."""
        return {output.request_id: self._answer(output) for output in self._engine.step() if output.finished}

    def _answer(self, output: Any) -> TokenAnswer:
        (sampled,) = output.outputs
        if sampled.finish_reason not in ("stop", "length"):
            raise TrainingError(f"vLLM ended a completion by itself: {sampled.finish_reason}")
        ids = [*output.prompt_token_ids[1:], *sampled.token_ids]
        entries = [*(output.prompt_logprobs or [])[1:], *sampled.logprobs]
        logprobs = tuple(
            entry[token].logprob for entry, token in zip(entries, ids[-len(entries) :], strict=True)
        )
        return TokenAnswer(tuple(sampled.token_ids), logprobs, self._versions.pop(output.request_id))

    def add_adapter(self, adapter: LoraAdapter) -> None:
        """Loads an adapter beside those that the engine has."""
        if not self._engine.add_lora(_lora_request(adapter)):
            raise TrainingError(f"vLLM did not accept the adapter {adapter.name}")
        self._reset_cache()

    def remove_adapter(self, adapter: LoraAdapter) -> None:
        """Unloads an adapter."""
        if not self._engine.remove_lora(adapter.number):
            raise TrainingError(f"vLLM no longer has the adapter {adapter.name}")

    def reload(self, name: str, folder: Path) -> None:
        """Loads the whole weights of policy ``name`` from ``folder`` in place."""
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        self._renew(name)

    def receive(self, name: str, parts: Iterable[Shared]) -> int:
        """Loads the whole weights of policy ``name`` in place, as another process shares them; returns their
        bytes.

        Raises:
            TrainingError: some of the weights that the engine was started with did not come, or others did.
        """
        missing, size = set(self._names), 0
        self._engine.collective_rpc("start_weight_update")
        for part in parts:
            if strange := [one for one in part.names if one not in missing]:
                raise TrainingError(f"vLLM was sent weights of {name} twice, or unknown ones: {strange[0]}")
            info = transfer.update_info(part)
            self._engine.collective_rpc("update_weights", kwargs={"update_info": info})
            missing.difference_update(part.names)
            size += part.size
        if missing:
            lost = f"{len(missing)} of {len(self._names)} weights of {name}"
            raise TrainingError(f"{lost} did not reach vLLM, such as {min(missing)}")
        self._engine.collective_rpc("finish_weight_update")
        self._renew(name)
        return size

    def _renew(self, name: str) -> None:
        """Drops what was made of the old weights.

        A packed copy of the output head would keep them (``HeadKeeper``): it is packed again, and checked.
        """
        self._engine.collective_rpc("repack_head")
        if not all(self._engine.collective_rpc("head_is_current")):
            raise TrainingError(f"vLLM samples for {name} through an output head that is not the loaded one")
        self._reset_cache()

    def sleep(self) -> None:
        """Moves the weights to host memory and drops the cache; does nothing on CPUs."""
        if self._sleeps:
            self._engine.sleep(level=1)  # level 2 would drop the weights, and nobody sends them again

    def wake(self) -> None:
        """Brings the weights back."""
        if self._sleeps:
            self._engine.wake_up()
        self._reset_cache()

    def close(self) -> None:
        """Ends the engine."""
        self._engine.engine_core.shutdown()
        self._engine = None

    def _reset_cache(self) -> None:
        """Drops cached keys and values: other weights computed them."""
        if not self._engine.reset_prefix_cache():
            raise TrainingError("vLLM could not reset its prefix cache")


def import_vllm() -> None:
    """Sets ``SETTINGS`` and imports vLLM; warns of a version outside of ``VERSIONS``.

    Raises:
        ConfigError: vLLM is not installed, or cannot be imported.
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
                # Otherwise vLLM calls a C++ compiler for some small functions, before anything is sampled.
                type(current_platform).simple_compile_backend = "eager"
            assert vllm.LLMEngine  # imported lazily, and it imports everything else
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if any(name in str(error) for name in ("torchvision", "torchaudio", "torchcodec")):
            reason += (
                "; remove packages that do not fit torch: pip uninstall -y torchvision torchaudio torchcodec"
            )
        raise ConfigError(f"vLLM cannot be imported: {reason}") from error
    if line := version_warning(str(vllm.__version__)):
        log.warning(line)


def without_ipc() -> str | None:
    """Returns what the installed vLLM lacks for ``VllmEngine.receive``; None: nothing."""
    try:
        from vllm.distributed.weight_transfer.ipc_engine import (
            IPCWeightTransferInitInfo,
            IPCWeightTransferUpdateInfo,
        )
        from vllm.v1.worker.gpu_worker import Worker
    except ImportError as error:
        return f"this vLLM has no weight transfer over IPC ({error})"
    return transfer.lacking(Worker, IPCWeightTransferInitInfo, IPCWeightTransferUpdateInfo)


def version_warning(version: str) -> str | None:
    """Returns a warning if ``version`` of vLLM is outside of ``VERSIONS``."""
    first, last = (".".join(map(str, bound)) for bound in VERSIONS)
    try:
        known = VERSIONS[0] <= tuple(map(int, version.split(".")[:2])) <= VERSIONS[1]
    except ValueError:
        known = False
    if known:
        return None
    return f"vLLM {version} is outside of {first} to {last}, for which generator=vllm was written"


def lora_settings(adapters: Sequence[tuple[int, frozenset[str]]]) -> dict[str, Any]:
    """Returns engine settings for adapters of these ranks and layers, and room for one more during a swap.

    Raises:
        ConfigError: vLLM supports no adapters of such a rank.
    """
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


def saved_names(folder: Path) -> frozenset[str]:
    """Returns the names of all weights of a saved model."""
    from safetensors import safe_open

    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            names |= set(file.keys())
    return frozenset(names)


def _lora_request(adapter: LoraAdapter) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(adapter.name, adapter.number, str(adapter.folder))


def _memory(config: EngineConfig, share: float, *, on_cpu: bool) -> dict[str, Any]:
    """Returns the arguments that say how much memory an engine takes, for its ``share`` of all engines'."""
    if on_cpu:
        return {"kv_cache_memory_bytes": int(config.kv_cache_gb * share * 2**30)}
    return {"gpu_memory_utilization": config.gpu_memory_utilization * share, "enable_sleep_mode": True}
