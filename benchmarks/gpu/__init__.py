"""The first look at a GPU: what updates, attention, a training run and a checkpoint do on it."""
