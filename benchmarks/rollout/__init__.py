"""Episodes whose model, tools and coach only take time: what is left is how well they are scheduled."""
