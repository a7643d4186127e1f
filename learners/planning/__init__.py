"""Estimates what a run needs from its configuration alone, as pure functions of shapes."""
