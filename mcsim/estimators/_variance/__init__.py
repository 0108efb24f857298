"""Variances, bootstraps and permutations of a linear model, by name.

A variance has a name, clusters and a `Setting` (`names`), a formula (the sandwiches in `inference`,
others in `leverage`, `wild`, `randomization`; `inference.FORMULAS` lists all), and a factor and
degrees of freedom under every small-sample rule (`small_sample`).
"""
