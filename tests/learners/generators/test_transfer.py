"""New weights over CUDA IPC: when, in which calls of vLLM, and what stops the run."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import conf
from conf import ConfigError
from learners.base import Weights
from learners.errors import TrainingError
from learners.generators.vllm import Vllm
from learners.generators.vllm.engine import VllmEngine, saved_names, without_ipc
from learners.generators.vllm.transfer import announce, apart, lacking, obstacle
from learners.generators.vllm.worker import WorkerExtension
from learners.types import Completion, Lent, LoadedModel, ModelConfig, Place, Shared
from learners.weights import sharing
from tests.learners.doubles import loaded_model, messages

ELSEWHERE = Place(os.getpid() + 1, "GPU-0")
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")


@pytest.mark.parametrize(
    ("way", "places", "reason"),
    [
        ("files", [ELSEWHERE], "generator.transfer=files"),
        ("auto", [], "adapters"),
        ("auto", [ELSEWHERE, Place(7, None)], "host memory"),
        ("auto", [Place(os.getpid(), "GPU-0")], "one process"),
    ],
)
def test_weights_go_through_files_where_ipc_cannot_be(way: str, places: list[Place], reason: str) -> None:
    found = obstacle(way, places)
    assert found is not None
    assert reason in found
    assert obstacle("auto", [ELSEWHERE]) is None


def test_a_vllm_without_the_transfer_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm.distributed.weight_transfer.ipc_engine", None)
    assert (without_ipc() or "").startswith("this vLLM has no weight transfer over IPC")


def test_ipc_needs_all_of_the_engines_gpus() -> None:
    assert apart([ELSEWHERE, Place(9, "GPU-1")], ["GPU-1"]) is None
    assert apart([ELSEWHERE], ["GPU-0", "GPU-1"]) == "the trainer has no weights on the engine's GPU GPU-1"
    assert apart([ELSEWHERE], [None]) is not None, "an engine on the CPU"


def test_the_log_says_which_way_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    announce("auto", "solver", None)
    announce("auto", "critic", "of a reason")
    assert caplog.messages == [
        "solver: new weights reach vLLM over CUDA IPC",
        "critic: new weights reach vLLM through files: of a reason",
    ]


def test_ipc_that_is_demanded_and_not_possible_is_one_clear_line() -> None:
    announce("ipc", "solver", None)
    with pytest.raises(ConfigError, match=r"^generator\.transfer=ipc is not possible for solver: why; set"):
        announce("ipc", "solver", "why")
    with pytest.raises(ConfigError, match=r"generator\.transfer is one of auto, files, ipc, not 'nccl'$"):
        conf.build("learners.generators", conf.load("generator", "vllm", transfer="nccl"), policies={})


@dataclass
class Init:
    packed: bool = False


@dataclass
class Update:
    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]
    ipc_handles: list[dict[str, Any]] | None = None


class Worker:
    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None: ...

    def start_weight_update(self) -> None: ...

    def update_weights(self, update_info: dict[str, Any]) -> None: ...

    def finish_weight_update(self) -> None: ...


def test_a_vllm_whose_transfer_is_called_otherwise_is_not_used() -> None:
    assert lacking(Worker, Init, Update) is None

    class Older:
        update_weights = Worker.update_weights

    class Told(Worker):
        def start_weight_update(self, is_checkpoint_format: bool) -> None:  # type: ignore[override]
            ...

    @dataclass
    class Address:
        port: int

    missing = "this vLLM's workers have no init_weight_transfer_engine, start_weight_update, finish"
    assert (lacking(Older, Init, Update) or "").startswith(missing)
    assert "start_weight_update without arguments" in (lacking(Told, Init, Update) or "")
    assert (lacking(Worker, Address, Init) or "").endswith("dtype_names, ipc_handles, names, port, shapes")


class FakeCore:
    """Records the calls of vLLM's engine; raises at ``fails``."""

    def __init__(self, fails: str = "", current: bool = True) -> None:
        self.fails, self.current = fails, current
        self.calls: list[tuple[str, Any]] = []

    def collective_rpc(self, method: str, kwargs: dict[str, Any] | None = None) -> list[Any]:
        self.calls.append((method, kwargs))
        if method == self.fails:
            raise RuntimeError("IPC handle not found for GPU UUID GPU-1")
        return [self.current]

    def reset_prefix_cache(self) -> bool:
        self.calls.append(("reset_prefix_cache", None))
        return True


