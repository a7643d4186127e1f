"""What an action says: its form, its program, and why there is none."""
