"""Running a study: DGPs and designs crossed with estimators, block by block, into a store.

The work is divided in five steps, each with one owner of its size:

- A **cell** is one DGP under one design, with a key of its own (`Study.cells`).
- A **block** is stored whole: 1,024 replications of a native estimator in a cell, 64 of a host
  estimator, fewer of large samples (`block_size` of `plan`), whatever was asked for.
- A **chunk** divides the block: its samples are drawn, and its native estimates computed, by one
  call of a compiled program. Memory decides its size when a cell is begun (`chunk_size` of
  `plan`), and the store keeps it.
- A **piece** divides the chunk: a worker process runs a host estimator on it (`chunks`).
- A **replication** is one sample with its estimates, a row for each label.
"""
