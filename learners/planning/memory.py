"""Memory that a run needs, in bytes, by place and phase. Pure functions: every term is a product of shapes.

Not computed here: what libraries allocate in addition (``assume.margin``, ``context_gib``, ``engine_gib``),
and communication buffers of more than two layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from learners.planning.assumptions import GIB, Assume, Hardware
from learners.planning.files import Items, cast, checkpoint_bytes, moved, nonzero
from learners.planning.head import head, head_copy
from learners.planning.job import Job
from learners.planning.shapes import Shapes
from learners.update.head import CHUNK


@dataclass(frozen=True)
class Phase:
    """What is in memory at the same time."""

    name: str
    items: Items

    @property
    def total(self) -> float:
        return sum(self.items.values())


@dataclass(frozen=True)
class Device:
    """A number of GPUs with equal contents, or the memory of all hosts together, phase by phase."""

    name: str
    count: int
    capacity: float
    """Bytes of each GPU."""
    phases: tuple[Phase, ...]

    @property
    def peak(self) -> Phase:
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def fits(self) -> bool:
        return self.peak.total <= self.capacity


@dataclass(frozen=True)
class CacheCapacity:
    """How many tokens fit into an engine's cache of keys and values, and how many sequences that is."""

    tokens: int
    longest: float
    """Number of sequences of the greatest possible length."""
    mean: float
    """Number of sequences of mean length."""


def layer_bytes(shapes: Shapes, *, element: int, compute: int, lora_rank: int | None) -> int:
    """Returns the bytes per token that one layer keeps for its backward pass, without weights.

    Args:
        shapes: sizes of the model.
        element: bytes of a weight, and therefore of an element of the residual stream.
        compute: bytes of an element in matrix products; fewer than ``element`` under autocast.
        lora_rank: rank of float32 adapters on all matrices; None: whole weights are trained.
    """
    hidden, queries, keys = shapes.hidden, shapes.queries, shapes.keys
    trained = lora_rank is None
    cast = compute != (element if trained else 4)  # then each matrix keeps its own copy of its input
    after_norms = (3 + 2) if cast else 2
    norms = 2 * (4 * hidden + 4 + trained * element * hidden) + after_norms * compute * hidden
    if shapes.normed_heads:
        norms += 4 * (queries + keys + shapes.heads + shapes.kv_heads) + trained * compute * (queries + keys)
    attention = compute * (queries + 2 * keys) + 4 * shapes.heads
    attention += (2 if cast and not trained else 1) * compute * queries
    factors = len(shapes.linears) * compute * lora_rank if lora_rank is not None else 0
    return norms + attention + 4 * compute * shapes.intermediate + factors


def kept_bytes(shapes: Shapes, *, element: int, trained: bool) -> int:
    """Returns the bytes per token that gradient checkpointing keeps: the input of every layer and of the last
    norm.

    ``trained``: whether the norm is trained; it then keeps what it multiplies.
    """
    return (shapes.layers + trained) * element * shapes.hidden + 4 * shapes.hidden + 4


def resident(job: Job) -> Items:
    """Returns what is on a trainer's GPU between updates: weights, moments and references."""
    shapes, policies = job.shapes, job.layout.policies_per_group
    whole = float(shapes.parameters * job.element)
    if job.adapters:
        one = 4.0 * job.adapters.parameters
        moments = {"optimiser moments": 2 * one * job.trained_policies}
        return {"frozen base": whole, "adapters": one * policies, **nonzero(moments)}
    if not job.learns:
        return {"weights": policies * whole}  # nobody shards them
    share = policies * whole / job.layout.ranks
    reference = policies * whole if job.reference and not job.offload else 0.0
    return nonzero({"weights": share, "optimiser moments": 2 * share, "KL reference": reference})


def held(job: Job) -> Items:
    """Returns ``resident``, with what the other policies in the same process have there."""
    others = sum(sum(resident(one).values()) for one in job.beside)
    return {**resident(job), **nonzero({"policies apart": float(others)})}


def trainer_phases(job: Job) -> list[Phase]:
    """Returns what a trainer needs of its GPU in each part of a step."""
    base = held(job)
    if not job.learns:
        return [Phase("loading", _loading(job))]
    gradients = {"gradients": job.trained * job.trained_element / job.layout.ranks}
    if job.adapters:
        gradients = {"gradients": float(job.trained * job.trained_element)}
    gathered, gathered_gradients = _gathered(job)
    update = {**base, **gradients, **gathered}
    kept, layer = _activations(job)
    return [
        Phase("loading", _loading(job)),
        Phase("reference", {**base, **_reference(job)}),
        Phase("forward", {**update, **kept, **_casts(job), **_working(job)}),
        Phase("head", {**update, **gathered_gradients, **kept, **head(job)}),
        Phase("backward", {**update, **gathered_gradients, **kept, **_last_gradients(job, layer)}),
        Phase("optimiser", {**base, **gradients}),  # the fused optimiser makes no copies
    ]


