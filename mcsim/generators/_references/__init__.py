"""Generators that take milliseconds: the rows that networks have to beat."""
