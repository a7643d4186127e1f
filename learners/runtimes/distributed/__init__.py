"""A run whose parts live in processes of their own: what they are, and how the others reach them."""
