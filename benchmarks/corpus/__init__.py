"""Recorded episodes with a planted fault each, for measuring coaches.

    python -m benchmarks.corpus build                 # plays all episodes and writes episodes/*.jsonl.xz
    python -m benchmarks.corpus verify --some 20      # replays 20 recorded episodes

Benchmarks read the corpus with ``cases.read("public")``.
"""
