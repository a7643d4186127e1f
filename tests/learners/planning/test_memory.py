"""Memory: activations against what autograd keeps, shares of ranks against real shapes, what fits."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config, Qwen3Config

import conf
from learners.models.attention import Borders, arguments, install
from learners.planning import memory
from learners.planning.assumptions import GIB
from learners.planning.job import BYTES
from learners.planning.memory import Device, Phase, kept_bytes, layer_bytes
from learners.planning.shapes import meta_model, read_shapes
from learners.types import Completion, LoadedModel
from learners.update.logprobs import batch_logprobs
from learners.update.packing import Row, pack
from learners.update.updater import _training
from tests.learners.doubles import model_config, tokenizer
from tests.learners.planning.jobs import ONE_GPU, PAPERS, composed, parts

LENGTH, RANK = 96, 8
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
CONFIGS = {
    "qwen3": Qwen3Config(**SIZES, head_dim=32),
    "qwen2": Qwen2Config(**SIZES),
}
SETTINGS = [("float32", True), ("bfloat16", True), ("float32", False)]
"""dtype, autocast"""


def small(kind: str, dtype: str, *, adapter: bool) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[kind]))  # type: ignore[no-untyped-call]
    install(model.to(getattr(torch, dtype)), kind)
    if adapter:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.add_adapter(LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.float()
    return model


def saved(model: PreTrainedModel, compute: Callable[[], object], counts: Callable[[torch.Size], bool]) -> int:
    """Bytes of the distinct storages that autograd keeps while ``compute`` runs, by the tensors' shapes."""
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)  # else its place could be given to another one
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own and counts(tensor.shape):
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = compute()
    del kept
    return sum(sizes.values())


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize(("dtype", "autocast"), SETTINGS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_layer_keeps_what_autograd_keeps(kind: str, dtype: str, autocast: bool, adapter: bool) -> None:
    model = small(kind, dtype, adapter=adapter)
    base: Any = model.base_model
    layer = base.layers[1]
    hidden = torch.randn(1, LENGTH, 64, dtype=model.dtype, requires_grad=True)
    position = torch.arange(LENGTH)[None]
    rope = base.rotary_emb(hidden, position)
    row = arguments(Borders.of([LENGTH], torch.device("cpu")))

    def compute() -> object:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return layer(hidden, position_embeddings=rope, position_ids=position, **row)

    def of_tokens(shape: torch.Size) -> bool:
        """Excludes weights, and rotary tables, which all layers share."""
        return LENGTH in shape and shape[:2] != (1, 1)

    shapes = read_shapes(CONFIGS[kind])
    expected = layer_bytes(
        shapes,
        element=BYTES[dtype],
        compute=2 if autocast else BYTES[dtype],
        lora_rank=RANK if adapter else None,
    )
    assert saved(model, compute, of_tokens) == expected * LENGTH


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize(("dtype", "autocast"), SETTINGS)
def test_checkpointing_keeps_the_inputs_of_layers_within_three_percent(
    dtype: str, autocast: bool, adapter: bool
) -> None:
    """Measured in the code of real updates, where ids, targets and the like add the rest."""
    model = small("qwen3", dtype, adapter=adapter)
    config = model_config(dtype=dtype, autocast=autocast, gradient_checkpointing=True, head_float32=True)
    completion = Completion("", tuple(range(3, 43)), tuple(range(3, 59)), (0.0,) * 56, 0, "stop")
    (batch,) = pack([Row.of(completion, [0.0] * 56, 1.0)], 4096)
    shapes = read_shapes(CONFIGS["qwen3"])
    expected = 96 * kept_bytes(shapes, element=BYTES[dtype], trained=not adapter)
    half = autocast or dtype == "bfloat16"  # then the head keeps slopes, and errors for a trained weight
    expected += 56 * shapes.hidden * (2 * half + 4 * (not half or not adapter))
    expected += 56 * shapes.vocab * 2 * (half and not adapter)
    with _training(LoadedModel(model, tokenizer(), config)):
        kept = saved(model, lambda: batch_logprobs(model, batch, config), lambda shape: True)
    assert kept == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("name", PAPERS)
def test_a_rank_holds_its_share_of_the_real_weights(name: str) -> None:
    """FSDP2 splits every weight by its first dimension, the last rank's share being the smaller."""
    job, _, _ = parts(f"experiment={name}")
    model = meta_model(_architecture(name))
    share = sum(4 * -(-p.shape[0] // 2) * p[0].numel() for p in model.parameters())
    held = dict(memory.resident(job))
    assert held["weights"] == pytest.approx(share, rel=1e-3)
    assert held["optimiser moments"] == 2 * held["weights"]
    assert "KL reference" not in held  # it is offloaded
    phases = {phase.name: phase for phase in memory.trainer_phases(job)}
    assert phases["backward"].items["gradients"] == held["weights"]
    whole = sum(4 * p.numel() for p in model.parameters())
    assert phases["reference"].items["KL reference"] == whole
    embedding = [4 * p.numel() for key, p in model.named_parameters() if ".layers." not in key]
    layer = [4 * p.numel() for key, p in model.named_parameters() if ".layers.0." in key]
    assert phases["forward"].items["gathered weights"] == sum(embedding) + 2 * sum(layer)


def test_adapters_share_one_base_and_each_has_moments_of_its_own() -> None:
    job, _, _ = parts(f"experiment={ONE_GPU}")
    model = meta_model(_architecture(ONE_GPU))
    assert memory.resident(job) == {
        "frozen base": 2 * sum(p.numel() for p in model.parameters()),
        "adapters": 3 * 4 * 66_060_288,
        "optimiser moments": 2 * 3 * 4 * 66_060_288,
    }
    phases = {phase.name: phase for phase in memory.trainer_phases(job)}
    assert phases["backward"].items["gradients"] == 4 * 66_060_288
    assert "KL reference" not in phases["reference"].items


def test_without_offloading_the_reference_stays_on_the_gpu() -> None:
    job, hardware, assume = parts("experiment=paper_mathchat_4b", "weights.offload_reference=false")
    assert memory.resident(job)["KL reference"] == 4 * job.shapes.parameters
    assert not memory.all_fit(memory.gpus(job, hardware, assume))
    assert "KL references" not in memory.host([job], hardware, assume).phases[0].items


def test_an_engines_cache_holds_as_many_tokens_as_fill_its_share() -> None:
    job, hardware, assume = parts(f"experiment={ONE_GPU}")
    items = memory.engine_items(job, hardware, assume)
    capacity = memory.cache_capacity(job, hardware, assume)
    assert sum(items.values()) == pytest.approx(job.engine_share * hardware.memory_gib * GIB)
    token = 2 * 36 * 8 * 128 * 2  # keys and values, layers, heads, their width, bfloat16
    assert capacity.tokens * token <= items["keys and values"] < (capacity.tokens + 1) * token
    assert capacity.longest == capacity.tokens / (16384 + 8192)
    assert items["adapters"] == 4 * 66_060_288 * 2  # one slot more than there are policies


def test_the_peak_decides_whether_everything_fits() -> None:
    phases = (Phase("low", {"a": 3.0, "b": 4.0}), Phase("high", {"a": 9.0, "c": 1.0}))
    assert Device("gpu", 1, 10.0, phases).fits
    assert not Device("gpu", 1, 9.9, phases).fits
    assert Device("gpu", 1, 9.9, phases).peak.name == "high"
    assert not memory.all_fit([Device("a", 1, 10.0, phases), Device("b", 1, 9.0, phases)])


def test_an_engine_that_samples_during_updates_keeps_its_share() -> None:
    job, hardware, assume = parts("experiment=paper_dsbench_4b")
    (asleep,) = memory.gpus(job, hardware, assume)
    (awake,) = memory.gpus(replace(job, staleness=1), hardware, assume)
    more = job.engine_share * hardware.memory_gib - assume.asleep_gib
    assert awake.peak.name == "backward"
    assert awake.peak.total - asleep.phases[-2].total == pytest.approx(more * GIB)
    assert not awake.fits


def test_trainer_and_engine_on_separate_gpus_are_two_kinds_of_gpu() -> None:
    apart = ("runtime.learner_gpus=1", "runtime.engine_gpus=1", "generator.gpu_memory_utilization=0.9")
    job, hardware, assume = parts("experiment=paper_dsbench_4b", *apart)
    learner, engine = memory.gpus(job, hardware, assume)
    assert (learner.count, engine.count, job.layout.groups * job.layout.gpus) == (6, 6, 12)
    assert not any("engine" in name for phase in learner.phases for name in phase.items)
    assert engine.peak.items["engine"] == pytest.approx(0.9 * 79.6 * GIB)


def _architecture(name: str) -> Any:
    return conf.build("learners.models", composed(f"experiment={name}").model).architecture()