def engine(core: FakeCore, *names: str) -> VllmEngine:
    made = VllmEngine.__new__(VllmEngine)
    made._engine, made._names = core, frozenset(names)
    return made


def parts(*names: str) -> Iterator[Shared]:
    """One tensor each."""
    return sharing.share(
        ((name, torch.ones(2, 3)) for name in names), limit=1, export=lambda tensor: {"GPU-0": ("handle",)}
    )


def test_the_calls_of_a_transfer_come_in_order() -> None:
    core = FakeCore()
    assert engine(core, "a", "b").receive("solver", parts("b", "a")) == 48
    assert [name for name, _ in core.calls] == [
        "start_weight_update",
        "update_weights",
        "update_weights",
        "finish_weight_update",
        "repack_head",
        "head_is_current",
        "reset_prefix_cache",
    ]
    assert core.calls[1][1] == {
        "update_info": {
            "names": ["b"],
            "dtype_names": ["float32"],
            "shapes": [[2, 3]],
            "ipc_handles": [{"GPU-0": ("handle",)}],
        }
    }


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (("a",), "1 of 2 weights of solver did not reach vLLM, such as b"),
        ((), "2 of 2 weights"),
        (("a", "a"), "twice, or unknown ones: a"),
        (("a", "c"), "twice, or unknown ones: c"),
    ],
)
def test_a_lost_or_strange_part_stops_before_the_update_is_finished(
    sent: Sequence[str], complaint: str
) -> None:
    core = FakeCore()
    with pytest.raises(TrainingError, match=complaint):
        engine(core, "a", "b").receive("solver", parts(*sent))
    assert "finish_weight_update" not in [name for name, _ in core.calls]


@pytest.mark.parametrize("step", ["start_weight_update", "update_weights", "finish_weight_update"])
def test_an_engine_that_refuses_stops_the_transfer(step: str) -> None:
    core = FakeCore(fails=step)
    with pytest.raises(RuntimeError, match="IPC handle not found"):
        engine(core, "a", "b").receive("solver", parts("a", "b"))
    assert core.calls[-1][0] == step


def test_an_output_head_that_keeps_old_weights_stops_the_run() -> None:
    with pytest.raises(TrainingError, match="an output head that is not the loaded one"):
        engine(FakeCore(current=False), "a").receive("solver", parts("a"))


def test_the_names_of_saved_weights_are_read_from_all_files(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "model-1.safetensors")
    save_file({"c": torch.ones(1)}, tmp_path / "model-2.safetensors")
    assert saved_names(tmp_path) == {"a", "b", "c"}


class Kind:
    def load(self, env_name: str, seed: int) -> LoadedModel:
        return loaded_model(seed, kind="wide")


def full() -> Weights:
    built = conf.build("learners.weights", conf.load("weights", "full"))
    loaded: dict[str, Weights] = built.load(Kind(), ["solver"], "any", 0, reference=False)
    return loaded["solver"]


def change(weights: Weights, seed: int) -> None:
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in weights.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=numbers).to(parameter.device))


