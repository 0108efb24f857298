"""Variances, bootstraps and permutations of a linear model, by name.

A variance has a name (`_names`: `KINDS` and its grammar), a formula (`_sandwich` for sums of
influences, `_leverage`, `_wild`, `_randomization`; `_inference.FORMULAS` lists them), a factor and
degrees of freedom under every small-sample rule (`_small_sample`), and perhaps clusters
(`_clusters`). `_setting` holds the arguments that all formulas share.
"""
