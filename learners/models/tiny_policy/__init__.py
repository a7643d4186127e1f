"""The embedded teaching policy: what it is shown, how it reads, and how it is warm-started."""
