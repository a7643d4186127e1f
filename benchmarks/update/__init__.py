"""Comparison of one optimiser update: ours, TRL's and a plain PyTorch step."""
