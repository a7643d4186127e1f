"""Coaches: turn -> verdict, a score in [0, 10] with a rationale and, where something failed, the agent to
blame."""
