"""Weights reach engines through files that are written once, in the engines' dtype, and do not stay."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import conf
from conf import ConfigError
from learners.base import Weights
from learners.runtimes.distributed.ranks import Rank, RankGroup, RemoteSource
from learners.types import LoadedModel
from learners.update.fsdp import Ranks
from learners.weights import scratch
from learners.weights.scratch import Scratch
from tests.learners.doubles import loaded_model
from tests.learners.runtimes.test_distributed import Here

ROOT = Path(__file__).parents[3]


def weights(way: str = "full", **changes: Any) -> Weights:
    class Kind:
        def load(self, env_name: str, seed: int) -> LoadedModel:
            return loaded_model(seed, **changes)

    built = conf.build("learners.weights", conf.load("weights", way))
    loaded: dict[str, Weights] = built.load(Kind(), ["a"], "any", 3, reference=False)
    return loaded["a"]


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(("kind", "tied"), [("llama", True), ("qwen3", False)])
@pytest.mark.parametrize("autocast", [False, True])
def test_whole_weights_are_lent_once_in_the_dtype_of_engines(
    tmp_path: Path, kind: str, tied: bool, autocast: bool
) -> None:
    own = weights(kind=kind, autocast=autocast)
    model = own.loaded.model
    assert model.config.tie_word_embeddings == tied
    with own.lend(tmp_path) as lent:
        found = tensors(lent.folder)
        assert lent.written == lent.size == sum(file.stat().st_size for file in lent.folder.iterdir())
    dtype = torch.bfloat16 if autocast else torch.float32
    expected = {name: value.detach().to(dtype) for name, value in model.named_parameters()}
    assert found.keys() == expected.keys(), "a tied head is not written again"
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    size = sum(value.nbytes for value in expected.values())
    assert size < lent.written < size + 20_000
    assert list(tmp_path.iterdir()) == []


def test_weights_of_the_trainer_stay_as_they_are(tmp_path: Path) -> None:
    own = weights(autocast=True)
    before = {name: value.clone() for name, value in own.loaded.model.state_dict().items()}
    with own.lend(tmp_path):
        pass
    after = own.loaded.model.state_dict()
    assert all(
        value.dtype == torch.float32 and torch.equal(value, before[name]) for name, value in after.items()
    )


def test_a_base_is_lent_in_the_dtype_of_engines_and_an_adapter_as_it_is(tmp_path: Path) -> None:
    own = weights("adapter", autocast=True)
    with own.lend(tmp_path, base=True) as lent:
        assert {value.dtype for value in tensors(lent.folder).values()} == {torch.bfloat16}
        assert (lent.folder / "tokenizer.json").exists()
    with own.lend(tmp_path) as lent:
        factors = load_file(lent.folder / "adapter_model.safetensors")
        assert {value.dtype for value in factors.values()} == {torch.float32}
        assert not (lent.folder / "tokenizer.json").exists(), "engines have it from the base"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("way", "what"), [("full", "the weights of a"), ("adapter", "the base of a")])
def test_too_little_room_is_one_line_that_names_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, what: str
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**20, 2**20 - 1000, 1000))
    message = rf"{what} need .* GiB in {tmp_path}, which has 9.31e-07 GiB free: .* generator\.scratch"
    with pytest.raises(ConfigError, match=message) as caught, weights(way).lend(tmp_path, base=True):
        raise AssertionError("nothing is lent")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_written_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none \(generator\.scratch\): No such file or directory"):
        Scratch(tmp_path / "none").new()


def test_folders_are_in_shared_memory_unless_a_root_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "SHARED_MEMORY", tmp_path)
    assert Scratch(None).root == tmp_path
    monkeypatch.setattr(scratch, "SHARED_MEMORY", tmp_path / "none")
    assert Scratch(None).root.is_dir()
    assert Scratch(tmp_path).root == tmp_path


def owner(root: Path, end: str) -> subprocess.Popen[str]:
    """Starts a process that has a folder with a file in ``root``, and ends as ``end`` says on a line."""
    program = f"""
