"""Evaluation of teams on held-out tasks: plays them, reads run folders and compares them."""
