"""Who failed, and at which step? Coaches on failed runs of other people's agent teams, labelled by hand."""
