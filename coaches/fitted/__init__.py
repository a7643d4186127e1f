"""A small model of which turn is at fault: what it looks at, how it is fitted, and the file that it is."""
