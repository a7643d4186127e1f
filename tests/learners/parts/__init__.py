"""Parts of a run that take no time, one per module: for runs whose processes build their own parts."""
