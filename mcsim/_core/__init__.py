"""The vocabulary of mcsim, common to all rooms: panels, designs, keys, checks, messages."""
