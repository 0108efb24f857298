"""The linear model of a panel: its arrays, effects absorbed, least squares.

Below the regressions, which put names on it, and the variances, which are made of its loadings.
"""
