"""Comparison of coaches on recorded episodes with known faults: judging, measures and the leaderboard."""
