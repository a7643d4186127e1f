"""What the record of an episode proves, from files, checks and printed values."""
