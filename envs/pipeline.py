"""The environment of all scenarios: agents act in order, each for its budget of turns, and hand over files
and text."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from pettingzoo import AECEnv  # type: ignore[import-untyped]

from conf import ConfigError
from conf.text import replace_unencodable
from envs import observations, styles
from envs.actions import parsing
from envs.base import Scenario
from envs.bounds import action_spaces, observation_spaces
from envs.episode import branching, sessions
from envs.episode.terminal import as_terminal
from envs.episode.workspace import Workspace
from envs.preloads import preload
from envs.sizes import check_sizes, sandbox_limits, shown_chars
from envs.spaces import Text
from envs.types import Message, Outcome, Role, Split, Task, Turn
from envs.validation import checked_outcome, checked_states, validate
from sandbox.base import Backend, FileInfo, Limits, Result, Sandbox, SandboxError, SandboxSpec
from sandbox.store import ArtifactStore, StoreError

Observation = dict[str, Any]

_SET_BY_RESET = ("agent_selection", "rewards", "terminations", "truncations", "infos", "_cumulative_rewards")
_SPLITS: tuple[Split, ...] = ("train", "heldout")


class PipelineEnv(AECEnv):  # type: ignore[misc]
    """Plays any ``Scenario`` as a PettingZoo AEC environment.

    Agents have the names of their roles. An observation is ``{"messages": [{"role": …, "content": …}, …],
    "role": name}``; it has no key ``observation``, which PettingZoo's ``api_test`` expects to be an array. An
    action is any text. The program in it (``envs.actions.parsing.read_action``: usually its python blocks,
    without its thinking) runs in the episode's sandbox, which is opened when a program, a check or the grader
    first needs it and closed at the end.

    A stage (all turns of one agent) ends with an action of prose, or with the last turn of the role's budget.
    An action that cannot be read (a thought that was cut off, a block that seems to be a program and is none)
    uses its turn, and the agent reads what was wrong. A role that cannot run code takes one action, and no
    code in it is run. Then the next role acts.
    After the last stage ``scenario.grade`` gives the outcome, every agent is terminated, and every agent
    receives the reward ``outcome.score`` (in [0, 1]; all earlier rewards are 0). Step until ``env.agents`` is
    empty: the reward arrives with the ``last()`` of the terminated agents. Those among them whose turns ran
    out before they ended their part are also truncated; the outcome is final for all.

    ``infos[agent]["turn"]`` is the agent's latest ``Turn`` and ``infos[agent]["outcome"]`` the outcome, once
    known. ``turns`` and ``outcome`` stay available until the next reset. The same seed, task and actions give
    the same episode, except for times. Not thread-safe.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 - PettingZoo's name and type
        "name": "pipeline_v0",
        "render_modes": ["ansi"],
        "is_parallelizable": False,
    }
    """Those of an environment have the name of its scenario."""

    def __init__(
        self,
        scenario: Scenario,
        backend: Backend,
        *,
        limits: Limits | None = None,
        output_chars: int | None = None,
        render_mode: str | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        """Makes the environment.

        ``limits``: limits of every sandbox; None: the backend's, with the scenario's changes.
        ``output_chars``: how many characters of a program's stdout or stderr agents see
        (``envs.observations``); None: as the scenario says, or else 4000.
        ``on_close``: closes what belongs to this environment alone, such as its backend. It is called once,
        by ``close()``, when the environment is garbage-collected or when the interpreter exits.

        Raises:
            ConfigError: the scenario cannot be played (``envs.validation``), or not on this backend;
                ``output_chars`` is negative; or there is no such ``render_mode``.
        """
        super().__init__()
        validate(scenario)
        sessions.check_sessions(scenario, backend)
        self.scenario = scenario
        self.backend = backend
        self.metadata = {**type(self).metadata, "name": f"{scenario.name}_v0"}
        self.render_mode = _render_mode(render_mode)
        self.possible_agents = [role.name for role in scenario.roles]
        self.agents: list[str] = []
        self.turns: tuple[Turn, ...] = ()
        self.store: ArtifactStore | None = None
        """Where set, the files that turns list are kept in it, for a coach that examines them."""
        self._limits = limits or sandbox_limits(scenario, backend)
        own = None if self._limits == backend.limits else self._limits
        self._spec = SandboxSpec(preload(scenario), own, scenario.libraries)
        chars = shown_chars(scenario, output_chars)
        self._write = styles.writer(scenario, backend, self._limits, chars)
        self._reader: styles.Reader | None = None
        self.observation_spaces = observation_spaces(scenario, self._limits, chars)
        self.action_spaces = action_spaces(scenario, self._limits)
        self._np_random: np.random.Generator | None = None
        self._task: Task | None = None
        self._outcome: Outcome | None = None
        self._workspace: Workspace | None = None
        self._release = None if on_close is None else weakref.finalize(self, on_close)

    def observation_space(self, agent: str) -> spaces.Dict:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Text:
        return self.action_spaces[agent]

    @property
    def task(self) -> Task:
        """The current task, including its answer: not for agents. Raises ``RuntimeError`` before a reset."""
        if self._task is None:
            raise RuntimeError("call reset() first")
        return self._task

    @property
    def outcome(self) -> Outcome:
        """The outcome of the finished episode. Raises ``RuntimeError`` before its end."""
        if self._outcome is None:
            raise RuntimeError("the episode is not over")
        return self._outcome

    def outcome_so_far(self) -> Outcome:
        """Returns the outcome that the episode has, or would have if it ended now: not for agents.

        Raises:
            RuntimeError: nothing has been played.
            SandboxError: the sandbox was lost.
        """
        if self._outcome is not None:
            return self._outcome
        if not self.turns:
            raise RuntimeError("nothing has been played")
        return self._graded(getattr(self.scenario, "grade_so_far", self.scenario.grade))

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> None:
        """Starts an episode.

        ``options["task"]`` is the task (a ``Task`` or its id); without it a task is drawn from
        ``options["split"]`` (default: ``train``). ``options["turns"]`` are the first turns of an episode of
        that task: the new episode continues after them, as if they had been played here under the same seed.
        ``options["files"]`` then contains the files in the sandbox at that point (path -> bytes). If programs
        share an interpreter, those that gave it its variables run again (``envs.episode.sessions``). Other
        options are ignored, as PettingZoo's tests require.

        Raises:
            ConfigError: the task's files do not fit into a sandbox.
            KeyError: no task has this id, or there is no such split, or it is empty.
            RuntimeError: the environment is closed.
            TypeError: the options, the turns or the files are no such thing.
            ValueError: the turns are not the beginning of an episode, or already a complete episode; or there
                are files without turns, or turns without files.
        """
        self._require_open()
        self._close_workspace()
        if seed is not None or self._np_random is None:
            self._np_random, _ = seeding.np_random(seed)
        # Before a task is drawn, so that the seed is the same if the task is given.
        self._episode_seed = int(self._np_random.integers(2**31))
        options = branching.checked(options)
        self._task = self._choose(options)
        self.turns = tuple(options.get("turns", ()))
        first = branching.next_agent(self.possible_agents, self.turns)
        if not self.turns:
            check_sizes([self._task], self._limits)
        self._workspace = self._begin(self._task, first, options)
        self._reader = styles.Reader(self._write, self._task)
        self._outcome = None
        self.agents = list(self.possible_agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self.infos |= {turn.agent: {"turn": turn} for turn in self.turns}
        self.agent_selection = first
        self._skip_agent_selection = (
            None  # still set if the previous episode was abandoned among its dead steps
        )

    def observe(self, agent: str) -> Observation:
        """Returns what ``agent`` would read if it were its turn now."""
        chat = [{"role": message.role, "content": message.content} for message in self._read(agent)]
        return {"messages": chat, "role": agent}

    def step(self, action: str | None) -> None:
        """Takes one action. For a terminated agent the action must be None.

        Raises:
            TypeError: the action is not a text.
            ValueError: it is too long for the action space.
            SandboxError: the sandbox was lost, so that the episode cannot continue and has no outcome.
        """
        agent = self.agent_selection
        if self.terminations[agent]:
            self._was_dead_step(action)
            if not self.agents:
                del self.agent_selection
            return
        if not isinstance(action, str):
            raise TypeError(f"an action must be a text; got {type(action).__name__}")
        if action not in self.action_spaces[agent]:
            longest = self.action_spaces[agent].max_length
            raise ValueError(f"an action must have at most {longest} characters; got {len(action)}")
        try:
            self._advance(self._play(agent, replace_unencodable(action)))
        except BaseException:
            self._close_workspace()
            raise

    def render(self) -> str:
        """Returns the episode so far as plain text."""
        lines = [self.task.prompt]
        lines += [f"## {turn.agent}: {observations.summarize([turn])}\n{turn.action}" for turn in self.turns]
        if self._outcome is not None:
            lines.append(f"## Outcome: {self._outcome.failure_code}, score {self._outcome.score:g}")
        return "\n".join(lines)

    def close(self) -> None:
        """Closes the episode's sandbox. An environment with an ``on_close`` calls it, and cannot be reset any
        more; without one the backend stays open because others may share it."""
        self._close_workspace()
        if self._release is not None:
            self._release()

    def __getattr__(self, name: str) -> Any:
        """Explains what is missing before the first reset or after the episode."""
        if name in _SET_BY_RESET:
            when = "before the first episode" if self._task is None else "after the end of an episode"
            raise AttributeError(f"there is no {name.lstrip('_')} {when}: call reset() first")
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """A copy would share the sandbox, and each would play into the other's files."""
        raise TypeError(
            "an environment with its sandbox can be neither copied nor pickled; to branch an episode, make "
            'another environment and call reset(options={"task": …, "turns": env.turns[:n], "files": …})'
        )

    @property
    def files(self) -> Sandbox:
        """The episode's files, whose sandbox is opened if necessary: not for agents. Raises ``SandboxError``
        after the end of the episode."""
        return self._open_workspace()

    def _choose(self, options: Mapping[str, Any]) -> Task:
        requested = options.get("task")
        if isinstance(requested, Task):
            return requested
        if requested is not None:
            for split in _SPLITS:
                for task in self.scenario.tasks(split):
                    if task.id == requested:
                        return task
            raise KeyError(f"{self.scenario.name} has no task {requested!r}")
        assert self._np_random is not None
        split = options.get("split", "train")
        if split not in _SPLITS:
            raise KeyError(f"there is no split {split!r}; there are {', '.join(_SPLITS)}")
        tasks = self.scenario.tasks(split)
        if not tasks:
            raise KeyError(f"{self.scenario.name} has no {split} tasks")
        return tasks[int(self._np_random.integers(len(tasks)))]

    def _read(self, agent: str) -> tuple[Message, ...]:
        if self._reader is None:
            raise RuntimeError("call reset() first")
        return self._reader.read(self.turns, agent)

    def _play(self, agent: str, action: str) -> Turn:
        workspace, role = self._open_workspace(), self._role(agent)
        attempt = sum(turn.agent == agent for turn in self.turns)
        read = parsing.read_action(action, runs_code=role.can_run_code)
        before = workspace.list()
        self._store(workspace, before)
        result = None if read.code is None else self._run(workspace, read.code, agent, len(self.turns))
        after = workspace.list()
        self._store(workspace, after)
        files = {file.path: file for file in after}
        return Turn(
            task_id=self.task.id,
            kind=self.task.kind,
            agent=agent,
            role=role,
            index=len(self.turns),
            attempt=attempt,
            observation=self._read(agent),
            action=action,
            code=read.code,
            result=result,
            files_before=before,
            files_after=after,
            checks=checked_states(
                self.scenario, role, self.scenario.check(self.task, role, files, workspace)
            ),
            last=read.form == "prose" or attempt + 1 == role.max_turns,
            facts=self.task.facts,
        )

    def _store(self, workspace: Workspace, listing: Sequence[FileInfo]) -> None:
        if self.store is not None:
            with suppress(StoreError):  # what does not fit comes from running the programs again
                self.store.collect(workspace, listing)

    def _begin(self, task: Task, first: str, options: Mapping[str, Any]) -> Workspace:
        """Returns the files after the turns played so far, for the agent ``first``."""
        if not self.turns:
            return Workspace(self.backend, self._spec, task.files)
        files = options["files"]
        if not sessions.shares_interpreter(self.scenario):
            return Workspace(self.backend, self._spec, files)

        def play(box: Sandbox, turn: Turn) -> None:
            self._run(box, turn.code or "", turn.agent, turn.index)

        begin = sessions.Beginning(self.turns, first, files, task.files, play)
        return Workspace(self.backend, self._spec, files, begin)

    def _run(self, box: Sandbox, code: str, agent: str, index: int) -> Result:
        """Runs the program of turn ``index``."""
        seed = (self._episode_seed + index) % 2**31
        session = agent if sessions.shares_interpreter(self.scenario) else None
        result = sessions.run(box, code, session=session, timeout=self.scenario.timeout, seed=seed)
        return replace(result, stdout=as_terminal(result.stdout), stderr=as_terminal(result.stderr))

    def _advance(self, turn: Turn) -> None:
        """Records the turn, assigns rewards and selects the next agent."""
        agent = turn.agent
        self.turns = (*self.turns, turn)
        self.infos[agent] = {"turn": turn}
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        if turn.last:
            if sessions.shares_interpreter(self.scenario):
                self._open_workspace().end_session(agent)
            position = self.possible_agents.index(agent) + 1
            if position < len(self.possible_agents):
                self.agent_selection = self.possible_agents[position]
            else:
                self._finish()
        self._accumulate_rewards()

    def _finish(self) -> None:
        outcome = self._graded(self.scenario.grade)
        self._close_workspace()
        self._outcome = outcome
        for agent in self.agents:
            self.terminations[agent] = True
            self.truncations[agent] = self._ran_out(agent)
            self.rewards[agent] = outcome.score
            self.infos[agent] = {**self.infos[agent], "outcome": outcome}
        self._deads_step_first()

    def _graded(self, grade: Callable[[Task, Sequence[Turn], Sandbox | None], Outcome]) -> Outcome:
        workspace = self._open_workspace()
        graded = grade(self.task, self.turns, workspace if workspace.opened else None)
        return checked_outcome(self.scenario, graded)

    def _ran_out(self, agent: str) -> bool:
        """Returns whether the agent's last turn ended its part, and not the agent itself."""
        last = next(turn for turn in reversed(self.turns) if turn.agent == agent)
        return parsing.read_action(last.action, runs_code=last.role.can_run_code).form != "prose"

    def _role(self, agent: str) -> Role:
        return self.scenario.roles[self.possible_agents.index(agent)]

    def _require_open(self) -> None:
        if self._release is not None and not self._release.alive:
            raise RuntimeError("the environment is closed; make another one")

    def _close_workspace(self) -> None:
        if self._workspace is not None:
            self._workspace.close()

    def _open_workspace(self) -> Workspace:
        self._require_open()
        if self._workspace is None or self._workspace.closed:
            raise SandboxError("the episode's sandbox is closed; call reset()")
        return self._workspace


def _render_mode(given: str | None) -> str | None:
    if given not in (None, "ansi"):
        raise ConfigError(f"render_mode must be ansi or None; got {given!r}")
    return given
