"""Comparison of sandboxes: our backends beside Docker, plain processes, a fork server and public
sandboxes."""
