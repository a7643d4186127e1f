"""What is done with any coach: asking it about an episode, building it inside another coach, letting it
learn."""
