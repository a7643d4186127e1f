"""How coaches are built, alone or within another coach, and the base of a coach that revises each verdict of
another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import conf
from coaches.base import AnyCoach, Coach, HindsightCoach, Unit, Verdict, judges_turns
from coaches.judging import learning
from coaches.judging.learning import JudgedEpisode
from envs.types import Outcome, Turn

PACKAGES = {"coach": "coaches", "env": "envs", "sandbox": "sandbox"}
"""Group of a node -> the package of its parts."""

COACHES = ("coach", "coaches")
"""Keys of nodes that must be coaches; a node under another one may be a team or a chat model."""


def build(node: Any, group: str = "coach") -> Any:
    """Returns the part that a node within a coach's settings names.

    Missing values come from the part's own YAML.

    Raises:
        ConfigError: there is no such part, or its settings are wrong.
    """
    return conf.build(PACKAGES[group], _completed(node, group))


def check(node: Any, path: str = "coach", group: str = "coach") -> None:
    """Checks the settings of the part that ``node`` names and of every part within it; builds nothing.

    Raises:
        ConfigError: there is no such part, or a setting is wrong; it is named by its place below ``path``.
    """
    if next(key for key in reversed(path.split(".")) if not key.isdecimal()) in COACHES:
        _require_coach(node)
    conf.check(PACKAGES[group], node, path)
    for key, value in node.items():
        for place, inner in enumerate(value if isinstance(value, Sequence) else [value]):
            if isinstance(inner, Mapping) and "name" in inner:
                where = f"{path}.{key}" if inner is value else f"{path}.{key}.{place}"
                check(inner, where, key if key in PACKAGES else group)


def build_coach(node: Any) -> AnyCoach:
    """Returns the coach that a node names. Raises as ``build``, and ``ConfigError`` if it cannot judge."""
    completed = _completed(node, "coach")
    _require_coach(completed)
    coach: AnyCoach = conf.build(PACKAGES["coach"], completed)
    judges_turns(coach)
    return coach


def _completed(node: Any, group: str) -> Mapping[str, Any]:
    if not isinstance(node, Mapping) or "name" not in node:
        raise conf.ConfigError(f"the settings of a {group} must have a name, as {{name: …}}; got {node!r}")
    return conf.fill_defaults(group, node)


def _require_coach(node: Mapping[str, Any]) -> None:
    """Checks that a part is a coach before its settings, which mean nothing if it is none."""
    conf.require_method(conf.plugin_class(PACKAGES["coach"], node["name"]), "judge", "judge_episode")


@runtime_checkable
class DependentPart(Protocol):
    """A coach, chat model or team that needs something outside this process, itself or by an inner part."""

    def check_ready(self) -> None:
        """Checks that what it needs is there, once, before anything is played or judged.

        Raises:
            ConfigError: it is not; one line that says why, within seconds.
        """
        ...


def check_ready(part: object) -> None:
    """Lets ``part`` check what it needs, if it is a ``DependentPart``; raises as that does."""
    if isinstance(part, DependentPart):
        part.check_ready()


class LearningInside:
    """A coach that lets an inner coach learn, whose verdict is ``parts[0]`` of its own."""

    coach: AnyCoach

    @property
    def inner(self) -> Sequence[object]:
        """The coach inside."""
        return (self.coach,)

    def learn(self, episodes: Sequence[JudgedEpisode]) -> dict[str, float]:
        """Lets the inner coach learn from its own verdicts."""
        return learning.learn(self.coach, [episode.part(0) for episode in episodes])

    def state(self) -> dict[str, Any]:
        """Returns what the inner coach has learned."""
        return learning.state(self.coach)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restores the inner coach."""
        learning.restore(self.coach, state)


class RevisingCoach(LearningInside):
    """Replaces each verdict of an inner coach by ``revise``, and judges what the inner coach judges.

    The revised verdict has the original one as ``parts[0]``, from which the inner coach learns.
    """

    judges: Unit
    """What the inner coach judges."""

    def __init__(self, node: Any) -> None:
        """Raises ``ConfigError`` if the inner coach of ``node`` cannot be built."""
        self.coach = build_coach(node)
        self.judges = "turns" if judges_turns(self.coach) else "episodes"

    def check_ready(self) -> None:
        """Lets the inner coach check what it needs; raises as ``DependentPart.check_ready``."""
        check_ready(self.coach)

    def revise(self, verdict: Verdict, turn: Turn) -> Verdict:
        """Returns the verdict on ``turn`` that replaces ``verdict``."""
        raise NotImplementedError

    def judge(self, history: Sequence[Turn]) -> Verdict:
        """Returns the revised verdict on the last turn; raises what the inner coach raises."""
        return self.revise(cast(Coach, self.coach).judge(history), history[-1])

    def judge_episode(self, turns: Sequence[Turn], outcome: Outcome) -> list[Verdict | None]:
        """Returns the revised verdicts; None where the inner coach has none. Raises what the inner coach
        raises."""
        verdicts = cast(HindsightCoach, self.coach).judge_episode(turns, outcome)
        return [
            None if verdict is None else self.revise(verdict, turn)
            for verdict, turn in zip(verdicts, turns, strict=True)
        ]
