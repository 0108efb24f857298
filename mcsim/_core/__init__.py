"""The vocabulary of mcsim, and what every room needs: panels, designs, keys, checks, messages."""
