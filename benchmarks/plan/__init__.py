"""Comparison of what ``learners.plan`` estimates with what updates of real models take."""