import os, sys
from pathlib import Path
from learners.weights.scratch import Scratch
own = Scratch(Path({str(root)!r}))
(own.new() / "model.safetensors").write_bytes(bytes(1000))
print("ready", flush=True)
sys.stdin.readline()
{end}
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, text=True, **pipes)  # type: ignore[call-overload, no-any-return]


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.parametrize("end", ["raise MemoryError", "os.kill(os.getpid(), 9)"])
def test_no_file_stays_however_its_process_ends(tmp_path: Path, end: str) -> None:
    with owner(tmp_path, end) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.communicate("\n")
    assert until(lambda: not list(tmp_path.iterdir()))


def test_folders_of_dead_processes_are_removed_by_the_next_one_and_no_others(tmp_path: Path) -> None:
    with owner(tmp_path, "pass") as process:
        assert process.stdout is not None
        process.stdout.readline()
        [folder] = tmp_path.iterdir()
        (tmp_path / "weights").mkdir()
        scratch.remove_orphans(tmp_path)
        assert folder.exists(), "its process lives"
        shutil.copytree(folder, orphan := tmp_path / folder.name.replace(f".{process.pid}.", ".4194305."))
        own = Scratch(tmp_path)
        made = own.new()
        assert sorted(tmp_path.iterdir()) == sorted([folder, made, tmp_path / "weights"])
        assert not orphan.exists()
        own.close()
        process.communicate("\n")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[RankGroup, Rank]]:
    """A group of one rank, whose calls are answered here."""
    rank = Rank.__new__(Rank)
    rank._weights, rank._ranks, rank._lent, rank._scratch = {"a": weights(autocast=True)}, Ranks(), {}, None
    rank._shared = {}
    handle = Here("rank", lambda method, *args: getattr(rank, method)(*args))
    yield RankGroup([handle], lambda pending: [one.wait() for one in pending]), rank
    rank.release()


def test_engines_of_a_machine_read_what_was_written_once(
    tmp_path: Path, group: tuple[RankGroup, Rank]
) -> None:
    ranks, rank = group
    sources = [RemoteSource("a", False, rank._weights["a"].config, ranks) for _ in range(2)]
    folders, written = set(), 0
    for source in sources:
        with source.lend(tmp_path) as lent:
            assert tensors(lent.folder)
            folders.add(lent.folder)
            written += lent.written
    assert len(folders) == 1
    assert written == lent.size == sum(file.stat().st_size for file in lent.folder.iterdir())
    ranks.call("release")
    assert list(tmp_path.iterdir()) == []
    with sources[0].lend(tmp_path) as lent:
        assert lent.written == lent.size, "after an update they are written again"


def test_engines_of_another_machine_share_a_copy(
    tmp_path: Path, group: tuple[RankGroup, Rank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rank's folder is not visible in the engines' ``root``."""
    ranks, rank = group
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    answer = ranks.handles[0].answer  # type: ignore[attr-defined]

    def elsewhere(method: str, *args: Any) -> Any:
        return answer(method, args[0], there, *args[2:]) if method == "lend" else answer(method, *args)

    monkeypatch.setattr(ranks.handles[0], "answer", elsewhere)
    sources = [RemoteSource("a", False, rank._weights["a"].config, ranks) for _ in range(2)]
    written = []
    for source in sources:
        with source.lend(here) as lent:
            [original] = there.iterdir()
            assert lent.folder.parent == here
            assert tensors(lent.folder).keys() == tensors(original).keys()
            written.append(lent.written)
    assert written == [2 * lent.size, 0], "once by the rank, once by the first engine"
    for source in sources:
        source.release()
    assert list(here.iterdir()) == []
    ranks.call("release")
    assert list(there.iterdir()) == []


def test_ranks_but_the_first_write_nothing(tmp_path: Path) -> None:
    rank = Rank.__new__(Rank)
    rank._weights, rank._ranks, rank._lent, rank._scratch = {"a": weights()}, Ranks(1, 2), {}, None
    rank._shared = {}
    assert rank.lend("a", tmp_path, False) is None
    assert list(tmp_path.iterdir()) == []
    rank.release()
