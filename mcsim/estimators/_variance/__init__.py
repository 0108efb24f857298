"""Variances, bootstraps and permutations of a linear model, by name."""
