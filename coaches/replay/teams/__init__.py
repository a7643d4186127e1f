"""Who plays on where a recorded episode was changed (``coaches.replay.team``), by dotted name."""
