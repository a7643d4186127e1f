"""What benchmarks share: intervals, medians, targets, tables, reports and the facts of the machine."""
