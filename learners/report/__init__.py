"""One run as a self-contained HTML page: overview, handoffs, traces, comparison."""
