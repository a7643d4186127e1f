"""What a run will take, from its configuration alone: bytes and seconds as pure functions of shapes."""
