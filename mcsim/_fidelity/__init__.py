"""Fidelity: how close generators are to the data, beside reference generators, in one table."""
