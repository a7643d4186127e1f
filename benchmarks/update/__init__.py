"""One optimiser update, ours and others': the variants that ``benchmarks.update`` compares."""
