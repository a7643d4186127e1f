"""However a run stops, resume=true goes on from there: at most the step in progress is played again."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from coaches.base import BudgetError, CoachError, Verdict
from conf import stopping
from envs.types import Message, Turn
from learners.base import Algorithm
from learners.config import RunConfig
from learners.errors import LostError, TrainingError
from learners.run import checkpoint
from learners.run.folder import RunFolder
from learners.runtimes.base import Parts
from learners.types import Completion, Metrics, Transition
from tests.fakes import FakeScenario
from tests.learners import timeless
from tests.learners.run import test_trainer
from tests.learners.run.test_trainer import FilesCoach, ScriptedPolicy, settings

RARE: dict[str, Any] = {"steps": 3, "checkpoint": {"every": 10, "keep": 1}}
COACHED: dict[str, Any] = {**RARE, "evaluation": {"every": 1, "tasks": None, "episodes": 1, "coached": True}}


class Quiet(ScriptedPolicy):
    """Says the same in every turn, without a program, so that a run takes no time."""

    def act(self, messages: Sequence[Message], **_: Any) -> Completion:
        return Completion("done", (1, 2), (3,), (-0.5,), len(self.updates), "stop")


def trained(config: RunConfig, **parts: Any) -> tuple[list[dict[str, Any]], Parts, RunFolder]:
    """A run of quiet agents: six verdicts an evaluation and twelve a step."""
    quiet = {role.name: Quiet(role.name) for role in FakeScenario().roles}
    return test_trainer.trained(config, **{"team": quiet, **parts})


class Stopping(FilesCoach):
    """Raises ``error`` instead of its verdict number ``place``, counted from 0."""

    def __init__(self, place: int, error: BaseException) -> None:
        super().__init__()
        self.place, self.error, self.asked = place, error, -1

    def judge(self, history: Sequence[Turn]) -> Verdict:
        self.asked += 1
        if self.asked >= self.place:
            raise self.error
        return super().judge(history)


def metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def steps(run: Path) -> int:
    """The step of a run's newest checkpoint."""
    newest = checkpoint.latest(run)
    assert newest is not None
    return newest.step


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    trained(settings(run, **COACHED))
    return run


PLACES = [(0, 0), (5, 0), (6, 0), (17, 0), (18, 1), (24, 1), (36, 2), (42, 2), (54, 3), (59, 3)]
"""Where a run stops, and how many steps it has learned from by then."""
STOPS: list[BaseException] = [
    BudgetError("spent"),
    KeyboardInterrupt(),
    stopping.Terminated(),
    ZeroDivisionError(),
    OSError(errno.ENOSPC, "No space left on device"),
]


@pytest.mark.parametrize(
    ("place", "learned", "error"),
    [
        *((place, learned, STOPS[0]) for place, learned in PLACES),
        *((place, learned, error) for place, learned in PLACES[::4] for error in STOPS[1:]),
    ],
)
def test_whatever_stops_play_loses_no_step(
    tmp_path: Path, whole: Path, place: int, learned: int, error: BaseException
) -> None:
    """Verdicts 0 to 5 are of the first evaluation, 6 to 17 of the first step, 18 to 23 of the second
    evaluation."""
    run = tmp_path / "run"
    with pytest.raises(type(error)):
        trained(settings(run, **COACHED), coach=Stopping(place, error))
    assert steps(run) == learned
    _, parts, _ = trained(settings(run, resume=True, **COACHED))
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    policies: Any = parts.policies
    assert all(len(policy.updates) == 3 for policy in policies.values())


def test_too_many_losses_keep_the_steps_before_them(tmp_path: Path) -> None:
    class Muted(FilesCoach):
        asked = 0

        def judge(self, history: Sequence[Turn]) -> Verdict:
            self.asked += 1
            if self.asked > 13:
                raise CoachError("no word")
            return super().judge(history)

    with pytest.raises(TrainingError, match="max_lost"):
        trained(settings(tmp_path / "run", **RARE), coach=Muted())
    assert steps(tmp_path / "run") == 1


