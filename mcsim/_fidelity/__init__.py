"""How close is a generator to the data? One table, with the reference rows beside it."""
