"""Reference generators, fitted in milliseconds: the rows that networks have to beat."""
