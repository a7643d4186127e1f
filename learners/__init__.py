"""Trajectories -> weights."""

from conf.extras import require

require("learners", "torch", "transformers", "peft")
