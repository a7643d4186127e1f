"""What a coach is shown besides the turns: declared by the coach, by agent, and given to nobody else."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import conf
from coaches.base import History, Sees, Sight, Verdict, sees
from coaches.judging.inner import build_coach
from coaches.judging.verdicts import prefix
from coaches.reward import CoachReward
from coaches.score import main
from conf import ConfigError
from envs.dsbench import DSBench
from envs.pipeline import PipelineEnv
from envs.types import Outcome, Task, Turn
from learners.rollout.worker import LocalRolloutWorker
from learners.runtimes.distributed.coach import CoachTraits, RemoteCoach
from sandbox.base import Sandbox
from tests.coaches import endpoints as e
from tests.coaches.test_reward import Relay
from tests.fakes import FakeBackend, FakeScenario, program

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pettingzoo")

WRITE_A = program("open('a.txt', 'w').write('1')")
WRONG = program("open('b.txt', 'w').write('1')")
RIGHT = program("open('b.txt', 'w').write('3')")
DONE = "Done."


class Watcher:
    """Keeps what it was shown of the outcome; ``wait`` is called before it looks."""

    def __init__(self, agents: Mapping[str, Sight], wait: Callable[[], Any] = lambda: None) -> None:
        self.sees = (Sees(agents),)
        self.wait = wait
        self.shown: dict[int, Outcome] = {}

    def judge(self, history: Sequence[Turn]) -> Verdict:
        self.wait()
        assert isinstance(history, History)
        if history[-1].index in history.outcomes:
            self.shown[history[-1].index] = history.outcomes[history[-1].index]
        return Verdict(5.0, "seen")


def play(env: CoachReward, *actions: str) -> None:
    env.reset(seed=0, options={"task": "train-3"})
    said = iter(actions)
    while env.agents:
        env.step(None if env.terminations[env.agent_selection] else next(said))


@pytest.mark.parametrize("deferred", [False, True])
def test_the_outcome_is_that_of_the_files_right_after_the_turn(deferred: bool) -> None:
    over = threading.Event()
    coach = Watcher({"changer": "outcome"}, wait=over.wait if deferred else lambda: None)
    env = CoachReward(PipelineEnv(FakeScenario(), FakeBackend()), coach, deferred=deferred)
    timer = threading.Timer(0.2, over.set)  # verdicts are reached after files have changed again
    timer.start()
    play(env, DONE, WRONG, RIGHT, "It says 3.")
    env.close()
    assert [(turn, shown.failure_code) for turn, shown in sorted(coach.shown.items())] == [
        (1, "wrong"),
        (2, "ok"),
    ]


def test_no_turn_is_graded_before_the_end_for_a_coach_that_does_not_ask() -> None:
    class Counting(FakeScenario):
        graded = 0

        def grade(self, task: Task, turns: Sequence[Turn], sandbox: Sandbox | None) -> Outcome:
            self.graded += 1
            return super().grade(task, turns, sandbox)

    for agents, times in (({}, 1), ({"maker": "answer"}, 1), ({"maker": "outcome"}, 3)):
        scenario = Counting()
        play(
            CoachReward(PipelineEnv(scenario, FakeBackend()), Watcher(agents)),  # type: ignore[arg-type]
            WRITE_A,
            DONE,
            DONE,
            "Nothing.",
        )
        assert scenario.graded == times, agents


def test_an_agent_that_is_not_there_or_an_outcome_that_cannot_be_told_is_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r"coach\.sees names 'verifer', which is no agent here; there are maker"
    ):
        CoachReward(PipelineEnv(FakeScenario(), FakeBackend()), Watcher({"verifer": "answer"}))
    with pytest.raises(ConfigError, match="sees is outcome, which Relay tells only at the end"):
        CoachReward(Relay(), Watcher({"first": "outcome"}))


def test_coaches_around_a_coach_declare_what_it_sees() -> None:
    seeing = {"name": "llm", "sees": {"changer": "outcome"}, "cache": False}
    plain = {"name": "rules"}
    assert sees(build_coach(plain)) == ()
    for node in (
        seeing,
        {"name": "balanced", "coach": seeing},
        {"name": "hindsight", "coach": seeing},
        {"name": "ensemble", "coaches": [plain, seeing]},
        {"name": "ensemble", "coaches": [plain, plain], "on_disagreement": "escalate", "limit": 1.0}
        | {"stronger": seeing},
    ):
        assert {one.of("changer") for one in sees(build_coach(node))} == {"outcome"}, node
    remote = RemoteCoach(None, CoachTraits("turns", sees(build_coach(seeing)), learns=False))  # type: ignore[arg-type]
    assert sees(remote)[0].of("changer") == "outcome"


def test_what_a_coach_may_see_survives_a_slice_of_turns_and_the_way_to_another_process() -> None:
    outcome = Outcome(True, 1.0, {"fair": 1.0}, "ok")
    history: Any = pickle.loads(pickle.dumps(prefix(History((), "42", {0: outcome}), 0)))
    assert (history.answer, history.outcomes) == ("42", {0: outcome})


def test_a_model_is_shown_the_outcome_of_the_agents_that_are_named_and_of_no_other() -> None:
    with e.serving(e.score(7)) as server:
        coach = e.coach(server, sees={"teller": "answer", "changer": "outcome"})
        play(CoachReward(PipelineEnv(FakeScenario(), FakeBackend()), coach), DONE, WRONG, RIGHT, "It says 3.")
    asked = [request["messages"][1]["content"] for request in server.requests]
    grader = ["what the grader says" in text for text in asked]
    assert grader == [False, True, True, False]
    assert ["the true answer" in text for text in asked] == [False, False, False, True]
    assert "failure (wrong); score 0 of 1\nfair: 0" in asked[1]
    assert "success; score 1 of 1\nfair: 1" in asked[2]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("all", "sees must be one of none, answer, outcome, or name agents with them; got 'all'"),
        ({"verifier": "truth"}, "got 'truth'"),
        (True, "got True"),
        ({"verifier": ["answer"]}, "got "),
    ],
)
def test_a_wrong_setting_is_one_line(setting: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        e.coach("http://127.0.0.1:9/v1", sees=setting)
    assert "\n" not in str(raised.value)


def test_recorded_turns_come_without_outcomes() -> None:
    coach = e.coach("http://127.0.0.1:9/v1", sees="outcome")
    env = PipelineEnv(FakeScenario(), FakeBackend())
    env.reset(seed=0)
    env.step(DONE)
    with pytest.raises(
        ConfigError, match="sees is outcome for maker, but these turns come without the outcome"
    ):
        coach.judge(env.turns)


def test_dsbench_is_graded_in_between_without_a_program_in_the_episode_s_sandbox() -> None:
    settings = conf.load("env", "dsbench")
    settings.reproduce = True
    scenario: DSBench = conf.build("envs", settings)
    task = scenario.tasks("heldout")[0]
    box = FakeBackend().open(None)  # type: ignore[arg-type]
    box.write("submission.csv", task.answer.sample.read_bytes())
    assert scenario.grade_so_far(task, (), box).failure_code == "copied"
    assert (box.programs, [file.path for file in box.list()]) == ([], ["submission.csv"])


def test_the_outcome_so_far_needs_a_turn_and_ends_as_the_outcome() -> None:
    env = PipelineEnv(FakeScenario(), FakeBackend())
    env.reset(seed=0, options={"task": "train-3"})
    with pytest.raises(RuntimeError, match="nothing has been played"):
        env.outcome_so_far()
    for action in (DONE, RIGHT, DONE, "It says 3."):
        env.step(action)
        assert env.outcome_so_far().success == (action != DONE or len(env.turns) > 1)
    assert env.outcome_so_far() is env.outcome
    env.close()


def test_an_agent_that_no_recorded_episode_has_is_refused_before_anything_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "episodes.jsonl"
    path.write_text('{"turns": [{"agent": "maker", "action": "x"}]}\n')
    words = ["coach=llm", "coach.sees={marker: answer}", "coach.cache=false", f"coach.cache_dir={tmp_path}"]
    with pytest.raises(SystemExit) as caught:
        main([str(path), *words])
    said = capsys.readouterr().err
    assert (caught.value.code, said.count("\n")) == (2, 1)
    assert "coach.sees names 'marker', which is no agent here; there are maker" in said
    assert [file.name for file in tmp_path.iterdir()] == ["episodes.jsonl"]


def test_a_run_refuses_such_an_agent_before_it_plays() -> None:
    with pytest.raises(
        ConfigError, match="names 'verifer', which is no agent here; there are maker, changer"
    ):
        LocalRolloutWorker(FakeScenario(), FakeBackend(), Watcher({"verifer": "answer"}), {}, deferred=False)
