"""Which rows of a step are compared, or averaged, with one another."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

from learners.types import Transition

Key = TypeVar("Key", bound=Hashable)


def group_key(transition: Transition, by: str) -> Hashable:
    """What the rows of a group have in common.

    ``turn``: agent, task and turn; the inputs of later turns differ. ``prompt``: agent and prompt, token for
    token. ``kind``: agent, turn and the task's kind.
    """
    turn = transition.turn
    if by == "prompt":
        return turn.agent, transition.completion.prompt_ids
    return turn.agent, turn.attempt, turn.kind if by == "kind" else turn.task_id


def indices_by_key(keys: Iterable[Key]) -> dict[Key, list[int]]:
    """Each key's positions in ``keys``, in order."""
    indices: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        indices.setdefault(key, []).append(i)
    return indices


def groups(
    transitions: Sequence[Transition], values: Sequence[float | None], by: str
) -> list[dict[int, float]]:
    """The known values of every group of two or more, by the row's index; ``by`` is as in ``group_key``.

    Group-relative methods assume that all rows of a group answer the same prompt. In a pipeline, this is true
    of episodes of one task only in the first turn of the first agent: every later prompt contains what other
    agents wrote.

    ``prompt`` is faithful to the papers, but leaves hardly any groups to later agents, unless the agents
    before them nearly repeat themselves.

    ``turn`` is approximate: part of an advantage is the luck of the action's input. This adds variance but no
    bias: the rewards of other episodes do not depend on this action, so their mean is a valid baseline.
    Dividing by a group's standard deviation also weights tasks by how much luck is in them.

    A row alone in its group has nothing to be compared with and is in no group: whoever uses groups leaves it
    out of training. The papers do not define this case. TRL refuses a single generation per prompt; others
    keep the row with an advantage of 0, or with its reward and no baseline, which would compare it with other
    prompts' rows.
    """
    members_of_all = indices_by_key(group_key(transition, by) for transition in transitions).values()
    known = [{i: value for i in members if (value := values[i]) is not None} for members in members_of_all]
    return [members for members in known if len(members) > 1]
