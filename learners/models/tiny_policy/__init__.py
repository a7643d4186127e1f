"""The embedded teaching policy: its demonstrations, its tokenizer and its warm start."""
