"""Replays of recorded episodes with one action replaced."""
