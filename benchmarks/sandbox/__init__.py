"""The parts of ``python -m benchmarks.sandbox``."""
