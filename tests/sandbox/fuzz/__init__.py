"""Fuzzers of all that reads what hostile code wrote: ``python -m tests.sandbox.fuzz host --cases 10000``."""
