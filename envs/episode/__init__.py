"""What belongs to one episode: its folder, its programs and who wrote what."""
