"""Client of OpenAI-compatible endpoints: retries, rate limits, budget, cache, and errors by cause."""
