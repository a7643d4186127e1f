"""Who plays the other agents when one is trained alone: a function of the user's, or one that is named."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from envs.spaces import Text

Observation = dict[str, Any]
Actor = Callable[[Observation], str]
"""Chooses an action."""
Player = Actor | str
"""An actor, the name of one of ``NAMED``, or ``module:function``."""


def say_nothing(observation: Observation, rng: np.random.Generator) -> str:
    """Ends the agent's part at once."""
    return "I have nothing to add."


def say_anything(observation: Observation, rng: np.random.Generator) -> str:
    """Writes up to 32 random characters, which are no program."""
    return Text(32, seed=rng).sample()


NAMED: Mapping[str, Callable[[Observation, np.random.Generator], str]] = {
    "silent": say_nothing,
    "random": say_anything,
}


def read_others(team: Sequence[str], agent: str, others: Player | Mapping[str, Player]) -> dict[str, Player]:
    """Returns who plays each agent of ``team`` but ``agent``. ``others``: one for all, or one for each.

    Raises:
        ValueError: ``agent`` is not in the team, ``others`` are not exactly the other agents, or one of them
            is not a ``Player``.
    """
    known = ", ".join(team)
    if agent not in team:
        raise ValueError(f"there is no agent {agent!r}; the agents are {known}")
    if not isinstance(others, Mapping):
        others = {name: others for name in team if name != agent}
    if agent in others:
        raise ValueError(f"others has an actor for {agent}, whose actions are those of step()")
    if unknown := [name for name in others if name not in team]:
        raise ValueError(f"others names {unknown[0]!r}, which is no agent; the agents are {known}")
    if missing := [name for name in team if name != agent and name not in others]:
        raise ValueError(f"others lacks an actor for {', '.join(missing)}")
    return {name: _found(name, player) for name, player in others.items()}


def act(name: str, player: Player, observation: Observation, rng: np.random.Generator) -> str:
    """Returns the action of a player that ``read_others`` returned for the agent ``name``.

    Raises:
        TypeError: the player returned something else than a text.
    """
    action = NAMED[player](observation, rng) if isinstance(player, str) else player(observation)
    if not isinstance(action, str):
        raise TypeError(f"others[{name!r}] must return a text; got {type(action).__name__}")
    return action


def _found(name: str, player: Player) -> Player:
    """Returns ``player``, or the function that ``module:function`` names."""
    if callable(player) or (isinstance(player, str) and player in NAMED):
        return player
    if isinstance(player, str) and ":" in player:
        module, _, function = player.partition(":")
        try:
            found = getattr(importlib.import_module(module), function)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"others[{name!r}]: {player!r} cannot be imported: {error}") from None
        if callable(found):
            actor: Actor = found
            return actor
    choices = f"{', '.join(NAMED)} or module:function"
    raise ValueError(f"others[{name!r}] must be a function of the observation, {choices}; got {player!r:.80}")
