"""Fidelity of panels: placebo laws, moments, rows of the table, the comparison by half splits."""
