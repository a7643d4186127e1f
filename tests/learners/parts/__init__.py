"""Parts of a run that take no time, one a module: for runs whose processes build their own."""
