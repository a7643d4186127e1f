"""Implementations of ``coaches.replay.team.Team``, named by their dotted path."""
