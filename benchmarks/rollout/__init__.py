"""How well episodes are scheduled, with simulated parts that only take time; and what a step's play costs."""
