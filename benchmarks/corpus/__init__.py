"""Recorded episodes with a planted fault each, for measuring coaches.

    python -m benchmarks.corpus build                 # plays everything anew and writes episodes/*.jsonl
    python -m benchmarks.corpus verify --some 20      # replays some of what is there

``cases.read("public")`` is what a benchmark reads.
"""
