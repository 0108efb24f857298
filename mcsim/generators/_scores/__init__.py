"""How a panel becomes normal scores: one vector for each unit."""
