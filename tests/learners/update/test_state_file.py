"""A checkpoint opens on another device than it was saved on, and is not in memory twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from learners.update.learner import LocalLearner
from learners.update.state_file import copy_into, open_state
from learners.update.updater import Updater
from tests.learners.weights.test_weights import WAYS, learn, says, team, weights


@contextmanager
def saving_as(device: str) -> Iterator[None]:
    """Marks what is saved as tensors of ``device``, as a process with a GPU does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.serialization.location_tag", lambda storage: device)
        yield


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("device", ["cuda:0", "cuda:3"])
def test_a_checkpoint_of_a_gpu_opens_on_a_cpu(way: str, device: str, tmp_path: Path) -> None:
    policies = team(weights(way))
    learn(policies["second"])
    with saving_as(device):
        policies["second"].save(tmp_path / "second.pt")
    with pytest.raises(RuntimeError, match="CUDA"):
        torch.load(tmp_path / "second.pt", weights_only=True)
    expected = (says(policies["second"]), learn(policies["second"]))
    resumed = team(weights(way))["second"]
    resumed.restore(tmp_path / "second.pt")
    assert (says(resumed), learn(resumed)) == expected


def test_what_was_restored_does_not_need_its_file(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save({"a": torch.arange(50_000.0), "b": [torch.ones(3)]}, path)
    target = torch.zeros(50_000)
    with open_state(path) as state:
        copy_into(target, state["a"])
        assert torch.equal(state["a"], target), "dropped pages are read again"
    path.write_bytes(b"")
    assert target.tolist() == list(range(50_000))


def test_memory_that_is_not_mapped_from_a_file_is_never_dropped(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "state.pt")
    value, target = torch.arange(50_000.0), torch.zeros(50_000)
    with open_state(tmp_path / "state.pt"):
        copy_into(target, value)
    assert value.tolist() == target.tolist() == list(range(50_000))


def test_without_steps_to_come_the_moments_stay_in_the_file(tmp_path: Path) -> None:
    policies = team(weights("full"))
    learn(policies["first"])
    policies["first"].save(tmp_path / "first.pt")
    own = weights("full")["first"]
    updater = Updater(own, steps=0, seed=0)
    LocalLearner(own, updater).restore(tmp_path / "first.pt")
    assert updater.steps_done == 1
    assert updater.state()["optimizer"]["state"] == {}
    with open_state(tmp_path / "first.pt") as state:
        assert state["updater"]["optimizer"]["state"]
        assert all(torch.equal(state["weights"]["model"][key], p) for key, p in own.state()["model"].items())


PROGRAM = """
import sys, threading
from pathlib import Path
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from learners.models.base import prepare_model
from learners.update import allocator
from learners.update.learner import LocalLearner
from learners.update.updater import Updater
from learners.weights.full import FullWeights
from tests.learners.doubles import model_config, tokenizer

def memory(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))

torch.set_num_threads(1)
allocator.prepare()
sizes = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=6, vocab_size=len(tokenizer()))
model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=12, max_position_embeddings=512))
weights = FullWeights("a", prepare_model(model, tokenizer(), model_config()), reference=False)
updater = Updater(weights, steps=9, seed=0)
learner, path = LocalLearner(weights, updater), Path(sys.argv[2])
own = sum(p.nbytes for p in weights.parameters())
if sys.argv[1] == "save":
    for p in weights.parameters():
        p.grad = torch.ones_like(p)
    updater._optimizer.step()
    learner.save(path)
else:
    assert own > 180e6
    before = memory("VmRSS")
    learner.restore(path)
    print((memory("VmHWM") - before) / own)
"""


@pytest.mark.slow
def test_restoring_takes_no_more_memory_than_what_is_restored(tmp_path: Path) -> None:
    """In units of the weights: the two moments of each are new, and one tensor at a time is read."""

    def run(what: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, what, str(tmp_path / "state.pt")],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    run("save")
    assert 1.9 < float(run("restore")) < 2.3
