"""Turn -> verdict: who gets how much credit for what, and why."""