def test_a_stop_that_fails_to_save_is_still_the_stop_that_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise TrainingError("no space")

    def stop(*_: Any) -> None:
        monkeypatch.setattr(checkpoint, "save", full)
        raise BudgetError("spent")

    with pytest.raises(BudgetError, match="spent"):
        trained(settings(tmp_path / "run", **COACHED), coach=_Calling(20, stop))
    monkeypatch.undo()
    assert steps(tmp_path / "run") == 0


def test_a_lost_process_is_not_asked_for_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(LostError):
        trained(settings(tmp_path / "run", **COACHED), coach=Stopping(30, LostError("gone")))
    assert steps(tmp_path / "run") == 0


class _Calling(FilesCoach):
    """Calls ``function`` at its verdict number ``place``."""

    def __init__(self, place: int, function: Callable[[], None]) -> None:
        super().__init__()
        self.place, self.function = place, function

    def judge(self, history: Sequence[Turn]) -> Verdict:
        self.place -= 1
        if self.place < 0:
            self.function()
        return super().judge(history)


class Signalled(Quiet):
    """Gets a signal amid an update, once or more often."""

    signals: tuple[int, ...] = ()

    def update(
        self,
        transitions: Sequence[Transition],
        advantages: Sequence[list[float] | None],
        algorithm: Algorithm,
        terms: object = None,
    ) -> Metrics:
        if len(self.updates) == 1 and self.name == "changer":
            for number in self.signals:
                os.kill(os.getpid(), number)
        return super().update(transitions, advantages, algorithm)


@pytest.fixture
def terminable() -> Iterator[None]:
    with stopping.terminable():
        yield


def team(*signals: int) -> dict[str, ScriptedPolicy]:
    policies = {role.name: Signalled(role.name) for role in FakeScenario().roles}
    for policy in policies.values():
        policy.signals = signals
    return {**policies}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_amid_an_update_waits_for_its_end(
    tmp_path: Path, number: int, terminable: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    trained(settings(tmp_path / "whole", **RARE))
    with pytest.raises(KeyboardInterrupt):
        trained(settings(tmp_path / "run", **RARE), team=team(number))
    assert steps(tmp_path / "run") == 2
    assert "once more stops at once" in caplog.text
    trained(settings(tmp_path / "run", resume=True, **RARE))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_a_second_signal_stops_at_once_and_the_checkpoint_before_is_whole(
    tmp_path: Path, terminable: None
) -> None:
    trained(settings(tmp_path / "whole", **RARE))
    with pytest.raises(KeyboardInterrupt):
        trained(settings(tmp_path / "run", **RARE), team=team(signal.SIGINT, signal.SIGINT))
    assert steps(tmp_path / "run") == 0
    trained(settings(tmp_path / "run", resume=True, **RARE))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_what_ends_in_s_are_seconds_that_add_up_to_a_step(tmp_path: Path) -> None:
    """The line of a step and ``benchmarks.learning`` add them."""
    _, _, folder = trained(settings(tmp_path / "run", **RARE))
    for row in folder.rows("timings"):
        assert {key for key in row if key.endswith("_s")} <= {"play_s", "update_s", "sync_s"}


def test_signals_are_handled_as_before_once_the_run_is_over(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    trained(settings(tmp_path / "run", **RARE))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("name", ["episodes", "metrics", "timings"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_full_disk_leaves_whole_rows_and_a_run_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    trained(settings(tmp_path / "whole", **RARE))
    append, count = RunFolder.append, iter(range(100))

    def full(self: RunFolder, kind: str, row: Any) -> None:
        if kind == name and next(count) >= place:
            with (self.path / f"{kind}.jsonl").open("a") as file:
                file.write("")
            raise TrainingError("no space")
        append(self, kind, row)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "append", full)
        with pytest.raises(TrainingError, match="no space"):
            trained(settings(tmp_path / "run", **RARE))
    trained(settings(tmp_path / "run", resume=True, **RARE))
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert timeless.episodes(tmp_path / "run") == timeless.episodes(tmp_path / "whole")
