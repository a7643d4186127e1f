"""How well episodes are scheduled: model, tools and coach are simulated and only take time."""
