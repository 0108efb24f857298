"""Normal scores of a panel: one vector for each unit."""
