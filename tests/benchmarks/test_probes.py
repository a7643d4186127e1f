"""A recorded episode in a real sandbox: the recorded checks, and no more programs for them than needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.corpus.build import environment
from benchmarks.corpus.cases import SPLITS, Case, read
from envs.pipeline import PipelineEnv
from sandbox.base import Result
from sandbox.host.client import GuestSandbox
from tests.sandbox.backends import local, or_skip

CASES = [case for split in SPLITS for case in read(split) if case.env == "dsbench"]
COLUMNS = [case for case in CASES if any(check.code == "columns" for check in case.episode.turns[-1].checks)]
NAMES = ("X_train.pkl", "y_train.pkl", "X_test.pkl", "model.pkl")


@pytest.fixture(scope="module")
def env() -> Iterator[PipelineEnv]:
    backend = or_skip(local)
    yield environment("dsbench", backend)
    backend.close()


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programs that read artifacts."""
    found: list[str] = []
    run = GuestSandbox.run

    def noting(box: GuestSandbox, code: str, **given: object) -> Result:
        if "sandbox.guest.probe" in code:
            found.append(code)
        return run(box, code, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(GuestSandbox, "run", noting)
    return found


def produced(turn: int, case: Case) -> set[str]:
    """Returns the pickles that the program of a turn wrote."""
    played = case.episode.turns[turn]
    before = {file.path: file.sha256 for file in played.files_before}
    changed = {file.path for file in played.files_after if before.get(file.path) != file.sha256}
    return {name for name in changed if name.endswith(".pkl")}


def test_a_turn_has_one_probe_at_most_and_none_if_it_left_every_artifact_as_it_was(
    env: PipelineEnv, probes: list[str]
) -> None:
    case = COLUMNS[0]
    env.reset(seed=case.seed, options={"task": case.episode.task_id})
    for place, recorded in enumerate(case.episode.turns):
        probes.clear()
        env.step(recorded.action)
        changed = produced(place, case)
        assert len(probes) == bool(changed), recorded
        assert all(name in changed for name in NAMES if repr(name) in "".join(probes)), recorded
        assert [(check.name, check.code, check.detail) for check in env.turns[-1].checks] == [
            (check.name, check.code, check.detail) for check in recorded.checks
        ]
