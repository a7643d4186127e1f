"""Bytes that a run holds, by where and when. Pure functions: every term is a product of shapes.

Left out are what a library allocates besides (``assume.margin``, ``context_gib``, ``engine_gib``) and
communication buffers beyond two layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from learners.planning.facts import GIB, Assume, Hardware, Job
from learners.planning.shapes import Shapes
from learners.update.logprobs import CHUNK

Items = Mapping[str, float]
"""Bytes by name."""


@dataclass(frozen=True)
class Phase:
    """What is held at the same time."""

    name: str
    items: Items

    @property
    def total(self) -> float:
        return sum(self.items.values())


@dataclass(frozen=True)
class Device:
    """GPUs that hold the same, or the hosts' memory together, phase by phase."""

    name: str
    count: int
    capacity: float
    """Bytes of each."""
    phases: tuple[Phase, ...]

    @property
    def peak(self) -> Phase:
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def fits(self) -> bool:
        return self.peak.total <= self.capacity


@dataclass(frozen=True)
class Room:
    """Of an engine: how many tokens its cache holds, and how many sequences."""

    tokens: int
    longest: float
    """Sequences of the greatest length."""
    mean: float
    """Sequences of mean length."""


def layer_bytes(shapes: Shapes, *, element: int, compute: int, lora_rank: int | None) -> int:
    """Bytes a token that one layer keeps for its backward pass; attention masks and weights apart.

    Args:
        shapes: of the model.
        element: bytes of a weight, and so of the residual stream.
        compute: bytes of what matrices are multiplied in; fewer than ``element`` under autocast.
        lora_rank: of adapters on all matrices, in float32; None: whole weights are trained.
    """
    hidden, queries, keys = shapes.hidden, shapes.queries, shapes.keys
    trained = lora_rank is None
    cast = compute != (element if trained else 4)  # then each matrix keeps its input as a copy of its own
    after_norms = (3 + 2) if cast else 2
    norms = 2 * (4 * hidden + 4 + trained * element * hidden) + after_norms * compute * hidden
    if shapes.normed_heads:
        norms += 4 * (queries + keys + shapes.heads + shapes.kv_heads) + trained * compute * (queries + keys)
    attention = 3 * compute * queries + 4 * shapes.heads  # keys and values are repeated for every head
    attention += (2 if cast and not trained else 1) * compute * queries
    factors = len(shapes.linears) * compute * lora_rank if lora_rank is not None else 0
    return norms + attention + 4 * compute * shapes.intermediate + factors


def kept_bytes(shapes: Shapes, *, element: int, trained: bool) -> int:
    """Bytes a token that gradient checkpointing keeps: what goes into every layer, and the last norm's own.

    ``trained``: whether the norm is, which then keeps what it multiplies.
    """
    return (shapes.layers + trained) * element * shapes.hidden + 4 * shapes.hidden + 4


