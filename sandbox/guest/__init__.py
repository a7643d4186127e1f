"""What runs inside a sandbox. Standard library only, and nothing else of this project: the sources are also
sent over a pipe, to whatever Python a container has."""
