"""Where an agent's weights and tokenizer come from: one module a kind, each with one class."""