def engine_items(job: Job, hardware: Hardware, assume: Assume) -> Items:
    """Returns what is in an engine's share of a GPU; the rest of the share is for keys and values."""
    apart = sum(sum(_engine_fixed(one, assume).values()) for one in job.beside)
    fixed = {**_engine_fixed(job, assume), "engines apart": float(apart)}
    left = job.engine_share * hardware.memory_gib * GIB - sum(fixed.values())
    return {**nonzero(fixed), "keys and values": left}


def _engine_fixed(job: Job, assume: Assume) -> Items:
    shapes, shards = job.shapes, job.tensor_parallel
    engines = job.engines_per_process
    weights = shapes.parameters * job.compute / shards
    head = 4.0 * shapes.vocab * shapes.hidden / shards if job.model.head_float32 else 0.0
    slots = (job.policies + 1) * job.adapters.parameters * job.compute / shards if job.adapters else 0.0
    return {
        "weights": engines * weights,
        "float32 head": engines * head,
        "adapters": slots,
        "activations, graphs": engines * assume.engine_gib * GIB,
    }


def cache_capacity(job: Job, hardware: Hardware, assume: Assume) -> CacheCapacity:
    """Returns how much an engine's cache can hold. ``tokens`` is not positive if weights alone fill the
    engine's share."""
    per_token = sum(
        one.engines_per_process * one.shapes.cache(one.compute) / one.tensor_parallel
        for one in (job, *job.beside)
    )
    tokens = int(engine_items(job, hardware, assume)["keys and values"] // per_token)
    mean = job.guess.prompt + job.guess.completion
    return CacheCapacity(tokens, tokens / job.row, tokens / mean)


def gpus(job: Job, hardware: Hardware, assume: Assume) -> list[Device]:
    """Returns every kind of GPU of the run, phase by phase."""
    context = {"CUDA context": assume.context_gib * GIB}
    trainer = [_with_margin(phase, assume, context) for phase in trainer_phases(job)]
    sampling = _with_margin(Phase("sampling", held(job)), assume, context)
    sync = _with_margin(Phase("sync", {**held(job), **cast(job)}), assume, context)
    share = {"engine": job.engine_share * hardware.memory_gib * GIB}
    asleep = share if job.staleness else {"engine, asleep": assume.asleep_gib * GIB}
    capacity, layout = hardware.memory_gib * GIB, job.layout
    if not layout.engines:
        cache = {"keys and values": float(job.max_sequences * job.row * job.shapes.cache(job.compute))}
        phases = (Phase("sampling", {**sampling.items, **cache}), *trainer)
        place = "learner, sampling in place" if job.learns else "weights, sampling in place"
        return [Device(place, layout.groups * layout.ranks, capacity, phases)]
    if layout.colocated:
        training = [
            phase if phase.name == "loading" else Phase(phase.name, {**phase.items, **asleep})
            for phase in trainer
        ]
        awake = [Phase(phase.name, {**phase.items, **share}) for phase in (sampling, sync)]
        phases = (*awake, *training)
        return [Device("learner and engine", layout.groups * layout.ranks, capacity, phases)]
    engines = layout.groups * layout.engines * job.tensor_parallel
    return [
        Device("learner", layout.groups * layout.ranks, capacity, (sampling, sync, *trainer)),
        Device("engine", engines, capacity, (Phase("sampling", {**share, **context}),)),
    ]


def devices(jobs: Sequence[Job], hardware: Hardware, assume: Assume) -> list[Device]:
    """Returns every kind of GPU of a run, and the host.

    Several jobs name their GPUs; in one process that is the same GPU, where all but one job are "apart".
    """
    kinds = [(job, one) for job in jobs for one in gpus(job, hardware, assume)]
    if len(jobs) > 1:
        kinds = [(job, replace(one, name=f"{one.name}: {job.name}")) for job, one in kinds]
    return [*(one for _, one in kinds), host(jobs, hardware, assume)]


def host(jobs: Sequence[Job], hardware: Hardware, assume: Assume) -> Device:
    """Returns the host memory of all machines together."""
    layouts = [job.layout for job in jobs]
    # Each layout counts all processes that do not belong to a group.
    shared = layouts[0].processes - layouts[0].groups * (layouts[0].ranks + layouts[0].engines)
    grouped = sum(one.groups * (one.ranks + one.engines) for one in layouts)
    processes = layouts[0].processes if layouts[0].local else shared + grouped
    always = {
        "processes": processes * assume.process_gib * GIB,
        "sandboxes": jobs[0].concurrency * jobs[0].sandbox_bytes,
        "KL references": sum(map(_host_references, jobs)),
    }
    asleep = {"engines' weights, asleep": sum(map(_asleep, jobs))}
    # Every rank gathers all of a checkpoint.
    saved = {"checkpoint of a policy": max(job.layout.ranks * checkpoint_bytes(job) for job in jobs)}
    transfer = max(map(moved, jobs), key=lambda items: sum(items.values()))
    phases = (
        Phase("sampling", nonzero(always)),
        Phase("update", nonzero({**always, **asleep})),
        Phase("sync", nonzero({**always, **transfer})),
        Phase("checkpoint", nonzero({**always, **saved})),
    )
    return Device("host", 1, hardware.host_gib * GIB * max(1.0, gpus_needed(jobs)), phases)


def gpus_needed(jobs: Sequence[Job]) -> float:
    """Returns how many GPUs a run uses."""
    needed = [job.layout.groups * job.layout.gpus for job in jobs]
    return needed[0] if jobs[0].layout.local else sum(needed)


def _host_references(job: Job) -> float:
    kept = job.learns and job.offload and job.reference
    return float(job.layout.ranks * job.policies * job.shapes.parameters * job.element) if kept else 0.0


def _asleep(job: Job) -> float:
    engines = job.layout.groups * job.layout.engines * job.engines_per_process
    return float(engines * job.shapes.parameters * job.compute)


def _loading(job: Job) -> Items:
    """Full weights are loaded unsharded, and the reference is a copy."""
    whole = float(job.shapes.parameters * job.element)
    alone = job.adapters or job.layout.policies_per_group == 1
    apart = {name: size for name, size in held(job).items() if name == "policies apart"}
    before = apart if alone else dict(held(job))
    copies = 2.0 if job.reference and job.learns and not job.adapters else 1.0
    return {**before, "whole weights": copies * whole}


def _reference(job: Job) -> Items:
    shapes, tokens = job.shapes, job.micro_tokens
    whole = float(shapes.parameters * job.element) if job.offload and not job.adapters else 0.0
    layer = layer_bytes(shapes, element=job.element, compute=job.compute, lora_rank=None)
    if not job.reference:
        return {}
    return nonzero(
        {
            "KL reference": whole,
            "residual stream": 2.0 * tokens * shapes.hidden * job.element,
            "a layer's activations": float(tokens * layer),
            "logits": 3.0 * CHUNK * shapes.vocab * 4 + head_copy(job),
        }
    )


def _gathered(job: Job) -> tuple[Items, Items]:
    """What FSDP2 gathers, and its gradients: everything outside of layers, and two layers at a time."""
    if job.adapters or job.layout.ranks == 1:
        return {}, {}
    whole = float((job.shapes.outside + 2 * job.shapes.layer) * job.element)
    return {"gathered weights": whole}, {"gathered gradients": whole}


def _casts(job: Job) -> Items:
    """Autocast keeps its copies of trained weights until the forward pass is over."""
    if job.trained_element == job.compute:
        return {}
    count = job.adapters.parameters if job.adapters else job.shapes.layers * job.shapes.layer
    return {"weights cast for autocast": float(count * job.compute)}


def _activations(job: Job) -> tuple[Items, Items]:
    """What is kept from forward to backward, and what the backward pass of a layer needs."""
    shapes, tokens = job.shapes, job.micro_tokens
    rank = job.adapters.rank if job.adapters else None
    layer = tokens * layer_bytes(shapes, element=job.element, compute=job.compute, lora_rank=rank)
    weights = shapes.layer * job.compute if job.compute != job.element else 0
    backward = tokens * (3 * job.compute * shapes.intermediate + 8 * shapes.hidden)
    rotary = tokens * 2 * job.element * shapes.head_dim  # tables of all layers
    if not job.model.gradient_checkpointing:
        kept = float(shapes.layers * (layer + weights) + rotary)
        return {"activations": kept}, {"a layer's gradients": float(backward)}
    kept = float(tokens * kept_bytes(shapes, element=job.element, trained=rank is None) + rotary)
    return (
        {"checkpointed activations": kept},
        {"a layer's activations": float(layer + weights), "a layer's gradients": float(backward)},
    )


def _working(job: Job) -> Items:
    """What the forward pass of a layer needs and does not keep: its gated MLP is the widest part."""
    if not job.model.gradient_checkpointing:
        return {}
    shapes = job.shapes
    width = 4 * shapes.intermediate * job.compute + (job.element + job.compute) * shapes.hidden
    return {"a layer's results": float(job.micro_tokens * width)}


def _last_gradients(job: Job, layer: Items) -> Items:
    """What the backward pass needs below the head: ``layer``, or at the end the embedding's gradient.

    That of a head that is the embedding too waits for it. With several ranks both are among gathered
    gradients.
    """
    if job.adapters or job.layout.ranks > 1:
        return layer
    head = job.shapes.vocab * job.shapes.hidden
    table = float(head * job.element)
    waiting = {"head's gradient": table} if job.shapes.outside < 2 * head else {}
    end = {"embedding's gradient": table}
    return {**waiting, **(layer if sum(layer.values()) > table else end)}


def _with_margin(phase: Phase, assume: Assume, others: Items) -> Phase:
    return Phase(phase.name, {**phase.items, "margin": assume.margin * phase.total, **others})


def all_fit(devices: Iterable[Device]) -> bool:
    """Returns whether everything fits; ``cache_capacity`` tells about an engine's share."""
    return all(device.fits for device in devices)
