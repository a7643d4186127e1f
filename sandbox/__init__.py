"""Runs untrusted Python and holds an episode's files."""