@dataclass
class OtherProcess:
    """A ``Source`` that says that its weights are in another process; a handle is the tensor itself."""

    own: Weights
    adapter: bool = False
    name: str = "solver"
    lose: set[str] = field(default_factory=set)
    """Names of weights that are shared as they were at first."""
    first: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def config(self) -> ModelConfig:
        return self.own.config

    def lend(self, root: Path | None, *, base: bool = False) -> contextlib.AbstractContextManager[Lent]:
        return self.own.lend(root, base=base)

    def places(self) -> list[Place]:
        return [ELSEWHERE]

    def share(self) -> Iterator[Shared]:
        state = dict(sharing.whole(self.own.loaded.model.state_dict(keep_vars=True), torch.float32))
        self.first = self.first or {name: value.clone() for name, value in state.items()}
        sent = {name: self.first[name] if name in self.lose else value for name, value in state.items()}
        return sharing.share(sent.items(), limit=2**14, export=lambda own: {"GPU-0": (own, *[None] * 7)})

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        return self.own.logprobs(completions)


@pytest.mark.vllm
@needs_vllm
def test_vllm_loads_what_is_shared_and_the_probe_judges_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's own session, on the CPU: only the mapping of GPU memory is replaced."""
    from learners.generators.vllm.engine import import_vllm

    import_vllm()
    assert without_ipc() is None
    from vllm.distributed.weight_transfer import ipc_engine

    class Properties:
        uuid = "GPU-0"

    monkeypatch.setattr(ipc_engine, "rebuild_cuda_tensor", lambda tensor, *rest: tensor)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: None)
    monkeypatch.setattr(WorkerExtension, "uuid_of_gpu", lambda worker: "GPU-0")
    source = OtherProcess(full())
    node = conf.load("generator", "vllm", kv_cache_gb=0.1, deadline=200.0, transfer="ipc")
    subject: Vllm = conf.build("learners.generators", node, policies={"solver": source})
    with contextlib.closing(subject):
        for version in (1, 2):
            change(source.own, version)
            size = sum({p.data_ptr(): p.nbytes for p in source.own.loaded.model.parameters()}.values())
            assert subject.sync("solver", version) == {"sync_bytes_shared": size}
            row = subject.generate("solver", messages("abc"), seed=1, order=0)
            torch.testing.assert_close(
                torch.tensor(row.logprobs), torch.tensor(source.logprobs([row])[0]), atol=2e-3, rtol=0
            )
        source.lose = set(list(source.first)[1:])
        change(source.own, 3)
        with pytest.raises(TrainingError, match="solver"):
            subject.sync("solver", 3)


def _serve(asked: Any) -> None:
    """The trainer's process of the test below."""
    own = full()
    own.loaded.model.to(torch.device("cuda"))  # type: ignore[arg-type]
    parts: Iterator[Shared] = iter(())
    while (question := asked.recv()) is not None:
        answer: Any = None
        match question:
            case ("places", ()):
                answer = own.places()
            case ("change", (seed,)):
                change(own, seed)
            case ("start", ()):
                parts = own.share()
            case ("next", ()):
                answer = next(parts, None)
            case ("logprobs", (rows,)):
                answer = own.logprobs(rows)
        asked.send(answer)


@dataclass
class Piped(OtherProcess):
    """The same, with a real process; its weights at the start are those of ``own``."""

    pipe: Any = None

    def ask(self, method: str, *args: Any) -> Any:
        self.pipe.send((method, args))
        return self.pipe.recv()

    def places(self) -> list[Place]:
        found: list[Place] = self.ask("places")
        return found

    def share(self) -> Iterator[Shared]:
        self.ask("start")
        while (part := self.ask("next")) is not None:
            yield part

    def logprobs(self, completions: Sequence[Completion]) -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = self.ask("logprobs", completions)
        return found


@pytest.mark.gpu
@needs_vllm
def test_vllm_maps_the_gpu_memory_of_another_process() -> None:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,))
    process.start()
    try:
        source = Piped(full(), pipe=here)
        node = conf.load("generator", "vllm", gpu_memory_utilization=0.2, transfer="ipc", enforce_eager=True)
        subject: Vllm = conf.build("learners.generators", node, policies={"solver": source})
        with contextlib.closing(subject):
            source.ask("change", 1)
            assert subject.sync("solver", 1)["sync_bytes_shared"] > 0
        here.send(None)
        process.join(60)
    finally:
        process.kill()
