"""Which weights an agent trains: one module a way, each with one class."""
