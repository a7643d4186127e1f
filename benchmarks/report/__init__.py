"""The command that writes the report of a run, or prints parts of it on the terminal."""
