"""Who plays on where a recorded episode was changed (``coaches.team``), by dotted name."""