def mask_elements(tokens: int, row: int) -> int:
    """Of the largest attention mask: bins of up to ``row`` tokens that share a micro-batch of ``tokens``."""
    shared = (bins * min(row, tokens // bins) ** 2 for bins in range(1, tokens // row + 2))
    return max(row**2, *shared)


def resident(job: Job) -> Items:
    """What a trainer's GPU holds between updates: weights, moments, references."""
    shapes, held = job.shapes, job.layout.held
    whole = float(shapes.parameters * job.element)
    if job.adapters:
        own = 4.0 * job.adapters.parameters * held
        return {"frozen base": whole, "adapters": own, "optimiser moments": 2 * own}
    share = held * whole / job.layout.ranks
    reference = held * whole if job.reference and not job.offload else 0.0
    return _some({"weights": share, "optimiser moments": 2 * share, "KL reference": reference})


def trainer_phases(job: Job) -> list[Phase]:
    """What a trainer's GPU holds in each part of a step, whatever else is on it."""
    base = resident(job)
    gradients = {"gradients": job.trained * job.trained_element / job.layout.ranks}
    if job.adapters:
        gradients = {"gradients": float(job.trained * job.trained_element)}
    gathered, theirs = _gathered(job)
    update = {**base, **gradients, **gathered}
    kept, layer = _activations(job)
    return [
        Phase("loading", _loading(job)),
        Phase("reference", {**base, **_reference(job)}),
        Phase("forward", {**update, **kept, **_casts(job), **_mask(job)}),
        Phase("head", {**update, **theirs, **kept, **_head(job)}),
        Phase("backward", {**update, **theirs, **kept, **layer, **_mask(job)}),
        Phase("optimiser", {**base, **gradients}),  # fused: it takes no copies
    ]


def engine_items(job: Job, hardware: Hardware, assume: Assume) -> Items:
    """What is in an engine's share of a GPU; what is left of it is for keys and values."""
    shapes, per = job.shapes, job.tensor_parallel
    engines = job.layout.held if job.layout.local and not job.adapters else 1  # one process has all engines
    weights = shapes.parameters * job.compute / per
    head = 4.0 * shapes.vocab * shapes.hidden / per if job.model.head_float32 else 0.0
    slots = (job.policies + 1) * job.adapters.parameters * job.compute / per if job.adapters else 0.0
    fixed = {
        "weights": engines * weights,
        "float32 head": engines * head,
        "adapters": slots,
        "activations, graphs": engines * assume.engine_gib * GIB,
    }
    left = job.share * hardware.memory_gib * GIB - sum(fixed.values())
    return {**_some(fixed), "keys and values": left}


def cache_room(job: Job, hardware: Hardware, assume: Assume) -> Room:
    """Tokens and sequences for which an engine has room. ``tokens`` is not positive where weights fill it."""
    engines = job.layout.held if job.layout.local and not job.adapters else 1
    per_token = engines * job.shapes.cache(job.compute) / job.tensor_parallel
    tokens = int(engine_items(job, hardware, assume)["keys and values"] // per_token)
    mean = job.guess.prompt + job.guess.completion
    return Room(tokens, tokens / job.row, tokens / mean)


def gpus(job: Job, hardware: Hardware, assume: Assume) -> list[Device]:
    """Every kind of GPU of the run, phase by phase."""
    context = {"CUDA context": assume.context_gib * GIB}
    trainer = [_with_margin(phase, assume, context) for phase in trainer_phases(job)]
    sample = _with_margin(Phase("sampling", resident(job)), assume, context)
    share = {"engine": job.share * hardware.memory_gib * GIB}
    asleep = share if job.staleness else {"engine, asleep": assume.asleep_gib * GIB}
    capacity, layout = hardware.memory_gib * GIB, job.layout
    if not layout.engines:
        cache = {"keys and values": float(job.sequences * job.row * job.shapes.cache(job.compute))}
        phases = (Phase("sampling", {**sample.items, **cache}), *trainer)
        return [Device("learner, sampling in place", layout.groups * layout.ranks, capacity, phases)]
    if layout.together:
        used = [Phase(p.name, p.items if p.name == "loading" else {**p.items, **asleep}) for p in trainer]
        phases = (Phase("sampling", {**sample.items, **share}), *used)
        return [Device("learner and engine", layout.groups * layout.ranks, capacity, phases)]
    engines = layout.groups * layout.engines * job.tensor_parallel
    return [
        Device("learner", layout.groups * layout.ranks, capacity, (sample, *trainer)),
        Device("engine", engines, capacity, (Phase("sampling", {**share, **context}),)),
    ]


def host(job: Job, hardware: Hardware, assume: Assume) -> Device:
    """Host memory of all machines together."""
    shapes, layout = job.shapes, job.layout
    whole = float(shapes.parameters * job.element)
    engines = layout.groups * layout.engines * (layout.held if layout.local and not job.adapters else 1)
    always = {
        "processes": layout.processes * assume.process_gib * GIB,
        "sandboxes": job.concurrency * job.sandbox_bytes,
        "KL references": layout.ranks * job.policies * whole if job.offload and job.reference else 0.0,
    }
    asleep = {"engines' weights, asleep": float(engines * shapes.parameters * job.compute)}
    saved = {"checkpoint of a policy": layout.ranks * checkpoint_bytes(job)}  # every rank puts it together
    moved = 0.0 if job.adapters or not layout.engines or layout.local else 3 * whole
    phases = (
        Phase("sampling", _some(always)),
        Phase("update", _some({**always, **asleep})),
        Phase("sync", _some({**always, "weights on their way to an engine": moved})),
        Phase("checkpoint", _some({**always, **saved})),
    )
    return Device("host", 1, hardware.host_gib * GIB * max(1.0, layout.groups * layout.gpus), phases)


def checkpoint_bytes(job: Job) -> float:
    """Of one policy: what it trains, and two moments."""
    return 3.0 * job.trained * job.trained_element


def disk(job: Job) -> Items:
    """Bytes on disk: ``keep`` checkpoints and the one being written, and weights that engines read."""
    checkpoints = (job.keep + 1) * job.policies * checkpoint_bytes(job)
    whole = job.shapes.parameters * job.element
    copies = 1 if job.adapters else job.policies * job.layout.engines
    return _some({"checkpoints": checkpoints, "weights for engines": float(copies * whole)})


def _loading(job: Job) -> Items:
    """Full weights are loaded whole, the reference is a copy, and a fingerprint is taken in float64."""
    shapes = job.shapes
    whole = float(shapes.parameters * job.element)
    before = {} if job.adapters or job.layout.held == 1 else dict(resident(job))
    copies = 2.0 if job.reference and not job.adapters else 1.0
    return {**before, "whole weights": copies * whole, "fingerprint": 16.0 * shapes.vocab * shapes.hidden}


def _reference(job: Job) -> Items:
    shapes, tokens = job.shapes, job.micro_tokens
    whole = float(shapes.parameters * job.element) if job.offload and not job.adapters else 0.0
    layer = layer_bytes(shapes, element=job.element, compute=job.compute, lora_rank=None)
    if not job.reference:
        return {}
    return _some(
        {
            "KL reference": whole,
            "residual stream": 2.0 * tokens * shapes.hidden * job.element,
            "a layer's activations": float(tokens * layer),
            "logits": 3.0 * CHUNK * shapes.vocab * 4 + _head_copy(job),
            **_mask(job),
        }
    )


def _gathered(job: Job) -> tuple[Items, Items]:
    """What FSDP2 has whole, and its gradients: all outside of layers throughout, and two layers at a time."""
    if job.adapters or job.layout.ranks == 1:
        return {}, {}
    whole = float((job.shapes.outside + 2 * job.shapes.layer) * job.element)
    return {"gathered weights": whole}, {"their gradients": whole}


def _casts(job: Job) -> Items:
    """Autocast keeps what it made of weights that are trained until the forward pass is over."""
    if job.trained_element == job.compute:
        return {}
    count = job.adapters.parameters if job.adapters else job.shapes.layers * job.shapes.layer
    return {"weights cast for autocast": float(count * job.compute)}


def _activations(job: Job) -> tuple[Items, Items]:
    """Kept from forward to backward, and what computing a layer's backward pass takes."""
    shapes, tokens = job.shapes, job.micro_tokens
    rank = job.adapters.rank if job.adapters else None
    layer = tokens * layer_bytes(shapes, element=job.element, compute=job.compute, lora_rank=rank)
    weights = shapes.layer * job.compute if job.compute != job.element else 0
    backward = tokens * (3 * job.compute * shapes.intermediate + 8 * shapes.hidden)
    if not job.model.gradient_checkpointing:
        kept = float(shapes.layers * (layer + weights))
        return {"activations": kept}, {"a layer's gradients": float(backward)}
    kept = float(tokens * kept_bytes(shapes, element=job.element, trained=rank is None))
    return (
        {"checkpointed activations": kept},
        {"a layer's activations": float(layer + weights), "a layer's gradients": float(backward)},
    )


def _mask(job: Job) -> Items:
    """Boolean, and as the numbers that attention adds."""
    return {"attention mask": float(mask_elements(job.micro_tokens, job.row) * (1 + job.compute))}


def _head(job: Job) -> Items:
    """Logits of a chunk with their gradient, hidden states before and after, and the head's gradient."""
    shapes = job.shapes
    head = shapes.vocab * shapes.hidden
    gradient = 0.0 if job.adapters else float(head * (job.element + 4))
    return _some(
        {
            "logits": 3.0 * CHUNK * shapes.vocab * 4,
            "hidden states": 2.0 * job.micro_tokens * shapes.hidden * 4,
            "head": gradient + _head_copy(job),
        }
    )


def _head_copy(job: Job) -> float:
    other = job.model.head_float32 and job.element != 4
    return 4.0 * job.shapes.vocab * job.shapes.hidden if other else 0.0


def _with_margin(phase: Phase, assume: Assume, more: Items) -> Phase:
    return Phase(phase.name, {**phase.items, "margin": assume.margin * phase.total, **more})


def _some(items: Items) -> Items:
    return {name: size for name, size in items.items() if size}


def fitting(devices: Iterable[Device]) -> bool:
    """Whether everything fits. A share that weights alone fill shows as a negative rest."""
    return all(device.fits for device in devices)
